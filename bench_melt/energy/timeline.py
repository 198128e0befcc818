"""Restores the time of every sample where the meter's stamps repeat or samples are lost."""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench_melt.energy.samples import Floats
from tinyengine.errors import UserError

Ints = npt.NDArray[np.int64]

# a low quantile: loss only ever lengthens the time per surviving sample
_STEP_QUANTILE = 0.1
# how far from a whole number of steps two stamps may be apart and count as on the grid
_GRID_TOLERANCE = 0.3
_SMOOTH_SAMPLES = 96
_SMOOTH_RUNS = 12
_CHUNK = 1 << 15
_DIGITS_S = (1.0, 0.1, 0.01, 0.001, 0.0001)
_DIGIT_RUNS = 4096
_BLOCK_RUNS = 64


@dataclass(frozen=True, slots=True)
class Timeline:
    """Times of n samples in the meter's clock.

    Attributes:
        time_s: (n,) rising, the first sample of the recording at its stamp.
        error_s: (n,) how far each may be from the truth, for what was lost unseen near it.
        step_s: Time between two samples with nothing lost.
        repeats: Samples per time stamp; 1 where each has its own.
        lost: (n,) samples lost between this one and the next, on average over its stamp.
        on_grid: False where the stamps jitter, so that times are a local fit through them.
    """

    time_s: Floats
    error_s: Floats
    step_s: float
    repeats: int
    lost: Floats
    on_grid: bool


def restore(stamps_s: Floats) -> Timeline:
    """Return the times of samples from stamps (n,) that never fall.

    Samples with equal stamps came in one delivery; its stamp is taken as that of the first (were it
    the last, all times shift by one constant, which the clock's offset absorbs). docs/energy.md,
    "Time from the index", says what is assumed about lost samples.

    Raises:
        UserError: all stamps are equal.
    """
    first = np.flatnonzero(np.diff(stamps_s, prepend=stamps_s[0] - 1.0))
    count = np.diff(np.append(first, len(stamps_s)))
    runs_s = stamps_s[first]
    if len(runs_s) < 2:
        raise UserError(
            f"all {len(stamps_s)} samples carry the time stamp {float(stamps_s[0])!r}: nothing "
            "tells when they were taken"
        )
    gap_s = np.diff(runs_s)
    repeats = int(np.median(count))
    if repeats == 1:
        return _own_stamps(stamps_s, runs_s, first, count)
    step_s, on_grid = _step(gap_s, count[:-1])
    if not on_grid or _rounded(runs_s, first, step_s):
        return _smoothed(runs_s, first, count)
    slots = np.append(np.rint(gap_s / step_s).astype(np.int64), count[-1])
    return _placed(runs_s, count, slots, step_s, repeats)


def _step(gap_s: Floats, count: Ints) -> tuple[float, bool]:
    """Return the sampling step, and whether the stamps lie on its grid."""
    step_s = float(np.quantile(gap_s / count, _STEP_QUANTILE))
    slots = np.rint(gap_s / step_s)
    fine = (np.abs(gap_s / step_s - slots) < _GRID_TOLERANCE) & (slots >= count)
    fine |= slots > 100 * count  # a long gap needs not be a whole number of steps
    whole = slots == count
    if whole.any():
        step_s = float(np.median(gap_s[whole] / count[whole]))
    return step_s, bool(fine.mean() > 0.9)


def _rounded(runs_s: Floats, first: Ints, step_s: float) -> bool:
    """Tell whether the stamps are off the grid only because they were written with few digits.

    Steps of 1.2 ms written in whole ms make gaps of 1, 1, 1, 1, 2 ms, as if every fifth had lost
    samples. But rounding leaves stamps within half a digit of a line, loss leads ever further away.
    """
    gap_s = np.diff(runs_s)
    digit_s = _digit_s(runs_s)
    steady = np.abs(gap_s - np.median(gap_s)) < 0.5 * step_s
    if digit_s < 0.75 * step_s or steady.mean() > 0.97:
        return False
    blocks = len(runs_s) // _BLOCK_RUNS
    if not blocks:
        return False
    shape = (blocks, _BLOCK_RUNS)
    x = first[: blocks * _BLOCK_RUNS].reshape(shape).astype(np.float64)
    y = runs_s[: blocks * _BLOCK_RUNS].reshape(shape)
    x = x - x.mean(axis=1, keepdims=True)
    y = y - y.mean(axis=1, keepdims=True)
    slope = (x * y).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True)
    left_s = np.sqrt(np.mean((y - slope * x) ** 2, axis=1))
    return bool(np.median(left_s) < 0.4 * digit_s)


def _digit_s(runs_s: Floats) -> float:
    """Return the last decimal digit that the stamps were written with; 0 where it is fine."""
    ticks = (runs_s[:_DIGIT_RUNS] / digit for digit in _DIGITS_S)
    whole = [bool(np.all(np.abs(tick - np.rint(tick)) < 1e-3)) for tick in ticks]
    return _DIGITS_S[whole.index(True)] if any(whole) else 0.0


def _own_stamps(stamps_s: Floats, runs_s: Floats, first: Ints, count: Ints) -> Timeline:
    """Almost every sample has its own stamp; the few that share one are spread up to the next."""
    step_s = float(np.median(np.diff(runs_s)))
    room_s = np.append(np.diff(runs_s), step_s * count[-1])
    each_s = np.minimum(step_s, room_s / count)
    inner = np.arange(len(stamps_s)) - np.repeat(first, count)
    time_s = stamps_s + inner * np.repeat(each_s, count)
    gaps = np.append(np.diff(time_s), step_s)
    lost = np.maximum(np.rint(gaps / step_s) - 1, 0)
    return Timeline(time_s, np.zeros(len(time_s)), step_s, 1, lost, True)


def _placed(runs_s: Floats, count: Ints, slots: Ints, step_s: float, repeats: int) -> Timeline:
    """Place each run's samples on the grid that begins at its stamp.

    A run of `count` samples stands for `slots` steps. If the stamps were given before the loss,
    runs are shorter than `repeats` and what is missing is missing among the first `repeats` slots;
    if after, anywhere up to the next run. Example, repeats 6, count 5, slots 6: the third of five
    samples is at slot 2 or 3, expected 3 * 7 / 6 - 1 = 2.5.
    """
    before = float((slots[:-1] % repeats == 0).mean()) > float((count == repeats).mean())
    missing = np.maximum(slots - count, 0)
    missing[-1] = max(repeats - int(count[-1]), 0)  # nothing follows that would tell
    if before:
        missing = np.minimum(missing, np.maximum(repeats - count, 0))
    inner = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    many, gone = np.repeat(count, count), np.repeat(missing, count)
    if before:
        place = (inner + 1) * (many + gone + 1) / (many + 1) - 1
        error = np.maximum(place - inner, inner + gone - place)
    else:
        place = inner * (1 + gone / many)
        earlier = np.repeat(np.append(0, missing[:-1]), count)  # were the stamp that of the last
        error = np.maximum(np.maximum(place - inner, inner + gone - place), earlier)
    each_s = np.append(np.diff(runs_s), slots[-1] * step_s) / np.maximum(slots, count)
    each_s = np.minimum(each_s, 1.25 * step_s)
    time_s = np.repeat(runs_s, count) + place * np.repeat(each_s, count)
    lost = np.repeat(np.maximum(slots - count, 0) / count, count)
    if _digit_s(runs_s) > 1.5 * step_s:
        error = error + 1.0  # a run cut off by digits begins anywhere within a step
    return Timeline(time_s, error * step_s, step_s, repeats, lost, True)


def _smoothed(runs_s: Floats, first: Ints, count: Ints) -> Timeline:
    """Fit a line through the stamps around each run: stamp against index of its first sample."""
    total = int(first[-1] + count[-1])
    repeats = int(np.median(count))
    half = max(_SMOOTH_RUNS, -(-_SMOOTH_SAMPLES // repeats)) // 2
    pace_s = float(np.median(np.diff(runs_s) / count[:-1]))
    off_s = np.diff(runs_s) - pace_s * count[:-1]
    spread_s = float(np.median(np.abs(off_s))) + pace_s
    cuts = np.flatnonzero(off_s > 10 * spread_s) + 1
    bounds = [0, *cuts.tolist(), len(runs_s)]
    time_s = np.empty(total)
    for low, high in itertools.pairwise(bounds):
        fitted, slope = _local_lines(first[low:high], runs_s[low:high], half, pace_s)
        start, end = first[low], first[high - 1] + count[high - 1]
        inner = np.arange(start, end) - np.repeat(first[low:high], count[low:high])
        time_s[start:end] = np.repeat(fitted, count[low:high])
        time_s[start:end] += inner * np.repeat(slope, count[low:high])
    time_s = np.maximum.accumulate(time_s)
    step_s = float(np.median(np.diff(time_s)))
    lost = np.maximum(np.rint(np.append(np.diff(time_s), step_s) / step_s) - 1, 0)
    error_s = np.full(total, 2 * step_s + spread_s / np.sqrt(2 * half + 1))
    return Timeline(time_s, error_s, step_s, repeats, lost, False)


def _local_lines(index: Ints, stamps_s: Floats, half: int, pace_s: float) -> tuple[Floats, Floats]:
    """Return value and slope, at each point, of the line fitted to its 2 * half + 1 neighbours."""
    n = len(index)
    if n < 4:
        return stamps_s[0] + (index - index[0]) * pace_s, np.full(n, pace_s)
    width = min(2 * half + 1, n)
    x = index.astype(np.float64)
    y = stamps_s - stamps_s[0] - pace_s * (x - x[0])
    centre = np.arange(n)
    low = np.clip(centre - width // 2, 0, n - width)
    fitted, slope = np.empty(n), np.empty(n)
    for begin in range(0, n, _CHUNK):
        part = centre[begin : begin + _CHUNK]
        around = low[part, None] + np.arange(width)
        xs = x[around] - x[part, None]
        ys = y[around]
        xs_mean, ys_mean = xs.mean(axis=1), ys.mean(axis=1)
        xs -= xs_mean[:, None]
        slope[part] = (xs * ys).sum(axis=1) / (xs * xs).sum(axis=1)
        fitted[part] = ys_mean - slope[part] * xs_mean
    fitted += stamps_s[0] + pace_s * (x - x[0])
    return fitted, np.maximum(slope + pace_s, 0.0)
