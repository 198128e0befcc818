"""Energy counters of x86 processors through Linux's powercap files."""

import time

import numpy as np

from bench_melt.energy.samples import Floats, Samples
from bench_melt.meters.base import Clock, MeterInfo, PolledMeter, steps_between
from bench_melt.meters.files import Files, number
from tinyengine.errors import DeviceError, UserError


class RaplMeter(PolledMeter):
    """The sum of all zones called `domain`: "package" (every socket), "psys", "core", "dram".

    Counts microjoules that wrap around at max_energy_range_uj. One wrap between two readings is
    told apart from none; at 200 W the smallest ranges wrap in five minutes.
    """

    def __init__(
        self,
        files: Files,
        domain: str = "package",
        every_s: float = 0.01,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(every_s, clock)
        self._files = files
        self._domain = domain
        self._paths: list[str] = []
        self._names: tuple[str, ...] = ()
        self._range_j = np.empty(0)

    @property
    def info(self) -> MeterInfo:
        """What it is."""
        channels = tuple(f"{name} J" for name in self._names)
        rate_hz = 1.0 / self._every_s
        return MeterInfo("rapl", f"{self._files.root}: {self._domain}", rate_hz, channels, "host")

    def start(self) -> None:
        """Find the zones, then sample."""
        found = sorted({*self._files.find("*/name"), *self._files.find("*/*/name")})
        names = self._files.read(found) if found else []
        zones = {
            path.rpartition("/")[0]: name
            for path, name in zip(found, names, strict=True)
            if name == self._domain or name.startswith(f"{self._domain}-")
        }
        if not zones:
            raise UserError(
                f"no zone '{self._domain}' below '{self._files.root}'; zones: "
                f"{', '.join(sorted(set(names))) or 'none'}"
            )
        self._names = tuple(zones.values())
        self._paths = [f"{zone}/energy_uj" for zone in zones]
        ranges = self._files.read([f"{zone}/max_energy_range_uj" for zone in zones])
        self._range_j = np.array([number(text, "max_energy_range_uj") for text in ranges]) / 1e6
        super().start()

    def read(self) -> tuple[float, ...]:
        """Return seconds, and joules of every zone since some time."""
        asked_s = self._clock()
        texts = self._files.read(self._paths)
        told_s = 0.5 * (asked_s + self._clock())
        return told_s, *(number(text, "energy_uj") / 1e6 for text in texts)

    def convert(self, rows: Floats) -> Samples:
        """Return the power between readings."""
        counted_j = np.diff(rows[:, 1:], axis=0)
        counted_j += np.where(counted_j < 0, self._range_j, 0.0)
        energy_j = np.concatenate([[0.0], np.cumsum(counted_j.sum(axis=1))])
        samples = steps_between(rows[:, 0], energy_j)
        if not len(samples):
            raise DeviceError(f"the counters below '{self._files.root}' do not move")
        return samples
