"""Meters that read small files, meters that need no hardware, and the tables that name them."""

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from bench_melt.energy.events import pair
from bench_melt.energy.mark import busy, mark, pulse
from bench_melt.energy.power import Power
from bench_melt.energy.sync import align
from bench_melt.meters.base import times_of_blocks
from bench_melt.meters.make import Link, make_meter, meter_kinds, read_meter_spec
from bench_melt.meters.replay import SimulatedMeter, Waveform
from tinyengine.errors import DeviceError, UserError


def shell(line: str) -> str:
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout


def tree(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


@pytest.mark.parametrize("link", [None, Link(shell=shell)])
def test_hwmon(tmp_path: Path, link: Link | None) -> None:
    tree(tmp_path, hwmon1__name="ina3221", hwmon1__in1_label="VDD_IN", hwmon1__in1_input="5000")
    tree(tmp_path, hwmon1__curr1_input="400", hwmon1__in2_input="1", hwmon1__curr2_input="1")
    tree(tmp_path, hwmon0__name="coretemp")
    table = {"kind": "hwmon", "root": str(tmp_path), "rail": "VDD_IN", "every_s": 0.005}
    with make_meter(read_meter_spec(table), link) as meter:
        meter.start()
        time.sleep(0.03)
        samples = meter.stop()
    assert len(samples) >= 2 and (np.diff(samples.time_s) > 0).all()
    np.testing.assert_allclose(samples.power_w, 2.0)
    with pytest.raises(UserError, match="measures 2 rails: name one"):
        make_meter(read_meter_spec({"kind": "hwmon", "root": str(tmp_path)}), link).start()


def test_rapl_wraps_around(tmp_path: Path) -> None:
    zone = {"intel-rapl:0__name": "package-0", "intel-rapl:0__max_energy_range_uj": "10000000"}
    tree(tmp_path, **zone, **{"intel-rapl:0__energy_uj": "9000000"})
    meter = make_meter(read_meter_spec({"kind": "rapl", "root": str(tmp_path), "every_s": 10}))
    meter.start()
    time.sleep(0.05)
    tree(tmp_path, **{"intel-rapl:0__energy_uj": "1000000"})
    before = time.monotonic()
    (power_w,) = meter.stop().power_w
    assert 1.0 < power_w < 2.0 / 0.05 and before > 0  # 2 J, not -8 J


def test_battery_gauges(tmp_path: Path) -> None:
    told = iter([{"InstantAmperage": (1 << 64) - 500, "Voltage": 4000, "UpdateTime": 100}] * 9)
    meter = make_meter(read_meter_spec({"kind": "ios"}), Link(battery=lambda: next(told)))
    meter.start()
    samples = meter.stop()
    assert samples.power_w.tolist() == [2.0] and samples.time_s.tolist() == [100.0]

    def phone(line: str) -> str:
        assert "battery/current_now" in line
        return "=12.5 3.0\n=4000000\n=-250000\n"

    meter = make_meter(read_meter_spec({"kind": "current_now"}), Link(shell=phone))
    meter.start()
    assert meter.stop().power_w[0] == pytest.approx(1.0)


def test_a_missing_way_into_the_device() -> None:
    for kind in ("odpm", "current_now", "ios"):
        with pytest.raises(UserError, match="gives no way to ask it"):
            make_meter(read_meter_spec({"kind": kind}))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "key 'kind' is missing"),
        ({"kind": "monson"}, "did you mean 'monsoon'"),
        ({"kind": "rapl", "domian": "dram"}, r"unknown key 'domian' \(did you mean 'domain'"),
        ({"kind": "ppk2"}, "key 'voltage_v' is missing"),
        ({"kind": "ios", "every_s": 0}, "key 'every_s' is 0"),
    ],
)
def test_tables_that_are_wrong(table: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_meter_spec(table)
    assert len(meter_kinds()) == 11


def test_times_without_stamps() -> None:
    steady = times_of_blocks([10, 10, 10], [1.01, 1.03, 1.03], 1000.0)
    np.testing.assert_allclose(steady, 1.0 + np.arange(30) / 1000)
    lossy = times_of_blocks([10, 10, 10], [1.01, 1.02, 1.53], 1000.0)
    assert np.diff(lossy).max() == pytest.approx(0.501)


def test_a_mark_is_found_in_what_a_simulated_meter_saw() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    meter = SimulatedMeter(Waveform(offset_s=0.7, noise_w=0.01), lambda: now[0])
    meter.start()
    load = pulse(lambda on: meter.draw(3.0 if on else 0.5), sleep)
    events = [event for _ in range(2) for event in mark(load, lambda: now[0], sleep=sleep)]
    samples = meter.stop()
    clock = align(Power(samples.time_s, samples.power_w, 2e-4), pair(events)).clock
    assert clock is not None and clock.offset_s == pytest.approx(0.7, abs=3e-4)
    with pytest.raises(DeviceError, match="was not started"):
        meter.stop()


def test_busy_takes_as_long_as_asked() -> None:
    begin = time.monotonic()
    busy(0.02)
    assert time.monotonic() - begin >= 0.02
