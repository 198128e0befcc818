"""Sharpens a clock found by sync marks with the edges of the phases, where they are as sharp."""

import numpy as np

from bench_melt.energy.clock import Clock, fit_between, fit_clock
from bench_melt.energy.events import Events
from bench_melt.energy.power import Power
from bench_melt.energy.samples import Floats

_EDGES = 2000  # looked at, spread over the log
_WINDOW_STEPS = 6.0
_NEAR_STEPS = 2.0
_CLEAR = 0.8
_AGREE = 0.75
_LEAST = 8
_BETWEEN_STEPS = 0.6  # half a step off: the line runs between the samples beside every edge


def refine(power: Power, error_s: Floats, events: Events, clock: Clock) -> tuple[Clock, int]:
    """Return a clock fitted through all sharp edges, and how many of phases there are in it.

    A sync mark's edge lies somewhere between two samples: with two marks T apart, that alone leaves
    the drift unsure by a fraction of step / T. Edges of phases lie on the same line if the log was
    written when the power changed. That is checked, not believed: three quarters of all sharp edges
    must lie within two steps of one another, and as near to where the marks put them, but for what
    the marks themselves leave open (samples may be lost at their edges). Otherwise the log lags
    behind the power, and the clock is left alone.

    Args:
        power: In the meter's clock.
        error_s: (n,) how far each sample's time may be wrong.
        events: The log.
        clock: From two marks or more.
    """
    edges_s = events.edges_s()
    if len(edges_s) < 2 + _LEAST:
        return clock, 0
    least_s = float(error_s.min())  # nothing near an edge may be less sure than the rest
    room_s = np.minimum(np.diff(edges_s, prepend=-np.inf), np.diff(edges_s, append=np.inf))
    unsure_s = 2 * clock.residual_rms_s
    wide_s = _WINDOW_STEPS * power.step_s + 2 * least_s + unsure_s
    window_s = np.minimum(wide_s, 0.45 * room_s)
    chosen = np.unique(np.linspace(0, len(edges_s) - 1, min(_EDGES, len(edges_s))).astype(int))
    expected_s = clock.to_meter(edges_s)
    event_s, meter_s = [], []
    for i in chosen:
        sure = error_s[np.searchsorted(power.time_s, expected_s[i]) - 2 :][:5]
        if window_s[i] < 2 * power.step_s or not len(sure) or sure.max() > least_s:
            continue
        edge = power.edge_near(float(expected_s[i]), float(window_s[i]), float(window_s[i]), 2)
        if edge is not None and edge.clarity > _CLEAR:
            event_s.append(edges_s[i])
            meter_s.append(edge.time_s)
    event, meter = np.array(event_s), np.array(meter_s)
    if len(event) < _LEAST:
        return clock, 0
    off = meter - clock.to_meter(event)
    near_s = _NEAR_STEPS * power.step_s + least_s
    near = (np.abs(off - np.median(off)) <= near_s) & (np.abs(off) <= 2 * near_s + unsure_s)
    if near.mean() < _AGREE or near.sum() < _LEAST or np.ptp(event[near]) < np.ptp(edges_s) / 2:
        return clock, 0
    fitted = fit_clock(event[near], meter[near], clock.reference_s, drift=True)
    between = fit_between(event[near], meter[near], fitted)
    if np.abs(between.residual_s).max() <= _BETWEEN_STEPS * power.step_s + least_s:
        fitted = between
    return fitted, int(near.sum())
