"""Times restored from repeated stamps, against the times that the samples were taken at."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench_melt.energy.timeline import restore
from tests.recordings import BAD, Floats, Meter, Scene, record, vary
from tinyengine.errors import UserError


class Clockwork(Scene):
    """A scene whose power is the time itself: every sample says when it was taken."""

    def power(self, t: Floats) -> Floats:
        return t.copy()


def errors(meter: Meter, seed: int) -> tuple[Floats, Floats]:
    """Return by how many steps each time is wrong, and how many it may be."""
    t, v, i = record(Clockwork(0, (), 4.0), meter, np.random.default_rng(seed))
    true = v * i * (1 + meter.drift) + meter.offset_s
    line = restore(t)
    error = (line.time_s - true) / line.step_s
    assert (np.diff(line.time_s) >= 0).all()
    return error - np.median(error), line.error_s / line.step_s


@settings(max_examples=60, deadline=None)
@given(
    repeat=st.sampled_from([1, 2, 6, 10]),
    loss=st.sampled_from([0.0, 0.001, 0.02, 0.1]),
    burst=st.sampled_from([1, 3, 20]),
    after=st.booleans(),
    drift=st.floats(-1e-3, 1e-3),
    offset=st.floats(-1e3, 1e3),
    seed=st.integers(0, 1 << 30),
)
def test_no_time_is_further_off_than_it_says(
    repeat: int, loss: float, burst: int, after: bool, drift: float, offset: float, seed: int
) -> None:
    meter = Meter(
        repeat=repeat, loss=loss, burst=burst, group_after_loss=after, drift=drift, offset_s=offset
    )
    error, stated = errors(meter, seed)
    known = len(error) - repeat  # nothing follows the last group that would tell of a loss in it
    assert (np.abs(error) <= stated + 0.05)[:known].all()


def test_most_samples_are_where_they_were() -> None:
    for after in (False, True):
        error, stated = errors(vary(BAD, group_after_loss=after), 1)
        assert np.mean(np.abs(error) < 0.01) > 0.85 and np.mean(stated == 0) > 0.75


@pytest.mark.parametrize("meter", [vary(BAD, digits=3), vary(BAD, jitter_s=0.001)])
def test_stamps_that_jitter_are_fitted(meter: Meter) -> None:
    for seed in range(5):
        error, stated = errors(meter, seed)
        assert (np.abs(error) <= stated + 0.5).all() and np.sqrt(np.mean(error**2)) < 0.8


def test_losses_are_counted() -> None:
    t, _, _ = record(Clockwork(0, (), 10.0), BAD, np.random.default_rng(3))
    assert restore(t).lost.sum() == pytest.approx(50000 - len(t), abs=6)


def test_a_gap_in_the_middle_of_stamps_that_jitter() -> None:
    rng = np.random.default_rng(3)
    t, _, _ = record(Clockwork(0, (), 4.0), vary(BAD, jitter_s=0.001), rng)
    t = t[(t < 2.0) | (t > 2.5)]
    gaps = np.diff(restore(t).time_s)
    assert gaps.max() == pytest.approx(0.5, abs=0.003) and np.sort(gaps)[-2] < 0.003


def test_one_stamp_for_all_is_no_clock() -> None:
    with pytest.raises(UserError, match=r"all 5 samples carry the time stamp 1\.0"):
        restore(np.ones(5))
