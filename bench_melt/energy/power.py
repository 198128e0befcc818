"""Sums over any stretch of a recording in constant time, and the edges of load steps."""

from dataclasses import dataclass

import numpy as np

from bench_melt.energy.samples import Floats

_EDGE_HALF_SAMPLES = 1  # a meter that averages smears an edge over no more


@dataclass(frozen=True, slots=True)
class Edge:
    """A step of the power.

    Attributes:
        time_s: When, between two samples.
        height_w: Power after less power before.
        clarity: Share of the variance around it that the step explains, 0 to 1.
    """

    time_s: float
    height_w: float
    clarity: float


class Power:
    """Power over time, (n,) each, ready for questions about stretches of it."""

    def __init__(self, time_s: Floats, power_w: Floats, step_s: float) -> None:
        self.time_s = time_s
        self.power_w = power_w
        self.step_s = step_s
        # around the median the squares do not drown what varies
        self.median_w = float(np.median(power_w))
        centred = power_w - self.median_w
        # a sample stands for half the way to either neighbour; a gap is not filled by its ends
        edges = np.concatenate([[0.0], np.cumsum(np.minimum(np.diff(time_s), 20 * step_s))])
        self._covered = edges
        self._first = np.concatenate([[0.0], np.cumsum(_halves(centred) * np.diff(edges))])
        self._second = np.concatenate([[0.0], np.cumsum(_halves(centred**2) * np.diff(edges))])

    def stretches(self, bounds_s: Floats) -> tuple[Floats, Floats, Floats]:
        """Return seconds covered, mean (less the median) and squared deviation of k stretches.

        Args:
            bounds_s: (k + 1, ...) their bounds, rising along the first axis.

        Returns:
            Three arrays (k, ...): s, W, and W^2 s summed.
        """
        covered = np.diff(np.interp(bounds_s, self.time_s, self._covered), axis=0)
        first = np.diff(np.interp(bounds_s, self.time_s, self._first), axis=0)
        second = np.diff(np.interp(bounds_s, self.time_s, self._second), axis=0)
        mean = first / np.maximum(covered, 1e-12)
        return covered, mean, np.maximum(second - mean * first, 0.0)

    def explained(self, blocks_s: list[Floats]) -> float:
        """Return the share of the variance that constant power between bounds explains.

        What the recording does not cover counts as not explained.

        Args:
            blocks_s: Bounds that follow one another; nothing is asked about between the blocks.
        """
        parts = [self.stretches(bounds_s) for bounds_s in blocks_s]
        covered, mean, inside = (np.concatenate(part) for part in zip(*parts, strict=True))
        total_s = covered.sum()
        if total_s <= 0:
            return 0.0
        centre = (covered * mean).sum() / total_s
        between = (covered * (mean - centre) ** 2).sum()
        whole = between + inside.sum()
        asked_s = sum(float(bounds_s[-1] - bounds_s[0]) for bounds_s in blocks_s)
        share = between / whole if whole > 1e-18 * total_s else 0.0
        return float(share * min(total_s / asked_s, 1.0))

    def edge_near(
        self, time_s: float, before_s: float, after_s: float, level_samples: int | None = None
    ) -> Edge | None:
        """Return the clearest step of the power from `before_s` before to `after_s` after a time.

        The split that leaves the least squared deviation gives the levels; the place between
        samples is where the area of the samples at the split puts a sharp step (half-way between
        two point samples; exact for a meter that averages). None with fewer than four samples.
        `level_samples` on either side give the levels, all by default: few follow a power that is
        not steady, many average noise.
        """
        low, high = np.searchsorted(self.time_s, [time_s - before_s, time_s + after_s])
        if high - low < 4:
            return None
        t, p = self.time_s[low:high], self.power_w[low:high]
        centred = p - p.mean()
        n = len(p)
        left = np.arange(1, n)
        sums = np.cumsum(centred)[:-1]
        between = sums**2 * n / (left * (n - left))
        whole = float((centred**2).sum())
        if whole <= 1e-18 * n:
            return None
        split = int(np.argmax(between)) + 1
        level_before, level_after = _levels(p, split, level_samples or n)
        height = level_after - level_before
        if height == 0:
            return None
        place = _place(t, p, split, level_before, height)
        return Edge(place, height, float(between[split - 1]) / whole)


def _halves(values: Floats) -> Floats:
    return 0.5 * (values[1:] + values[:-1])


def _levels(p: Floats, split: int, most: int) -> tuple[float, float]:
    """Return the power before and after; the samples next to the edge may be half-way: left out."""
    before = p[: max(split - 1, 1)][-most:]
    after = p[min(split + 1, len(p) - 1) :][:most]
    return float(before.mean()), float(after.mean())


def _place(t: Floats, p: Floats, split: int, base: float, height: float) -> float:
    low = max(split - 1 - _EDGE_HALF_SAMPLES, 0)
    high = min(split + _EDGE_HALF_SAMPLES, len(t) - 1)
    share = np.clip((p[low : high + 1] - base) / height, -0.5, 1.5)
    area_s = float((_halves(share) * np.diff(t[low : high + 1])).sum())
    return float(t[high] - area_s)
