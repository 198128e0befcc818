"""The sync mark and a meter of the board, through a real sshd."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench_melt.energy.mark import mark_on, read_clock
from bench_melt.meters.make import Link, make_meter, read_meter_spec
from bench_melt.targets.linux import LinuxMachine
from tests.sshd import sshd

pytestmark = pytest.mark.remote


@pytest.fixture
def board(tmp_path: Path) -> Iterator[LinuxMachine]:
    with sshd(tmp_path / "s") as server, server.machine() as machine:
        machine.probe()
        yield machine


def test_a_mark_is_made_by_the_boards_shell_and_its_clock_is_known(board: LinuxMachine) -> None:
    ahead = read_clock(board, boot=False)
    assert abs(ahead.ahead_s - (time.time() - time.perf_counter())) <= ahead.doubt_s + 0.001
    asked_s = time.perf_counter()
    (start, end), doubt_s = mark_on(board, (0,), length_s=0.1, quiet_s=0.0)
    told_s = time.perf_counter()
    assert asked_s - doubt_s <= start.time_s < end.time_s <= told_s + doubt_s
    assert end.time_s - start.time_s >= 0.1


def test_the_boards_own_meter_is_polled_beside_other_commands(
    board: LinuxMachine, tmp_path: Path
) -> None:
    chip = {"name": "ina3221", "in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "400"}
    (tmp_path / "hwmon0").mkdir()
    for name, text in chip.items():
        (tmp_path / "hwmon0" / name).write_text(f"{text}\n")
    link = Link(shell=lambda line: board.run(["sh", "-c", line]).stdout)
    table = {"kind": "hwmon", "root": str(tmp_path), "every_s": 0.01}
    with make_meter(read_meter_spec(table), link) as meter:
        meter.start()
        for _ in range(10):
            assert board.run(["echo", "here"]).stdout == "here\n"
        samples = meter.stop()
    assert len(samples) >= 2 and samples.power_w.tolist() == [2.0] * len(samples)
