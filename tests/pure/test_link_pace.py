from bench_melt.link.codes import Code
from bench_melt.link.pace import Pace


def test_a_clean_link_sends_the_largest_chunk() -> None:
    pace = Pace(40e-6)
    pace.observe(Code.WRITE, 500, 0.01, 1)
    assert pace.chunk_bytes(506) == 506


def test_three_percent_of_damage_gives_about_twenty_bytes() -> None:
    pace = Pace(40e-6, failures=30.0, bytes_tried=1000.0)
    assert 16 <= pace.chunk_bytes(506) <= 24


def test_a_link_that_recovers_is_trusted_again() -> None:
    pace = Pace(40e-6)
    pace.fail(500)
    small = pace.chunk_bytes(506)
    for _ in range(400):
        pace.observe(Code.WRITE, 500, 0.01, 1)
    assert small < 506
    assert pace.chunk_bytes(506) == 506


def test_a_hopeless_link_still_moves_eight_bytes() -> None:
    assert Pace(40e-6, failures=500.0, bytes_tried=1000.0).chunk_bytes(506) == 8


def test_waits_grow_with_each_one_in_vain_and_stay_bounded() -> None:
    pace = Pace(40e-6)
    waits = [pace.wait_s(Code.READ, 100, timeouts) for timeouts in range(12)]
    assert waits == sorted(waits)
    assert waits[-1] == 2.0


def test_a_clean_link_waits_for_a_long_step_instead_of_asking_again() -> None:
    assert Pace(40e-6).wait_s(Code.TRAIN, 20, 0) > 10.0
    assert Pace(40e-6, failures=1.0).wait_s(Code.TRAIN, 20, 0) < 2.0


def test_a_known_duration_sets_the_wait() -> None:
    pace = Pace(40e-6)
    pace.observe(Code.TRAIN, 20, 0.5, 1)
    assert 2.0 < pace.wait_s(Code.TRAIN, 20, 0) < 2.2
