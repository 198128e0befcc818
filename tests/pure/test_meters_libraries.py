"""Meters behind a library: what they ask of it, and what they make of its answers."""

import importlib
import inspect
import sys
import time
from typing import Any

import numpy as np
import pytest

from bench_melt.meters.base import Meter
from bench_melt.meters.joulescope import JoulescopeMeter
from bench_melt.meters.monsoon import MonsoonMeter
from bench_melt.meters.otii import OtiiMeter
from bench_melt.meters.ppk2 import Ppk2Meter
from tests import fake_meters
from tests.fake_meters import Bench, install, needed
from tinyengine.errors import DeviceError, UserError


class UsbError(Exception):
    """As pyusb's: it has an errno."""

    def __init__(self, errno: int, words: str) -> None:
        super().__init__(words)
        self.errno = errno


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """All libraries, faked."""
    bench = Bench()
    monitor, engine, triggers = fake_meters.monsoon(bench)
    install(monkeypatch, "Monsoon.HVPM", Monsoon=monitor)
    install(monkeypatch, "Monsoon.sampleEngine", SampleEngine=engine, triggers=triggers)
    install(monkeypatch, "ppk2_api.ppk2_api", PPK2_API=fake_meters.ppk2(bench))
    install(monkeypatch, "joulescope", scan=fake_meters.joulescope(bench))
    install(monkeypatch, "otii_tcp_client.otii_client", OtiiClient=fake_meters.otii(bench)[0])
    return bench


def test_monsoon(bench: Bench) -> None:
    with MonsoonMeter(voltage_v=4.0, serial=12) as meter:
        meter.start()
        time.sleep(0.05)
        samples = meter.stop()
    assert ("setup_usb", 12) in bench.calls and ("setVout", 4.0) in bench.calls
    assert ("SampleEngine", 0) in bench.calls and ("getSamples", [0, 1, 4]) in bench.calls
    assert ("startSampling", 0xFFFFFFFF) in bench.calls
    assert len(samples) > 10 and samples.time_s[0] == samples.time_s[2] < samples.time_s[3]
    np.testing.assert_allclose(samples.power_w, 1.0)
    assert meter.info.rate_hz == 5000 and "serial 12" in meter.info.identity


def test_ppk2(bench: Bench) -> None:
    with Ppk2Meter(3.0) as meter:
        meter.start()
        time.sleep(0.06)
        samples = meter.stop()
    options = {"timeout": 1, "write_timeout": 1, "exclusive": True}
    assert bench.calls[:5] == [
        ("open", "/dev/ttyACM7", options),
        ("source",),
        ("mV", 3000),
        ("power", "ON"),
        ("start",),
    ]
    assert bench.calls[5:] == [("stop",), ("close",)]
    assert len(samples) > 1000
    np.testing.assert_allclose(np.diff(samples.time_s), 1e-5, rtol=1e-3)
    np.testing.assert_allclose(samples.power_w, 0.006)


def test_ppk2_in_the_supply(bench: Bench) -> None:
    with Ppk2Meter(4.2, "COM3", source=False) as meter:
        meter.start()
        assert bench.calls[0][1] == "COM3" and ("ampere",) in bench.calls
    assert bench.calls[-2:] == [("stop",), ("close",)]  # leaving ends it


def test_joulescope(bench: Bench) -> None:
    with JoulescopeMeter() as meter:
        meter.start()
        samples = meter.stop()
    assert ("set", "sampling_frequency", 10_000) in bench.calls
    assert bench.calls[-2:] == [("stop",), ("close",)]
    assert len(samples) == 399  # five blocks, one lost, one sample missing
    assert samples.time_s[0] == pytest.approx(0.5) and samples.time_s[-1] == pytest.approx(0.5499)
    assert samples.current_a is not None
    assert samples.current_a[0] == pytest.approx(0.1)  # not what the ring holds by now
    assert samples.power_w[-1] == pytest.approx(2.5)
    gap = np.diff(samples.time_s)
    assert np.count_nonzero(gap > 0.009) == 1 and np.count_nonzero(gap > 0.00015) == 2


def test_otii(bench: Bench) -> None:
    with OtiiMeter(device="desk", voltage_v=4.0) as meter:
        meter.start()
        assert meter.info.rate_hz == 4000
        samples = meter.stop()
    assert bench.calls[0] == ("connect", "127.0.0.1", 1905)
    assert ("enable", "mc", True) in bench.calls and ("enable", "mv", True) in bench.calls
    assert ("voltage", 4.0) in bench.calls and ("main", True) in bench.calls
    assert bench.calls[-2:] == [("stop",), ("disconnect",)]
    assert len(samples) == 400 and samples.time_s[0] == 3.25
    np.testing.assert_allclose(np.diff(samples.time_s), 0.00025)
    np.testing.assert_allclose(samples.power_w, 2.0)


METERS = {
    "monsoon": MonsoonMeter,
    "ppk2": lambda: Ppk2Meter(3.0),
    "joulescope": JoulescopeMeter,
    "otii": OtiiMeter,
}


@pytest.mark.parametrize("kind", METERS)
def test_nothing_plugged_in(kind: str, bench: Bench) -> None:
    bench.present = False
    meter: Meter = METERS[kind]()
    with pytest.raises((DeviceError, UserError), match="found"), meter:
        meter.start()


@pytest.mark.parametrize("kind", METERS)
def test_stopped_before_it_was_started(kind: str, bench: Bench) -> None:
    meter: Meter = METERS[kind]()
    with pytest.raises(DeviceError, match="was not started"):
        meter.stop()
    meter.close()
    meter.close()


@pytest.mark.parametrize("kind", METERS)
def test_the_library_is_not_installed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = ("Monsoon", "ppk2_api", "joulescope", "otii_tcp_client")
    # parts that another test has loaded are found without their package
    loaded = [name for name in sys.modules if name.partition(".")[0] in hidden]
    for name in (*hidden, *loaded):
        monkeypatch.setitem(sys.modules, name, None)
    meter: Meter = METERS[kind]()
    with pytest.raises(UserError, match=r"needs the python package .* install 'tinyengine-mcu\["):
        meter.start()


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("monsoon", UsbError(13, "Access denied"), "udev rule"),
        ("ppk2", PermissionError(13, "Permission denied"), "dialout"),
        ("joulescope", RuntimeError("LIBUSB_ERROR_ACCESS"), "udev rules"),
    ],
)
def test_no_permission(kind: str, error: Exception, words: str, bench: Bench) -> None:
    bench.error = error
    meter: Meter = METERS[kind]()
    with pytest.raises(UserError, match=f"no permission.*{words}"):
        meter.start()


@pytest.mark.parametrize("kind", METERS)
def test_a_library_that_fails(kind: str, bench: Bench) -> None:
    bench.error = OSError(5, "Input/output error")
    meter: Meter = METERS[kind]()
    with pytest.raises(DeviceError, match="Input/output error"):
        meter.start()


def test_monsoon_unplugged_while_it_samples(bench: Bench) -> None:
    with MonsoonMeter() as meter:
        meter.start()
        meter._engine.setStopTrigger(lambda x, y: 1 / 0, 0.0)
        time.sleep(0.02)
        with pytest.raises(DeviceError, match="Monsoon HVPM.* failed: division by zero"):
            meter.stop()


def test_ppk2_unplugged_while_it_samples(bench: Bench) -> None:
    def gone() -> bytes:
        raise OSError("device disconnected")

    meter = Ppk2Meter(3.0)
    meter.start()
    meter._device.get_data = gone
    time.sleep(0.03)
    with pytest.raises(DeviceError, match="'ppk2' failed: device disconnected"):
        meter.stop()


def test_joulescope_at_a_rate_that_it_has_not(bench: Bench) -> None:
    with pytest.raises(UserError, match="does not sample at rate_hz = 7"):
        JoulescopeMeter(rate_hz=7).start()
    assert bench.calls[-1] == ("close",)


@pytest.mark.parametrize("voltage_v", [0.5, 5.1])
def test_ppk2_beyond_its_voltage(voltage_v: float) -> None:
    with pytest.raises(UserError, match=r"handles 0\.8 to 5 V"):
        Ppk2Meter(voltage_v)


def real(module: str, name: str) -> Any:
    """Return a class or function of a library, if it is installed."""
    needed(module.partition(".")[0])
    return getattr(importlib.import_module(module), name)


def named(function: Any) -> list[str]:
    """Return the names of its parameters."""
    return [name for name in inspect.signature(function).parameters if name != "self"]


def library_classes() -> list[tuple[str, str, Any]]:
    bench = Bench()
    monitor, engine, triggers = fake_meters.monsoon(bench)
    client, arc, project, recording = fake_meters.otii(bench)
    scan = fake_meters.joulescope(bench)
    return [
        ("Monsoon.HVPM", "Monsoon", monitor),
        ("Monsoon.LVPM", "Monsoon", monitor),
        ("Monsoon.sampleEngine", "SampleEngine", engine),
        ("Monsoon.sampleEngine", "triggers", triggers),
        ("ppk2_api.ppk2_api", "PPK2_API", fake_meters.ppk2(bench)),
        ("otii_tcp_client.otii_client", "OtiiClient", client),
        ("otii_tcp_client.arc", "Arc", arc),
        ("otii_tcp_client.project", "Project", project),
        ("otii_tcp_client.recording", "Recording", recording),
        ("joulescope.v1.device", "Device", scan.device),
        ("joulescope", "scan", scan),
    ]


@pytest.mark.parametrize(("module", "name", "fake"), library_classes())
def test_fakes_have_the_signatures_of_the_libraries(module: str, name: str, fake: Any) -> None:
    there = real(module, name)
    if inspect.isfunction(fake):
        assert named(fake) == named(there)
        return
    methods = [key for key, value in vars(fake).items() if inspect.isfunction(value)]
    methods += [key for key, value in vars(fake).items() if isinstance(value, staticmethod)]
    for method in {*methods} - {"__str__", "__init__"}:
        assert named(getattr(fake, method)) == named(getattr(there, method)), method
    if "__init__" in methods:
        assert named(fake.__init__) == named(there.__init__)
