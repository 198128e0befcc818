"""The sync mark and the meters of a phone, through the real adb client and toybox's commands."""

import time

import numpy as np
import pytest

from bench_melt.energy.mark import mark_on, read_clock
from bench_melt.meters.make import Link, make_meter, read_meter_spec
from tests.adbd_double import Adbd
from tests.phone_rig import Server, reached

pytestmark = pytest.mark.phone


def test_a_mark_is_made_by_the_phones_shell_and_its_clock_is_known(
    server: Server, phone: Adbd
) -> None:
    with reached(server, phone) as machine:
        machine.probe()
        ahead = read_clock(machine, boot=False)
        assert abs(ahead.ahead_s - (time.time() - time.perf_counter())) <= ahead.doubt_s + 0.001
        asked_s = time.perf_counter()
        (start, end), doubt_s = mark_on(machine, (0,), length_s=0.1, quiet_s=0.0)
        told_s = time.perf_counter()
    assert asked_s - doubt_s <= start.time_s < end.time_s <= told_s + doubt_s
    assert end.time_s - start.time_s >= 0.1


def test_the_boot_clock_of_a_phone(server: Server, phone: Adbd) -> None:
    with reached(server, phone) as machine:
        machine.probe()
        ahead = read_clock(machine, boot=True)
        asked_s = time.perf_counter() + ahead.ahead_s
        own_s = float(machine.run(["sh", "-c", "cat /proc/uptime"]).stdout.split()[0])
        told_s = time.perf_counter() + ahead.ahead_s
    slack_s = ahead.doubt_s + 0.01  # a tick of the file
    assert asked_s - slack_s <= own_s <= told_s + slack_s


def test_the_batterys_gauge_is_polled_beside_other_commands(server: Server, phone: Adbd) -> None:
    folder = "/sys/class/power_supply/battery"

    def shell(line: str) -> str:
        # the phone's folder stands for its root
        root = str(phone.phone.folder)
        return machine.run(["sh", "-c", line.replace("cd /", f"cd {root}/", 1)]).stdout

    for name, text in {
        f"{folder}/voltage_now": "4000000",
        f"{folder}/current_now": "-250000",
        "/proc/uptime": "12.50 3.0",
    }.items():
        path = phone.phone.folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    with reached(server, phone) as machine:
        machine.probe()
        table = {"kind": "current_now", "every_s": 0.02}
        with make_meter(read_meter_spec(table), Link(shell=shell)) as meter:
            meter.start()
            for _ in range(5):
                assert machine.run(["echo", "here"]).stdout == "here\n"
            samples = meter.stop()
    assert len(samples) >= 2
    np.testing.assert_allclose(samples.power_w, 1.0)
