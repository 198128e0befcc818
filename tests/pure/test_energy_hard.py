"""Recordings that once were joined wrongly, and the limits of what noise allows."""

from collections.abc import Iterator

import numpy as np
import pytest

from bench_melt.energy.events import Event, pair
from bench_melt.energy.join import join
from bench_melt.energy.samples import Samples
from tests.recordings import BAD, Meter, Scene, joined, record, scene, vary

pytestmark = pytest.mark.pure


def phases(
    rng: np.random.Generator, at: float, count: int, gap_s: float, watts: tuple[float, float]
) -> Iterator[tuple[str, float, float, float]]:
    """Phases of 5 ms and random power."""
    for _ in range(count):
        yield "p", at, at + 0.005, rng.uniform(*watts)
        at += 0.005 + gap_s


@pytest.mark.parametrize("tail_s", [0.002, 0.01])
def test_a_recording_that_begins_and_ends_with_its_marks(tail_s: float) -> None:
    """The steady power before the first mark and after the last is ten samples long."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        length_s = (0.2, 1.0)[seed % 2]
        inner = list(phases(rng, tail_s + length_s + 0.2, 50, 0.0, (0.5, 8.0)))
        late = inner[-1][2] + 0.2
        marks = [("sync", a, a + length_s, 1.5) for a in (tail_s, late)]
        made = Scene(1.0, (marks[0], *inner, marks[1]), late + length_s + tail_s)
        error, report = joined(made, vary(BAD, noise=0.001, phase=rng.random()), rng)
        assert np.abs(error).max() <= 0.03 and report.marks_found == 2, seed


@pytest.mark.parametrize("lost", ["start", "end"])
def test_samples_lost_right_at_the_edge_of_a_mark(lost: str) -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        inner = list(phases(rng, 0.5, 20, 0.0, (0.5, 8.0)))
        marks = [("sync", a, a + 0.1, 4.0) for a in (0.3, 0.65)]
        made = Scene(0.5, (marks[0], *inner, marks[1]), 1.0)
        t, v, i = record(made, Meter(offset_s=0.7, phase=rng.random()), rng)
        edge_s = 0.7 + (0.3 if lost == "start" else 0.75)
        kept = (t < edge_s - 0.0001) | (t > edge_s + 0.0019)
        events = pair([Event(*row) for row in made.events()])
        report = join(Samples.of(t[kept], v[kept], i[kept]), events)
        found = np.array([p.energy_j for p in report.phases])
        assert np.abs(found / made.truth() - 1).max() <= 0.03, seed


def test_marks_lower_than_the_phases_between_them_and_nothing_quiet() -> None:
    for seed in range(4):
        rng = np.random.default_rng(seed)
        inner = list(phases(rng, 0.3, 100, 0.001, (2.0, 2.5)))
        marks = [("sync", a, a + 0.2, 1.5) for a in (0.1, inner[-1][2])]
        made = Scene(1.0, (marks[0], *inner, marks[1]), inner[-1][2] + 0.3)
        error, _ = joined(made, vary(BAD, noise=0.005, phase=rng.random()), rng)
        assert np.abs(error).max() <= 0.03, seed


def test_noise_leaves_no_more_than_averaging_must() -> None:
    """Noise of 5 % of the mean power: of each phase's 25 samples 23 count, and no bias is left."""
    spread, bias = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        made = scene(rng, 200)
        error, _ = joined(made, vary(BAD, noise=0.05, phase=rng.random()), rng)
        _, v, i = record(made, Meter(), rng)
        watts = np.array([w for name, *_, w in made.spans if name != "sync"])
        least = 0.05 * (v * i).mean() / watts / np.sqrt(25)
        spread.append(np.std(error / least))
        bias.append(np.mean(error))
    assert np.mean(spread) < 1.15 and np.abs(np.mean(bias)) < 0.001


def test_the_clock_from_edges_that_lie_on_samples() -> None:
    """Which side a sample is on hangs on the last bit; the line between all of them is exact."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        spans, at = [("sync", 0.3, 0.5, 4.0)], 1.0
        for _ in range(100):
            spans.append(("p", at, at + 0.005, rng.uniform(1, 5)))
            at += 0.01  # sums up what each addition rounds
        spans.append(("sync", at + 0.5, at + 0.7, 4.0))
        _, report = joined(Scene(0.5, tuple(spans), at + 1.0), BAD, rng)
        assert report.clock is not None and report.clock.drift is not None
        assert report.clock.drift == pytest.approx(50e-6, abs=2e-6)
        assert report.clock.offset_s == pytest.approx(0.7, abs=1.1e-4)
