"""Statistics of repetitions: medians with intervals, and whether two samples differ."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 2000
_SEED = 20240318  # any fixed number: the same rows give the same interval


@dataclass(frozen=True, slots=True)
class Summary:
    """A sample's median and its 95 % interval; low and high are None for a single value."""

    n: int
    median: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Two samples compared.

    change: relative difference of the medians, (b - a) / a; None where a is 0. p: two-sided
    Mann-Whitney. effect: Cliff's delta, the share of pairs in which b is greater minus the share in
    which it is smaller, -1 to 1.
    """

    change: float | None
    p: float
    effect: float


def summarise(values: Sequence[float]) -> Summary:
    """Return the median and its bootstrap interval (percentile method, 2,000 resamples).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, section 13.3.
    """
    sample = np.array(values, dtype=np.float64)
    middle = float(np.median(sample))
    if len(sample) == 1:
        return Summary(1, middle, None, None)
    if np.ptp(sample) == 0:
        return Summary(len(sample), middle, middle, middle)
    sample.sort()
    below, above = _middles(len(sample))
    low, high = np.percentile((sample[below] + sample[above]) / 2, (2.5, 97.5))
    return Summary(len(sample), middle, float(low), float(high))


@functools.lru_cache(maxsize=4)
def _middles(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ranks of the two middle values of every resample of a sorted sample.

    They are the same for all samples of a size: cells of a suite have as many rows as one another.
    """
    draws = np.random.default_rng(_SEED).integers(0, count, (_RESAMPLES, count))
    places = ((count - 1) // 2, count // 2)
    draws.partition(sorted(set(places)), axis=1)
    return draws[:, places[0]].copy(), draws[:, places[1]].copy()


def difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Compare two samples by ranks: no assumption on how times are distributed."""
    from scipy.stats import mannwhitneyu

    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if len(first) == len(second) and bool(np.all(np.concatenate([first, second]) == first[0])):
        return Difference(0.0, 1.0, 0.0)
    found = mannwhitneyu(second, first, alternative="two-sided")
    pairs = len(first) * len(second)
    effect = 2 * float(found.statistic) / pairs - 1
    middle_a, middle_b = float(np.median(first)), float(np.median(second))
    change = (middle_b - middle_a) / middle_a if middle_a else None
    return Difference(change, float(found.pvalue), effect)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number, in the same order.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = highest
    return corrected


def smallest_p(count_a: int, count_b: int) -> float:
    """Return the least p that a two-sided exact test can reach with so few values."""
    return 2 / math.comb(count_a + count_b, count_a)
