"""INA3221 and INA2xx power monitors through Linux's hwmon files, as on Jetson boards."""

import time

from bench_melt.energy.samples import Floats, Samples
from bench_melt.meters.base import Clock, MeterInfo, PolledMeter
from bench_melt.meters.files import Files, number
from tinyengine.errors import UserError

_CHIPS = ("ina3221", "ina2", "ina4")  # INA209, 219, 220, 226, 230, 231, 238, 260; INA4230


class HwmonMeter(PolledMeter):
    """One rail: in<n>_input in millivolt and curr<n>_input in milliampere.

    `rail` is the label of the voltage (Jetson: "VDD_IN", "VDD_CPU_GPU_CV"), its number, or None
    where there is but one. Stamps are the host's clock, half-way between asking and the answer.
    """

    def __init__(
        self,
        files: Files,
        rail: str | None = None,
        every_s: float = 0.02,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(every_s, clock)
        self._files = files
        self._rail = rail
        self._paths: tuple[str, str] | None = None
        self._name = rail or ""

    @property
    def info(self) -> MeterInfo:
        """What it is."""
        return MeterInfo(
            "hwmon",
            f"{self._files.root}: {self._name}",
            1.0 / self._every_s,
            ("voltage V", "current A"),
            "host",
        )

    def start(self) -> None:
        """Find the rail, then sample."""
        rails = self._rails()
        if not rails:
            raise UserError(
                f"no INA3221 or INA2xx below '{self._files.root}': none of its hwmon*/name says so"
            )
        self._name, self._paths = self._choose(rails)
        super().start()

    def read(self) -> tuple[float, ...]:
        """Return seconds, volts and amperes."""
        assert self._paths is not None
        asked_s = self._clock()
        millivolt, milliampere = self._files.read(self._paths)
        told_s = 0.5 * (asked_s + self._clock())
        what = f"'{self._files.root}/{self._paths[0]}'"
        return told_s, number(millivolt, what) / 1e3, number(milliampere, what) / 1e3

    def convert(self, rows: Floats) -> Samples:
        """Return the samples."""
        return Samples.of(rows[:, 0], rows[:, 1], rows[:, 2])

    def _rails(self) -> dict[str, tuple[str, str]]:
        """Return label or "chip number" of every rail, with its two files."""
        rails: dict[str, tuple[str, str]] = {}
        names = self._files.find("hwmon*/name")
        for path, name in zip(names, self._files.read(names) if names else [], strict=True):
            if not name.startswith(_CHIPS):
                continue
            folder = path.rpartition("/")[0]
            for current in self._files.find(f"{folder}/curr*_input"):
                index = current.rpartition("/curr")[2].removesuffix("_input")
                volts = f"{folder}/in{index}_input"
                if not self._files.find(volts):
                    continue
                label = self._files.find(f"{folder}/in{index}_label")
                rail = self._files.read(label)[0] if label else f"{name} {index}"
                rails[rail] = (volts, current)
        return rails

    def _choose(self, rails: dict[str, tuple[str, str]]) -> tuple[str, tuple[str, str]]:
        if self._rail is None and len(rails) == 1:
            return next(iter(rails.items()))
        for name, paths in rails.items():
            if self._rail in (name, name.rpartition(" ")[2]):
                return name, paths
        asked = "name one" if self._rail is None else f"there is no '{self._rail}'"
        raise UserError(
            f"hwmon below '{self._files.root}' measures {len(rails)} rails: {asked} with "
            f"rail = ...; rails: {', '.join(sorted(rails))}"
        )
