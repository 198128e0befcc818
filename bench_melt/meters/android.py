"""What a phone with Android measures itself: its power rails (ODPM), or its battery's gauge."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench_melt.energy.samples import Floats, Samples
from bench_melt.meters.base import (
    BaseMeter,
    Clock,
    MeterInfo,
    PolledMeter,
    Shell,
    optional,
    steps_between,
)
from bench_melt.meters.files import ShellFiles, number
from tinyengine.errors import DeviceError, UserError

Collect = Callable[[str, Path], None]  # fetches a file of the phone

_TRACE = "/data/misc/perfetto-traces/bench-melt.pftrace"
_CONFIG = """\
buffers { size_kb: 65536 fill_policy: RING_BUFFER }
data_sources { config { name: "android.power" android_power_config {
  battery_poll_ms: %d
  collect_power_rails: true
} } }
"""
_SUPPLY = "/sys/class/power_supply"


class OdpmMeter(BaseMeter):
    """Power rails of a Pixel and others: energy counters that perfetto records on the phone.

    `rails` are names or their beginnings ("VSYS_PWR_CPU"); empty: the sum of all, which counts
    twice where a rail feeds another. Stamps are the phone's boot clock.
    """

    def __init__(
        self,
        shell: Shell,
        collect: Collect,
        rails: tuple[str, ...] = (),
        every_s: float = 0.25,
    ) -> None:
        self._shell = shell
        self._collect = collect
        self._rails = rails
        self._every_s = every_s
        self._pid: int | None = None
        self._names: tuple[str, ...] = ()

    @property
    def info(self) -> MeterInfo:
        """What it is."""
        channels = tuple(f"{name} J" for name in self._names or self._rails)
        return MeterInfo("odpm", "android.power", 1.0 / self._every_s, channels, "device")

    def start(self) -> None:
        """Start perfetto in the background of the phone."""
        optional("perfetto.protos.perfetto.trace.perfetto_trace_pb2", "perfetto")
        self.close()
        config = _CONFIG % round(self._every_s * 1000)
        # some versions only take their configuration from stdin: others may not read files
        answer = self._shell(
            f"rm -f {_TRACE}; perfetto --background --txt -c - -o {_TRACE} <<'END'\n{config}END\n"
        )
        digits = [word for word in answer.split() if word.isdigit()]
        if not digits:
            raise DeviceError(f"perfetto did not start on the phone: {answer.strip() or 'silence'}")
        self._pid = int(digits[-1])

    def stop(self) -> Samples:
        """End perfetto, fetch its trace, and read the counters from it."""
        if self._pid is None:
            raise DeviceError("meter 'odpm' was not started")
        self.close()
        with tempfile.TemporaryDirectory() as folder:
            goal = Path(folder) / "trace"
            self._collect(_TRACE, goal)
            data = goal.read_bytes()
        return self._read(data)

    def _read(self, data: bytes) -> Samples:
        library = optional("perfetto.protos.perfetto.trace.perfetto_trace_pb2", "perfetto")
        names: dict[int, str] = {}
        counters: dict[int, dict[int, int]] = {}
        broken = optional("google.protobuf.message", "protobuf").DecodeError
        try:
            packets = library.Trace.FromString(data).packet
        except broken as error:
            raise DeviceError(
                f"perfetto's trace of {len(data)} bytes cannot be read: {error}"
            ) from error
        for packet in packets:
            for rail in packet.power_rails.rail_descriptor:
                names[rail.index] = rail.rail_name
            for one in packet.power_rails.energy_data:
                # a reading without a stamp of its own has the packet's: ns of the same clock
                own = one.HasField("timestamp_ms")
                at_ms = one.timestamp_ms if own else packet.timestamp // 1_000_000
                counters.setdefault(one.index, {})[at_ms] = one.energy
        if not names:
            raise UserError("this phone tells no power rails (ODPM): try kind = 'current_now'")
        chosen = [i for i, name in names.items() if not self._rails or name.startswith(self._rails)]
        chosen = [i for i in chosen if len(counters.get(i, {})) > 1]
        self._names = tuple(names[i] for i in chosen)
        if not chosen:
            raise UserError(
                f"no power rail {' or '.join(self._rails) or 'was read twice'}; the phone has: "
                f"{', '.join(sorted(names.values()))}"
            )
        return _sum_of([counters[i] for i in chosen])

    def close(self) -> None:
        """End perfetto."""
        pid, self._pid = self._pid, None
        if pid is not None:
            # it writes its file when it is told to end, and is gone when it has
            self._shell(f"kill {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.1; done; true")


def _sum_of(counters: list[dict[int, int]]) -> Samples:
    """Add up counters (stamp in ms -> uJ); each is a line between its own readings."""
    stamps = np.unique(np.concatenate([sorted(counter) for counter in counters]))
    first = max(min(counter) for counter in counters)
    last = min(max(counter) for counter in counters)
    stamps = stamps[(stamps >= first) & (stamps <= last)]
    energy_j = np.zeros(len(stamps))
    for counter in counters:
        at = sorted(counter)
        energy_j += np.interp(stamps, at, [counter[stamp] / 1e6 for stamp in at])
    samples = steps_between(stamps / 1e3, energy_j)
    if len(samples) < 2:
        raise DeviceError(f"the power rails were read {len(stamps)} times: measure for longer")
    return samples


class CurrentNowMeter(PolledMeter):
    """The battery's gauge: current_now and voltage_now, refreshed a few times a second.

    Android wants microampere, positive while charging; some makers give milliampere, some the other
    sign: `current_unit_a` and `discharging` say what this phone does. Stamps are its boot clock.
    """

    def __init__(
        self,
        shell: Shell,
        supply: str = "battery",
        every_s: float = 0.1,
        current_unit_a: float = 1e-6,
        discharging: int = -1,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(every_s, clock)
        self._files = ShellFiles("/", shell)
        folder = f"{_SUPPLY.lstrip('/')}/{supply}"
        self._paths = ("proc/uptime", f"{folder}/voltage_now", f"{folder}/current_now")
        self._unit_a = current_unit_a
        self._sign = discharging

    @property
    def info(self) -> MeterInfo:
        """What it is."""
        rate_hz = 1.0 / self._every_s
        channels = ("voltage V", "current A")
        return MeterInfo("current_now", self._paths[2], rate_hz, channels, "device")

    def read(self) -> tuple[float, ...]:
        """Return seconds since boot, volts and amperes out of the battery."""
        uptime, microvolt, current = self._files.read(self._paths)
        amperes = self._sign * number(current, "current_now") * self._unit_a
        volts = number(microvolt, "voltage_now") / 1e6
        return number(uptime.split()[0] if uptime else "", "/proc/uptime"), volts, amperes

    def convert(self, rows: Floats) -> Samples:
        """Return the samples."""
        return Samples.of(rows[:, 0], rows[:, 1], rows[:, 2])
