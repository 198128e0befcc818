"""Where in a recording a sync mark may be, by its shape alone."""

from dataclasses import dataclass

import numpy as np

from bench_melt.energy.events import ROUNDING_S, Mark
from bench_melt.energy.power import Power
from bench_melt.energy.samples import Floats

_STEP_AFTER_S = 0.02  # a load of unknown length lasts at least so long
_FLANK_S = (0.2, 1.0)  # steady power around a mark: at least as long as it, within these
_MOST = 80  # looked at per mark
_SIGNIFICANT = 40.0  # variance ratio of a step over noise, times samples
_STRIDE_S = 0.0125  # between places, at most


@dataclass(frozen=True, slots=True)
class Shape:
    """What a mark looks like in the clock of the events: seconds before, during and after it."""

    start_s: float
    before_s: float
    during_s: float  # 0: a single step
    after_s: float
    line: int


def shape_of(mark: Mark, edges_s: Floats) -> Shape:
    """Return the shape of a mark among the edges (n,) of its log."""
    end_s = mark.start_s if mark.end_s is None else mark.end_s
    earlier = edges_s[edges_s < mark.start_s - ROUNDING_S]
    later = edges_s[edges_s > end_s + ROUNDING_S]
    length_s = min(max(end_s - mark.start_s, _FLANK_S[0]), _FLANK_S[1])
    if mark.end_s is None:
        return Shape(mark.start_s, *_beside_step(mark.start_s, earlier, later), mark.line)
    before_s = min(length_s, mark.start_s - earlier[-1]) if len(earlier) else length_s
    after_s = min(length_s, later[0] - end_s) if len(later) else length_s
    return Shape(mark.start_s, before_s, end_s - mark.start_s, after_s, mark.line)


def _beside_step(at_s: float, earlier: Floats, later: Floats) -> tuple[float, float, float]:
    """Return before, during and after of a mark without end, whose load stays an unknown time."""
    before_s = min(_FLANK_S[0], at_s - earlier[-1]) if len(earlier) else _FLANK_S[0]
    after_s = min(_STEP_AFTER_S, later[0] - at_s) if len(later) else _STEP_AFTER_S
    return before_s, 0.0, after_s


@dataclass(frozen=True, slots=True)
class Places:
    """Where in the meter's clock one mark may begin (k,), and how much it looks so, 0 to 1."""

    time_s: Floats
    quality: Floats


def places_of(power: Power, shape: Shape, within_s: float) -> Places:
    """Return the places that look like the mark, the best of every neighbourhood."""
    length_s = shape.during_s or min(shape.before_s, shape.after_s)
    stride = max(1, int(min(length_s / 10, _STRIDE_S) / power.step_s))
    at_s = _grid(power.time_s, stride, shape.during_s)
    at_s = at_s[np.abs(at_s - shape.start_s) <= within_s]
    if not len(at_s):
        return Places(np.empty(0), np.empty(0))
    bounds = [at_s - shape.before_s, at_s]
    if shape.during_s:
        bounds.append(at_s + shape.during_s)
    bounds.append(bounds[-1] + shape.after_s)
    covered, mean, inside = power.stretches(np.array(bounds))
    if shape.during_s:
        contrast = np.abs(mean[1] - 0.6 * mean[0] - 0.4 * mean[2])
    else:
        rise = mean[1] - mean[0]  # a load that begins, rather than one that ends
        contrast = np.where(rise > 0, rise, -0.5 * rise)
    total_s = np.maximum(covered.sum(axis=0), 1e-12)
    centre = (covered * mean).sum(axis=0) / total_s
    between = (covered * (mean - centre) ** 2).sum(axis=0)
    whole = between + inside.sum(axis=0)
    share = np.where(whole > 1e-12 * total_s * power.median_w**2 + 1e-30, between, 0.0)
    share = share / np.maximum(whole, 1e-30)
    seen = (covered >= 3 * power.step_s).all(axis=0)
    ratio = share / np.maximum(1 - share, 1e-12) * total_s / power.step_s
    quality = np.where(seen & (ratio > _SIGNIFICANT), share**2 * np.sqrt(contrast), 0.0)
    far = np.minimum(np.abs(at_s - shape.start_s) / 100.0, 1.0)
    return _peaks(at_s, quality * (1 - 0.1 * far), max(length_s / 4, 3 * stride * power.step_s))


def _grid(time_s: Floats, stride: int, during_s: float) -> Floats:
    """Return every so many times; more of them where a mark begins or ends with the recording."""
    fine = max(1, stride // 16)
    last = int(time_s.searchsorted(time_s[-1] - during_s))
    index = (
        np.arange(0, len(time_s), stride),
        np.arange(0, min(2 * stride, len(time_s)), fine),
        np.arange(max(last - 2 * stride, 0), min(last + 1, len(time_s)), fine),
    )
    return time_s[np.unique(np.concatenate(index))]


def _peaks(at_s: Floats, quality: Floats, apart_s: float) -> Places:
    quality = quality.copy()
    chosen: list[int] = []
    values: list[float] = []
    while len(chosen) < _MOST:
        top = int(np.argmax(quality))
        if quality[top] <= 0:
            break
        chosen.append(top)
        values.append(float(quality[top]))
        low, high = np.searchsorted(at_s, [at_s[top] - apart_s, at_s[top] + apart_s])
        quality[low : max(high, top + 1)] = 0.0
    return Places(at_s[chosen], np.array(values))
