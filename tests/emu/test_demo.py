"""The demo as a user runs it, with fewer steps, on the emulated Cortex-M7."""

from pathlib import Path

from bench_melt.demo.flow import BOARD, choose_board, run_demo


def test_learns_within_the_limit(tmp_path: Path) -> None:
    lines: list[str] = []
    board = choose_board(lines.append)
    assert board.name == BOARD and not lines
    found = run_demo(tmp_path / "demo", board, 200, lines.append)
    assert found.result.accuracy_before is not None and found.result.accuracy_before < 0.4
    assert found.result.accuracy_after is not None and found.result.accuracy_after > 0.85
    assert found.built.ram_bytes is not None and found.ram_limit_bytes == 262_144
    assert found.built.ram_bytes < 32_768
    assert found.result.instructions_per_step is not None
    assert found.result.instructions_per_step > 1_000_000
