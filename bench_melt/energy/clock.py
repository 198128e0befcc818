"""The straight line between two clocks."""

from dataclasses import dataclass

import numpy as np

from bench_melt.energy.samples import Floats


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
