"""Energy in a window of time, unbiased for windows of a few samples; docs/energy.md derives it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench_melt.energy.power import Power
from bench_melt.energy.samples import Floats

GUARD_STEPS = 0.75  # a sample this near to an edge may have seen the other side of it


_LEAST = 3  # samples below which less sure ones are taken too


@dataclass(frozen=True, slots=True)
class Integral:
    """What a window of the recording holds.

    Attributes:
        energy_j: None where no sample is inside.
        samples: Samples inside.
        used: Samples that the energy is made of: inside, and surely so.
        covered: Share of the window from the first sample used to the last.
    """

    energy_j: float | None
    samples: int
    used: int
    covered: float


def integrate(power: Power, error_s: Floats, start_s: float, end_s: float) -> Integral:
    """Return the energy from start_s to end_s of the power's own clock.

    Trapezoids between the samples that are surely inside; from the outer two to the edges of the
    window the power is held. A sample near an edge says too little about which side it is on, and a
    line across the edge would mix both sides' power.

    Args:
        power: The recording.
        error_s: (n,) how far each sample's time may be wrong.
        start_s: Begin of the window.
        end_s: Its end, later.
    """
    low, high = power.time_s.searchsorted([start_s, end_s])
    t, p, e = power.time_s[low:high], power.power_w[low:high], error_s[low:high]
    inside = len(t)
    margin_s = GUARD_STEPS * power.step_s
    sure = _within(t, margin_s + e, start_s, end_s)
    for weaker in (margin_s, 0.0):
        if np.count_nonzero(sure) < min(_LEAST, inside):
            sure = _within(t, np.full(inside, weaker), start_s, end_s)
    t, p = t[sure], p[sure]
    if not len(t):
        return Integral(None, inside, 0, 0.0)
    held_j = p[0] * (t[0] - start_s) + p[-1] * (end_s - t[-1])
    inner_j = float((0.5 * (p[1:] + p[:-1]) * np.diff(t)).sum())
    covered = float((t[-1] - t[0]) / (end_s - start_s))
    return Integral(float(held_j) + inner_j, inside, len(t), covered)


def _within(t: Floats, guard_s: Floats, start_s: float, end_s: float) -> npt.NDArray[np.bool_]:
    return np.asarray((t - guard_s >= start_s) & (t + guard_s <= end_s))
