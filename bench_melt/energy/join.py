"""Samples and events in, joules per phase out: what `bench-melt energy` and the runner call."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench_melt.energy.clock import Clock
from bench_melt.energy.events import Events, Phase
from bench_melt.energy.integrate import Integral, integrate
from bench_melt.energy.power import Power
from bench_melt.energy.refine import refine
from bench_melt.energy.samples import Samples
from bench_melt.energy.sync import align
from bench_melt.energy.timeline import Timeline, restore
from tinyengine.errors import UserError

Window = tuple[float, float]
_FEW = 5  # samples inside a phase below which its figure is coarse
_LOST_SHARE = 0.1
_STUCK_SAMPLES = 20


class IdleWindowError(UserError):
    """The idle window is empty, or the recording has no samples in it."""


@dataclass(frozen=True, slots=True)
class PhaseEnergy:
    """Energy of one occurrence of a phase; times in the events' clock. None: not measured."""

    phase: str
    start_s: float
    end_s: float
    energy_j: float | None
    energy_above_idle_j: float | None
    mean_power_w: float | None
    samples: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnergyReport:
    """Energy of every phase, and how the clocks were joined.

    Attributes:
        phases: In order of time.
        clock: None: there was no mark; meter and events are taken to share a clock.
        marks_found: Load steps found in the recording.
        edges_refined: Edges of phases that the clock was sharpened with.
        idle_power_w: Mean power of the idle window; None where none was named.
        timeline: Times of the samples, in the meter's clock.
        notes: What is true of every phase.
    """

    phases: tuple[PhaseEnergy, ...]
    clock: Clock | None
    marks_found: int
    edges_refined: int
    idle_power_w: float | None
    timeline: Timeline
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the object that `bench-melt energy --json` prints."""
        phases = [
            {
                "phase": p.phase,
                "start_s": p.start_s,
                "end_s": p.end_s,
                "energy_j": p.energy_j,
                "energy_above_idle_j": p.energy_above_idle_j,
                "mean_power_w": p.mean_power_w,
                "samples": p.samples,
                "warnings": list(p.warnings),
            }
            for p in self.phases
        ]
        clock = self.clock
        drift_ppm = None if clock is None or clock.drift is None else clock.drift * 1e6
        offset_s = None if clock is None else clock.offset_s
        return {"phases": phases, "clock": {"offset_s": offset_s, "drift_ppm": drift_ppm}}


def join(samples: Samples, events: Events, idle: Window | None = None) -> EnergyReport:
    """Join a recording with a log.

    Args:
        samples: The recording, in the meter's clock.
        events: The log, in its own clock.
        idle: From and to, in the clock of the events, when the device was idle.

    Raises:
        IdleWindowError: an idle window without samples.
        UserError: a recording of fewer than two samples, or marks of which none is found.
    """
    if len(samples) < 2:
        raise UserError(f"the recording has {len(samples)} samples; two are the least")
    timeline = restore(samples.time_s)
    meter = Power(timeline.time_s, samples.power_w, timeline.step_s)
    aligned = align(meter, events)
    clock, refined = aligned.clock, 0
    if clock is not None and clock.drift is not None:
        clock, refined = refine(meter, timeline.error_s, events, clock)
    time_s = timeline.time_s if clock is None else clock.to_events(timeline.time_s)
    power = Power(time_s, samples.power_w, timeline.step_s)
    idle_w = None if idle is None else _idle_power_w(power, timeline, idle)
    notes = (*_about(timeline), *aligned.notes, *_residual(clock, timeline))
    stuck = _stuck(samples)
    phases = [
        _phase(power, timeline, phase, idle_w, (*notes, *_own(power, timeline, phase, stuck)))
        for phase in events.phases
    ]
    return EnergyReport(tuple(phases), clock, aligned.marks_found, refined, idle_w, timeline, notes)


def _idle_power_w(power: Power, timeline: Timeline, idle: Window) -> float:
    start_s, end_s = idle
    if not end_s > start_s:
        raise IdleWindowError(
            f"idle window {start_s:.9g},{end_s:.9g}: its end must be after its start"
        )
    found = integrate(power, timeline.error_s, start_s, end_s)
    if found.energy_j is None or found.used < _FEW:
        raise IdleWindowError(
            f"idle window {start_s:.9g},{end_s:.9g} holds {found.used} samples; the recording "
            f"lasts from {power.time_s[0]:.9g} to {power.time_s[-1]:.9g} s of the events' clock"
        )
    return found.energy_j / (end_s - start_s)


def _phase(
    power: Power, timeline: Timeline, phase: Phase, idle_w: float | None, notes: tuple[str, ...]
) -> PhaseEnergy:
    found = integrate(power, timeline.error_s, phase.start_s, phase.end_s)
    duration_s = phase.end_s - phase.start_s
    joules = found.energy_j
    return PhaseEnergy(
        phase.name,
        phase.start_s,
        phase.end_s,
        joules,
        None if joules is None or idle_w is None else joules - idle_w * duration_s,
        None if joules is None else joules / duration_s,
        found.samples,
        (*_coverage(power, phase, found), *notes),
    )


def _coverage(power: Power, phase: Phase, found: Integral) -> tuple[str, ...]:
    if found.energy_j is None:
        return ("no sample inside: not measured",)
    notes = []
    if phase.start_s < power.time_s[0] - power.step_s or phase.end_s > (
        power.time_s[-1] + power.step_s
    ):
        notes.append("the recording does not cover this phase: power held to its edges")
    if found.samples < _FEW:
        notes.append(f"{found.samples} samples inside: too few for a good figure")
    elif found.covered < 0.5:
        notes.append(f"samples cover {found.covered:.0%} of this phase: power held to its edges")
    return tuple(notes)


def _about(timeline: Timeline) -> tuple[str, ...]:
    """Say what is true of the whole recording."""
    if timeline.repeats == 1:
        return ()
    how = (
        "restored from the sample index" if timeline.on_grid else "fitted through jittering stamps"
    )
    return (f"time stamps repeat {timeline.repeats} times: times {how}",)


def _residual(clock: Clock | None, timeline: Timeline) -> tuple[str, ...]:
    if clock is None or clock.residual_rms_s <= 2 * timeline.step_s:
        return ()
    return (
        f"the sync marks fit one clock line to {clock.residual_rms_s * 1e6:.0f} us rms only, "
        f"{clock.residual_rms_s / timeline.step_s:.1f} sampling steps",
    )


def _own(
    power: Power, timeline: Timeline, phase: Phase, stuck: np.ndarray[Any, np.dtype[np.int64]]
) -> tuple[str, ...]:
    """Say what happened to the meter during one phase."""
    low, high = np.searchsorted(power.time_s, [phase.start_s, phase.end_s])
    if high <= low:
        return ()
    notes = []
    lost = float(timeline.lost[max(low - 1, 0) : high].sum())
    whole = lost + (high - low)
    if lost >= 0.5:
        much = "" if lost < _LOST_SHARE * whole else ", a large share"
        notes.append(f"about {lost:.0f} of {whole:.0f} samples lost{much}")
    gaps_s = np.diff(power.time_s[max(low - 1, 0) : high + 1])
    if len(gaps_s) and gaps_s.max() > max(10, 2 * timeline.repeats) * timeline.step_s:
        notes.append(f"the meter jumps by {gaps_s.max():.6f} s: power taken as a line across")
    if len(stuck) and stuck[low:high].max() >= _STUCK_SAMPLES:
        notes.append(f"the meter repeats one value {stuck[low:high].max()} times")
    return tuple(notes)


def _stuck(samples: Samples) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return how many samples in a row share each one's value; empty where values repeat anyway."""
    same = np.diff(samples.power_w) == 0
    if samples.voltage_v is not None and samples.current_a is not None:
        same = (np.diff(samples.voltage_v) == 0) & (np.diff(samples.current_a) == 0)
    if not same.any() or same.mean() > 0.2:
        return np.empty(0, np.int64)
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    runs = np.diff(np.append(starts, len(samples)))
    return np.repeat(runs, runs)
