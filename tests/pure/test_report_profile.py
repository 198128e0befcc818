"""The profile section of report.html: what was counted, once per board."""

from codegen.report_profile import ProfileSection, with_profile

PAGE = "<html><body>\n<h1>plan</h1>\n</body>\n</html>\n"
PHASES = ("forward", "loss", "input_gradient", "weight_gradient", "update")


def counts(*numbers: int) -> dict[str, int]:
    return dict(zip(PHASES, numbers, strict=True))


def section(board: str, first: int) -> ProfileSection:
    rows = [("stem<1>", counts(first, 0, 20, 30, 50)), ("loss", counts(0, 100, 0, 0, 0))]
    return ProfileSection(board, "instructions", 7, rows, "gcc 12")


def test_section_stands_at_the_end_with_every_number() -> None:
    page = with_profile(PAGE, section("m7", 1200))
    assert page.startswith("<html><body>\n<h1>plan</h1>\n") and page.endswith("</body>\n</html>\n")
    for text in ("Profile on m7", "Instructions per training step, means of 7 steps", "gcc 12.",
                 "stem&lt;1&gt;", "1,200", "1,300", "92.9 %", "1,400", "100.0 %"):  # fmt: skip
        assert text in page, text
    assert "<script" not in page and "http" not in page


def test_a_second_profile_of_a_board_takes_the_place_of_the_first() -> None:
    once = with_profile(with_profile(PAGE, section("m7", 1200)), section("m4", 5))
    twice = with_profile(once, section("m7", 3456))
    assert "1,200" not in twice and "3,456" in twice
    assert twice.count("Profile on m7") == twice.count("Profile on m4") == 1
    assert with_profile(twice, section("m7", 1200)) == once


def test_nothing_counted_is_no_division_by_zero() -> None:
    empty = ProfileSection("m7", "cycles", 1, [("a", counts(0, 0, 0, 0, 0))])
    assert "means of 1 step," in with_profile(PAGE, empty)
