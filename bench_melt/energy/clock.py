"""The straight line between two clocks."""

from dataclasses import dataclass

import numpy as np

from bench_melt.energy.samples import Floats

_HALVINGS = 80


@dataclass(frozen=True, slots=True)
class Clock:
    """Meter's clock = events' clock + offset_s + drift * (events' clock - reference_s).

    Attributes:
        offset_s: How far the meter's clock is ahead at `reference_s`.
        drift: How much faster it runs; 50 ppm is 5e-5. None: assumed 0, not measured.
        reference_s: A time in the events' clock: that of the first event.
        residual_s: (k,) what the fit leaves at each edge that it went through.
    """

    offset_s: float
    drift: float | None
    reference_s: float
    residual_s: Floats

    def to_meter(self, event_s: Floats) -> Floats:
        """Return times of the events' clock in the meter's."""
        return event_s + self.offset_s + (self.drift or 0.0) * (event_s - self.reference_s)

    def at_meter(self, event_s: float) -> float:
        """Return one time of the events' clock in the meter's."""
        return event_s + self.offset_s + (self.drift or 0.0) * (event_s - self.reference_s)

    def to_events(self, meter_s: Floats) -> Floats:
        """Return times of the meter's clock in the events'."""
        rate = 1.0 + (self.drift or 0.0)
        return (meter_s - self.offset_s - self.reference_s) / rate + self.reference_s

    @property
    def residual_rms_s(self) -> float:
        """Root of the mean square of the residuals; 0 without any."""
        return float(np.sqrt(np.mean(self.residual_s**2))) if len(self.residual_s) else 0.0


def fit_clock(event_s: Floats, meter_s: Floats, reference_s: float, *, drift: bool) -> Clock:
    """Fit offset and, if asked, drift through k edges by least squares; a drift needs two."""
    ahead_s = meter_s - event_s
    since_s = event_s - reference_s
    if not drift:
        offset_s = float(ahead_s.mean())
        return Clock(offset_s, None, reference_s, ahead_s - offset_s)
    centre_s = since_s.mean()
    rate = float(((since_s - centre_s) * (ahead_s - ahead_s.mean())).sum())
    rate /= float(((since_s - centre_s) ** 2).sum())
    offset_s = float(ahead_s.mean() - rate * centre_s)
    return Clock(offset_s, rate, reference_s, ahead_s - offset_s - rate * since_s)


def fit_between(event_s: Floats, meter_s: Floats, start: Clock) -> Clock:
    """Fit offset and drift through k edges so that the largest residual is the least.

    A meter of point samples says of an edge only between which two samples it lies: any place there
    is as likely as the middle, which is what `meter_s` has. Least squares then leave an error that
    falls with the root of k; the line that runs between all pairs of samples is known k times as
    well. It is the one with the least largest residual. With edges on the very grid of the samples,
    where the last bit of a time decides which side a sample is on, it is exact.

    Args:
        event_s: (k,) edges in the clock of the events.
        meter_s: (k,) where they are in the meter's.
        start: The line by least squares, near it.
    """
    ahead_s = meter_s - event_s
    since_s = event_s - start.reference_s
    span_s = float(np.ptp(since_s))
    widest = float(np.ptp(ahead_s - (start.drift or 0.0) * since_s))
    # a line further off than this has a larger residual at one end alone
    low = (start.drift or 0.0) - 2 * widest / span_s
    high = (start.drift or 0.0) + 2 * widest / span_s
    for _ in range(_HALVINGS):  # the spread is convex in the drift
        left, right = low + (high - low) / 3, high - (high - low) / 3
        spreads = [float(np.ptp(ahead_s - rate * since_s)) for rate in (left, right)]
        if spreads[0] <= spreads[1]:
            high = right
        if spreads[0] >= spreads[1]:
            low = left
    rate = 0.5 * (low + high)
    left_s = ahead_s - rate * since_s
    offset_s = 0.5 * float(left_s.max() + left_s.min())
    return Clock(offset_s, rate, start.reference_s, left_s - offset_s)
