"""Recordings with a known truth: what a meter of a given quality would have written down."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from bench_melt.energy.events import Event, pair
from bench_melt.energy.join import EnergyReport, join
from bench_melt.energy.samples import Samples

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Meter:
    """How a meter errs. Defaults: not at all."""

    rate_hz: float = 5000.0
    repeat: int = 1
    loss: float = 0.0
    burst: int = 1  # samples lost at once
    stamp_last: bool = False
    group_after_loss: bool = False
    offset_s: float = 0.0
    drift: float = 0.0
    noise: float = 0.0  # of the power, relative to its mean
    digits: int | None = None  # of the stamps
    averages: bool = False
    jitter_s: float = 0.0
    phase: float = 0.0


BAD = Meter(repeat=6, loss=0.02, offset_s=0.7, drift=50e-6)


@dataclass(frozen=True)
class Scene:
    """Rectangles of power over idle; sync marks among them."""

    idle_w: float
    spans: tuple[tuple[str, float, float, float], ...]  # name, start, end, power
    length_s: float

    def energy_to(self, t: Floats) -> Floats:
        """Energy from 0 to each time, exact for the rectangles."""
        energy = self.idle_w * t
        for _, start, end, watt in self.spans:
            energy += (watt - self.idle_w) * (np.clip(t, start, end) - start)
        return energy

    def power(self, t: Floats) -> Floats:
        power = np.full(len(t), self.idle_w)
        for _, start, end, watt in self.spans:
            low, high = np.searchsorted(t, [start, end])
            power[low:high] = watt
        return power

    def events(self) -> list[tuple[float, str, Literal["start", "end"]]]:
        rows: list[tuple[float, str, Literal["start", "end"]]] = []
        for name, start, end, _ in self.spans:
            rows += [(start, name, "start"), (end, name, "end")]
        return rows

    def truth(self) -> list[float]:
        return [(end - start) * watt for name, start, end, watt in self.spans if name != "sync"]


def scene(
    rng: np.random.Generator,
    count: int = 200,
    width_s: float = 0.005,
    gap_s: float = 0.005,
    sync_s: float = 0.1,
    quiet_s: float = 0.5,
) -> Scene:
    """Phases of random power, some back to back, between two marks."""
    idle = rng.uniform(0.2, 1.0)
    high = rng.uniform(2.0, 6.0)
    at = quiet_s + rng.uniform(0, 0.01)
    spans = [("sync", at, at + sync_s, high)]
    at += sync_s + quiet_s
    for _ in range(count):
        spans.append((f"p{rng.integers(3)}", at, at + width_s, rng.uniform(1.0, 5.0)))
        at += width_s + (0.0 if rng.random() < 0.3 else gap_s * rng.uniform(0.2, 2.0))
    at += quiet_s
    spans.append(("sync", at, at + sync_s, high))
    return Scene(idle, tuple(spans), at + sync_s + quiet_s)


def record(scene: Scene, meter: Meter, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return time stamps, volts and amperes."""
    step = 1 / meter.rate_hz
    index = np.arange(int(scene.length_s * meter.rate_hz))
    true = (index + meter.phase) * step
    if meter.averages:
        power = np.diff(scene.energy_to(np.append(true, true[-1] + step))) / step
    else:
        power = scene.power(true)
    power = power + rng.normal(0, meter.noise * power.mean() if meter.noise else 0, len(power))
    own = true * (1 + meter.drift) + meter.offset_s
    kept = np.ones(len(index), bool)
    if meter.loss:
        starts = np.flatnonzero(rng.random(len(index)) < meter.loss / meter.burst)
        for j in range(meter.burst):
            kept[np.minimum(starts + j, len(index) - 1)] = False
    if meter.group_after_loss:
        own, power = own[kept], power[kept]
        kept = np.ones(len(own), bool)
    n = np.arange(len(own))
    group = n // meter.repeat * meter.repeat
    if meter.stamp_last:
        group = np.minimum(group + meter.repeat - 1, len(n) - 1)
    own = own[group] + (meter.jitter_s and rng.uniform(0, meter.jitter_s, len(n))[group])
    own, power = own[kept], power[kept]
    if meter.digits is not None:
        own = np.round(own, meter.digits)
    own = np.maximum.accumulate(own)
    volts = np.full(len(own), 3.8) + rng.normal(0, 0.001, len(own))
    return own, volts, power / volts


def vary(meter: Meter, **changes: object) -> Meter:
    return replace(meter, **changes)  # type: ignore[arg-type]


def joined(scene: Scene, meter: Meter, rng: np.random.Generator) -> tuple[Floats, EnergyReport]:
    """Record, join, and return the relative error of every phase's energy beside the report."""
    samples = Samples.of(*record(scene, meter, rng))
    report = join(samples, pair([Event(t, name, edge) for t, name, edge in scene.events()]))
    found = [np.nan if p.energy_j is None else p.energy_j for p in report.phases]
    return np.array(found) / np.array(scene.truth()) - 1, report


def write(folder: Path, scene: Scene, meter: Meter, rng: np.random.Generator) -> tuple[Path, Path]:
    """Write SAMPLES.csv and EVENTS.csv as a user would have them."""
    rows = [
        ",".join(repr(float(x)) for x in row)
        for row in zip(*record(scene, meter, rng), strict=True)
    ]
    samples, events = folder / "samples.csv", folder / "events.csv"
    samples.write_text("time_s,voltage_v,current_a\n" + "\n".join(rows) + "\n")
    lines = [f"{t!r},{name},{edge}" for t, name, edge in scene.events()]
    events.write_text("time_s,phase,edge\n" + "\n".join(lines) + "\n")
    return samples, events
