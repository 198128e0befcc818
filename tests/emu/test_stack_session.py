"""The worst-case stack against the lowest store that the emulator saw during a whole session."""

from pathlib import Path

import pytest

from bench_melt.link.session import Session
from bench_melt.targets.qemu import QemuTarget
from codegen.board import Board, load_board
from codegen.build import BuildResult, build
from tests.fake_dir import write_fake

BOARDS = ("qemu_mps2_an386", "qemu_mps2_an500", "qemu_mps3_an547", "qemu_netduinoplus2")


def used_bytes(board: Board, result: BuildResult) -> int:
    """Run every command of the session; return how deep the stack was."""
    assert board.memory is not None and board.run.machine is not None
    top = board.memory.ram_origin + board.memory.ram_usable_bytes
    data_end = board.memory.ram_origin + result.ram_static_bytes
    with QemuTarget(result.elf, board.run.machine, watch_stack=(data_end, top)) as target:
        with Session.open(target.start()) as session:
            every_command(session)
        assert target.counter is not None
        lowest = target.counter.lowest_stack_address()
    assert lowest is not None
    return top - lowest


def every_command(session: Session) -> None:
    session.write_input(bytes(8))
    session.forward()
    session.evaluate()
    session.train(1)
    session.read_output()
    session.write_state(0, session.read_state(0))
    session.fill(1, 2)
    session.hyper()
    session.state_hash()
    session.counters()
    session.reset()


@pytest.mark.parametrize("name", BOARDS)
def test_a_session_stays_within_the_computed_stack(tmp_path: Path, name: str) -> None:
    board = load_board(name)
    result = build(write_fake(tmp_path / "gen", name), board)
    used = used_bytes(board, result)
    assert result.stack_bytes is not None
    # above what was seen stands what did not happen: a fault report, and an interrupt at the bottom
    assert result.stack_bytes / 2 < used <= result.stack_bytes
