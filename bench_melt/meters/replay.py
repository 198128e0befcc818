"""Meters that need no hardware: a recording played back, and a waveform known beforehand."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench_melt.energy.samples import Samples, count_lines, open_samples, read_samples
from bench_melt.meters.base import BaseMeter, Clock, MeterInfo
from tinyengine.errors import DeviceError


class CsvMeter(BaseMeter):
    """A recording made by other software.

    If the file grew between start() and stop(), only what was added counts, without a last line
    that is not finished; else all of it is played back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: int | None = None
        self._samples: Samples | None = None

    @property
    def info(self) -> MeterInfo:
        """What it is; the rate once read."""
        rate_hz = None
        if self._samples is not None:
            time_s = self._samples.time_s
            spent_s = float(time_s[-1] - time_s[0])
            rate_hz = (len(time_s) - 1) / spent_s if spent_s > 0 else None
        return MeterInfo("csv", str(self._path), rate_hz, ("voltage V", "current A"), "meter")

    def start(self) -> None:
        """Look at the header, so that what is wrong with it shows now."""
        with open_samples(self._path):
            pass
        self._lines = count_lines(self._path)

    def stop(self) -> Samples:
        """Return its samples."""
        before, self._lines = self._lines, None
        if before is None:
            raise DeviceError("meter 'csv' was not started")
        grown = count_lines(self._path) > before
        self._samples = read_samples(self._path, after_line=before if grown else None)
        return self._samples

    def close(self) -> None:
        """Nothing runs."""


@dataclass(frozen=True, slots=True)
class Waveform:
    """What a simulated meter sees and how it errs.

    Attributes:
        steps: (seconds after start, watts from then on), in order of time.
        idle_w: Power before the first step.
        voltage_v: Constant supply.
        rate_hz: Samples per second.
        offset_s: How far the meter's clock is ahead of the host's at start.
        drift: How much faster it runs; 50 ppm is 5e-5.
        repeats: Samples that share one time stamp, the first one's.
        loss: Share of samples lost, at random.
        gaps: (from, to) in seconds after start: nothing is sampled.
        noise_w: Standard deviation.
        seed: Of loss and noise.
        mark_w: Power while a sync mark is made.
        phases: Name of a phase -> power while it runs, once `play` told when that was.
    """

    steps: tuple[tuple[float, float], ...] = ()
    idle_w: float = 0.5
    voltage_v: float = 3.8
    rate_hz: float = 5000.0
    offset_s: float = 0.0
    drift: float = 0.0
    repeats: int = 1
    loss: float = 0.0
    gaps: tuple[tuple[float, float], ...] = ()
    noise_w: float = 0.0
    seed: int = 0
    mark_w: float = 3.0
    phases: Mapping[str, float] = field(default_factory=dict)


class SimulatedMeter(BaseMeter):
    """Samples a waveform between start and stop, as a meter of a given quality would.

    `draw` adds a step now: with it a harness can play the device whose power it measures.
    """

    def __init__(self, waveform: Waveform, clock: Clock = time.monotonic) -> None:
        self._waveform = waveform
        self._clock = clock
        self._begin_s: float | None = None
        self._drawn: list[tuple[float, float]] = []

    @property
    def info(self) -> MeterInfo:
        """What it is."""
        wave = self._waveform
        identity = f"simulated, seed {wave.seed}"
        channels = ("voltage V", "current A")
        return MeterInfo("simulated", identity, wave.rate_hz, channels, "meter")

    def start(self) -> None:
        """Remember when."""
        self._begin_s = self._clock()
        self._drawn = []

    def draw(self, power_w: float) -> float:
        """Change the power from now on; return when that is."""
        now_s = self._clock()
        if self._begin_s is not None:
            self._drawn.append((now_s - self._begin_s, power_w))
        return now_s

    def switch(self, on: bool) -> float:
        """Play the load of a sync mark; return when it began or ended."""
        return self.draw(self._waveform.mark_w if on else self._waveform.idle_w)

    def play(self, phases: Iterable[tuple[str, float, float]]) -> None:
        """Draw the power of phases that are over: name, from and to in the clock of the host."""
        wave, begin_s = self._waveform, self._begin_s
        if begin_s is None:
            return
        for name, start_s, end_s in phases:
            if name in wave.phases:
                self._drawn.append((start_s - begin_s, wave.phases[name]))
                self._drawn.append((end_s - begin_s, wave.idle_w))

    def stop(self) -> Samples:
        """Return the samples from start() to now."""
        if self._begin_s is None:
            raise DeviceError("meter 'simulated' was not started")
        begin_s, self._begin_s = self._begin_s, None
        return self._sample(begin_s, self._clock() - begin_s)

    def close(self) -> None:
        """Forget the start."""
        self._begin_s = None

    def _sample(self, begin_s: float, length_s: float) -> Samples:
        wave = self._waveform
        rng = np.random.default_rng(wave.seed)
        since_s = np.arange(int(length_s * wave.rate_hz)) / wave.rate_hz
        steps = sorted([(-np.inf, wave.idle_w), *wave.steps, *self._drawn], key=lambda s: s[0])
        edges_s = np.array([at_s for at_s, _ in steps])
        watts = np.array([power_w for _, power_w in steps])
        power_w = watts[np.searchsorted(edges_s, since_s, side="right") - 1]
        power_w = power_w + rng.normal(0.0, 1.0, len(power_w)) * wave.noise_w
        index = np.arange(len(since_s)) // wave.repeats * wave.repeats
        stamps_s = begin_s + wave.offset_s + since_s[index] * (1 + wave.drift)
        kept = rng.random(len(since_s)) >= wave.loss
        for start_s, end_s in wave.gaps:
            kept &= (since_s < start_s) | (since_s >= end_s)
        if kept.sum() < 2:
            raise DeviceError(f"meter 'simulated' ran {length_s:.6f} s: fewer than two samples")
        volts = np.full(int(kept.sum()), wave.voltage_v)
        return Samples.of(stamps_s[kept], volts, power_w[kept] / wave.voltage_v)
