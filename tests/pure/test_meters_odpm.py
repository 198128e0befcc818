"""Android's power rails: the configuration and traces as perfetto's own descriptors have them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench_melt.meters.android import OdpmMeter
from tests.fake_meters import needed
from tinyengine.errors import DeviceError, UserError

pytestmark = pytest.mark.pure

RAILS = {0: "VSYS_PWR_CPU", 1: "VSYS_PWR_GPU", 4: "VSYS_PWR_DISPLAY"}
WATTS = {0: 2.0, 1: 1.0, 4: 0.5}


@pytest.fixture
def protos() -> Any:
    """The messages that the package `perfetto` carries."""
    needed("perfetto")
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2

    return perfetto_trace_pb2


def trace(protos: Any, stamped: Callable[[int], bool] = lambda index: True) -> bytes:
    """Return a trace of 2 s: every rail is read each 250 ms, one packet per reading."""
    made = protos.Trace()
    described = made.packet.add().power_rails
    for index, name in RAILS.items():
        described.rail_descriptor.add(index=index, rail_name=name, sampling_rate=1000)
    for at_ms in range(500_000, 502_001, 250):
        packet = made.packet.add(timestamp=at_ms * 1_000_000)
        for index, watts in WATTS.items():
            reading = packet.power_rails.energy_data.add(index=index)
            reading.energy = round(watts * (at_ms - 1000) * 1000)  # uJ since some time
            if stamped(index):
                reading.timestamp_ms = at_ms
    return made.SerializeToString()


class Phone:
    """Notes the command lines, and has one file."""

    def __init__(self, data: bytes = b"", answer: str = "4711\n") -> None:
        self.lines: list[str] = []
        self.fetched: list[str] = []
        self.data, self.answer = data, answer

    def shell(self, line: str) -> str:
        self.lines.append(line)
        return self.answer if "perfetto " in line else ""

    def collect(self, path: str, goal: Path) -> None:
        self.fetched.append(path)
        goal.write_bytes(self.data)

    def meter(self, *rails: str) -> OdpmMeter:
        return OdpmMeter(self.shell, self.collect, rails)


def test_the_configuration_is_one_that_perfetto_parses(protos: Any) -> None:
    from google.protobuf import text_format

    phone = Phone()
    phone.meter().start()
    line = phone.lines[0]
    assert "perfetto --background --txt -c - -o /data/misc/perfetto-traces/" in line
    given = line.split("<<'END'\n")[1].removesuffix("END\n")
    config = text_format.Parse(given, protos.TraceConfig())
    (source,) = config.data_sources
    assert source.config.name == "android.power"
    assert source.config.android_power_config.battery_poll_ms == 250
    assert source.config.android_power_config.collect_power_rails


def test_counters_become_power_in_the_phones_boot_clock(protos: Any) -> None:
    phone = Phone(trace(protos))
    meter = phone.meter()
    meter.start()
    samples = meter.stop()
    assert phone.lines[1].startswith("kill 4711; while kill -0 4711")
    assert phone.fetched == ["/data/misc/perfetto-traces/bench-melt.pftrace"]
    np.testing.assert_allclose(samples.power_w, 3.5)
    np.testing.assert_allclose(samples.time_s, 500.125 + 0.25 * np.arange(8))
    assert meter.info.channels == tuple(f"{name} J" for name in RAILS.values())
    assert meter.info.clock == "device" and meter.info.rate_hz == 4.0


@pytest.mark.parametrize(("rails", "watts"), [(("VSYS_PWR_CPU",), 2.0), (("VSYS_PWR_",), 3.5)])
def test_rails_are_chosen_by_how_they_begin(
    protos: Any, rails: tuple[str, ...], watts: float
) -> None:
    meter = Phone(trace(protos)).meter(*rails)
    meter.start()
    np.testing.assert_allclose(meter.stop().power_w, watts)


def test_readings_without_a_stamp_have_their_packets(protos: Any) -> None:
    meter = Phone(trace(protos, lambda index: index != 1)).meter()
    meter.start()
    samples = meter.stop()
    np.testing.assert_allclose(samples.power_w, 3.5)
    np.testing.assert_allclose(samples.time_s, 500.125 + 0.25 * np.arange(8))


def test_what_goes_wrong(protos: Any) -> None:
    with pytest.raises(DeviceError, match="did not start on the phone: inaccessible or not found"):
        Phone(answer="inaccessible or not found\n").meter().start()
    for data, rails, error, words in (
        (b"", (), UserError, "tells no power rails"),
        (trace(protos), ("VSYS_PWR_NPU",), UserError, "no power rail VSYS_PWR_NPU; the phone has"),
        (b"\xff\xff\xff", (), DeviceError, "trace of 3 bytes cannot be read"),
    ):
        meter = Phone(data).meter(*rails)
        meter.start()
        with pytest.raises(error, match=words):
            meter.stop()
