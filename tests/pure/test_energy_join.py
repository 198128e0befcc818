"""Energy per phase from recordings whose truth is known, under everything meters do to them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench_melt.commands.energy import command
from bench_melt.energy.events import Event, pair
from bench_melt.energy.join import join
from bench_melt.energy.samples import Samples
from tests.recordings import BAD, Meter, Scene, joined, record, scene, vary, write
from tinyengine.errors import UserError

SEEDS = range(15)
STAMPS = {
    "first of group": BAD,
    "last of group": vary(BAD, stamp_last=True),
    "grouped after the loss": vary(BAD, group_after_loss=True),
    "grouped after the loss, last": vary(BAD, group_after_loss=True, stamp_last=True),
    "lost in bursts": vary(BAD, burst=8),
    "lost in bursts, grouped after": vary(BAD, burst=8, group_after_loss=True),
    "meter averages": vary(BAD, averages=True),
    "clock behind and slow": vary(BAD, offset_s=-0.7, drift=-50e-6),
    "microsecond stamps": vary(BAD, digits=6),
    "millisecond stamps": vary(BAD, digits=3),
    "stamps late at random": vary(BAD, jitter_s=0.0005),
    "clocks of another epoch": vary(BAD, offset_s=1.7e9),
    "tenth lost": vary(BAD, loss=0.1),
}


@pytest.mark.parametrize("name", STAMPS)
def test_bad_samples(name: str) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        meter = vary(STAMPS[name], phase=rng.random(), noise=0.01 * (seed % 2))
        error, report = joined(scene(rng, 100), meter, rng)
        assert abs(error.mean()) <= 0.005 and np.abs(error).mean() <= 0.005, (name, seed)
        assert np.abs(error).max() <= 0.03, (name, seed)
        assert report.clock is not None and report.clock.drift is not None
        # the stamp of the last instead of the first sample is an offset of five steps
        shift_s = 0.001 if meter.stamp_last else 0.0
        slack_s = 0.0008 if name.startswith("m") or "late" in name else 0.0002
        assert abs(report.clock.offset_s - meter.offset_s - shift_s) <= slack_s, (name, seed)


@pytest.mark.parametrize("meter", [Meter(), Meter(offset_s=0.7, drift=50e-6), Meter(averages=True)])
def test_clean_samples(meter: Meter) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        error, _ = joined(scene(rng, 100), vary(meter, phase=rng.random()), rng)
        assert np.abs(error).max() <= 0.001, seed


def test_phases_on_the_grid_of_the_samples() -> None:
    """Edges that fall on samples: which side a sample is on hangs on the last bit of its stamp."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        spans = [("sync", 0.5, 0.6, 4.0), ("sync", 2.2, 2.3, 4.0)]
        for k in range(100):
            start = 0.8 + 0.01 * k
            spans.append(("p", round(start, 6), round(start + 0.005, 6), rng.uniform(1, 5)))
        grid = Scene(0.5, tuple(sorted(spans, key=lambda s: s[1])), 2.8)
        for meter in (Meter(), BAD, vary(BAD, group_after_loss=True)):
            error, _ = joined(grid, meter, rng)
            assert np.abs(error).max() <= 1e-6, seed


def test_drift_over_a_minute() -> None:
    rng = np.random.default_rng(5)
    error, report = joined(scene(rng, 1500, gap_s=0.07), BAD, rng)
    assert report.clock is not None and report.clock.drift is not None
    assert report.clock.drift == pytest.approx(50e-6, abs=1e-6)
    assert np.abs(error).max() <= 1e-6


def test_a_log_that_lags_does_not_bend_the_clock() -> None:
    """Phases written 1 ms late, each a little else: only the marks count."""
    rng = np.random.default_rng(2)
    made = scene(rng, 100)
    spans = [
        (n, a, b, w) if n == "sync" else (n, a - 1e-3 * rng.uniform(0.8, 1.5), b - 1e-3, w)
        for n, a, b, w in made.spans
    ]
    samples = Samples.of(*record(Scene(made.idle_w, tuple(spans), made.length_s), BAD, rng))
    report = join(samples, pair([Event(*row) for row in made.events()]))
    assert report.edges_refined == 0 and report.clock is not None
    assert report.clock.offset_s == pytest.approx(0.7, abs=2e-4)


@pytest.mark.parametrize("length_s", [0.005, 0.02, 1.0])
@pytest.mark.parametrize("sync_w", [0.9, 3.0, 0.1])
def test_marks_of_any_length_and_height(length_s: float, sync_w: float) -> None:
    """Marks no longer and no higher than phases, or a dip instead of a load."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        spans = [("sync", 0.3, 0.3 + length_s, sync_w)]
        at = 0.6 + length_s
        for _ in range(100):
            spans.append(("p", at, at + 0.005, 3.0))
            at += 0.01
        spans.append(("sync", at + 0.3, at + 0.3 + length_s, sync_w))
        made = Scene(0.5, tuple(spans), at + 0.6 + length_s)
        error, report = joined(made, vary(BAD, noise=0.005, phase=rng.random()), rng)
        assert np.abs(error).max() <= 0.03 and report.marks_found == 2


@pytest.mark.parametrize("gap_s", [0.0, 0.005])
def test_marks_that_touch_phases(gap_s: float) -> None:
    """No quiet between a mark and a phase, which may have the mark's own power."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        spans, at = [("sync", 0.5, 0.6, 3.0)], 0.6
        for _ in range(100):
            spans.append(("p", at, at + 0.005, rng.uniform(1, 5)))
            at += 0.005 + gap_s
        spans.append(("sync", at - gap_s, at - gap_s + 0.1, 3.0))
        made = Scene(0.5, tuple(spans), at + 0.6)
        error, _ = joined(made, vary(BAD, noise=0.005, phase=rng.random()), rng)
        assert np.abs(error).max() <= 0.03, seed


def test_marks_without_an_end() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        made = scene(rng, 100)
        rows = [Event(*row) for row in made.events() if row[1:] != ("sync", "end")]
        samples = Samples.of(*record(made, vary(BAD, phase=rng.random()), rng))
        report = join(samples, pair(rows))
        error = np.array([p.energy_j for p in report.phases]) / np.array(made.truth()) - 1
        assert np.abs(error).max() <= 0.03, seed


def long_phase(marks: int) -> Scene:
    spans = [("decode", 1.0, 2.0, 3.0)]
    if marks:
        spans.insert(0, ("sync", 0.4, 0.5, 4.0))
    if marks > 1:
        spans.append(("sync", 2.5, 2.6, 4.0))
    return Scene(0.5, tuple(spans), 3.0)


def test_idle_is_subtracted() -> None:
    rng = np.random.default_rng(0)
    made = long_phase(2)
    events = pair([Event(*row) for row in made.events()])
    report = join(Samples.of(*record(made, BAD, rng)), events, (2.1, 2.4))
    assert report.idle_power_w == pytest.approx(0.5, rel=1e-6)
    (phase,) = report.phases
    assert phase.energy_j == pytest.approx(3.0, rel=1e-6)
    assert phase.energy_above_idle_j == pytest.approx(2.5, rel=1e-6)
    assert phase.mean_power_w == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("idle", [(2.4, 2.1), (50.0, 51.0), (2.1, 2.1002)])
def test_a_bad_idle_window(idle: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    made = long_phase(2)
    events = pair([Event(*row) for row in made.events()])
    with pytest.raises(UserError, match="idle window"):
        join(Samples.of(*record(made, Meter(), rng)), events, idle)


def test_one_mark_gives_the_offset_alone() -> None:
    _, report = joined(long_phase(1), vary(BAD, drift=0.0), np.random.default_rng(0))
    clock = report.to_json()["clock"]
    assert clock["drift_ppm"] is None and clock["offset_s"] == pytest.approx(0.7, abs=2e-4)
    assert any("drift is not measured" in note for note in report.phases[0].warnings)


def test_no_mark_means_one_clock_and_says_so() -> None:
    error, report = joined(long_phase(0), Meter(), np.random.default_rng(0))
    assert report.to_json()["clock"] == {"offset_s": None, "drift_ppm": None}
    assert any("no sync mark" in note for note in report.phases[0].warnings)
    assert np.abs(error).max() <= 1e-6


def test_marks_that_are_not_there() -> None:
    rng = np.random.default_rng(0)
    flat = Scene(0.5, (), 3.0)
    samples = Samples.of(*record(flat, vary(BAD, noise=0.02), rng))
    with pytest.raises(UserError, match=r"no load step like the sync mark at 0\.4 s"):
        join(samples, pair([Event(*row) for row in long_phase(2).events()]))


def test_a_mark_that_is_missing_is_named() -> None:
    rng = np.random.default_rng(1)
    made = long_phase(2)
    samples = Samples.of(*record(made, Meter(), rng))
    rows = [*made.events(), (9.0, "sync", "start"), (9.1, "sync", "end")]
    report = join(samples, pair([Event(*row) for row in rows]))
    assert report.marks_found == 2
    assert any("mark at 9 s is not in the recording" in note for note in report.notes)
    assert report.phases[0].energy_j == pytest.approx(3.0, rel=1e-6)


def test_a_phase_outside_the_recording_is_not_measured() -> None:
    rng = np.random.default_rng(1)
    made = long_phase(2)
    rows = [*made.events(), (30.0, "late", "start"), (31.0, "late", "end")]
    report = join(Samples.of(*record(made, BAD, rng)), pair([Event(*row) for row in rows]))
    late = report.to_json()["phases"][-1]
    assert late["energy_j"] is None and late["mean_power_w"] is None and late["samples"] == 0
    assert late["energy_above_idle_j"] is None and "not measured" in late["warnings"][0]


def test_what_the_meter_did_stands_with_the_phase() -> None:
    rng = np.random.default_rng(1)
    spans = (("a", 0.5, 1.0, 2.0), ("b", 1.5, 2.0, 2.0), ("c", 2.5, 3.0, 2.0))
    t, v, i = record(Scene(0.5, spans, 4.0), vary(Meter(), noise=0.01), rng)
    kept = ~((t > 0.6) & (t < 0.7))
    stuck = (t > 1.6) & (t < 1.65)
    v[stuck], i[stuck] = v[stuck][0], i[stuck][0]
    made = pair([Event(*row) for row in Scene(0.5, spans, 4.0).events()])
    a, b, c = join(Samples.of(t[kept], v[kept], i[kept]), made).phases
    assert any("jumps by 0.1" in note for note in a.warnings)
    assert any("of 2500 samples lost" in note for note in a.warnings)
    assert any("repeats one value" in note for note in b.warnings)
    assert [note for note in c.warnings if "sync" not in note] == []
    assert a.energy_j == pytest.approx(1.0, rel=0.002)


def test_a_phase_shorter_than_a_step_of_the_meter() -> None:
    rng = np.random.default_rng(1)
    made = Scene(0.5, (("tiny", 1.00005, 1.00015, 2.0), ("small", 2.0, 2.0007, 2.0)), 3.0)
    _, report = joined(made, Meter(), rng)
    tiny, small = report.phases
    assert tiny.energy_j is None and small.energy_j == pytest.approx(0.0014, rel=1e-6)
    assert any("too few" in note for note in small.warnings)


def test_the_command_prints_the_contract(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, events = write(tmp_path, long_phase(2), BAD, np.random.default_rng(0))
    command(samples, events, idle="2.1,2.4", as_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"phases", "clock"} and set(answer["clock"]) == {"offset_s", "drift_ppm"}
    (phase,) = answer["phases"]
    assert list(phase) == [
        *("phase", "start_s", "end_s", "energy_j", "energy_above_idle_j", "mean_power_w"),
        *("samples", "warnings"),
    ]
    assert (phase["phase"], phase["start_s"], phase["end_s"]) == ("decode", 1.0, 2.0)
    assert phase["energy_j"] == pytest.approx(3.0, rel=1e-6)


def test_the_table_shows_clock_and_residual(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, events = write(tmp_path, long_phase(2), BAD, np.random.default_rng(0))
    command(samples, events)
    shown = capsys.readouterr().out
    for part in ("decode", "clock offset", "ppm", "us rms over 4 edges", "samples lost", "! time"):
        assert part in shown


@pytest.mark.parametrize("idle", ["1", "a,b", "1,2,3", "nan,2", "1,inf"])
def test_an_idle_option_that_is_not_two_numbers(idle: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--idle is"):
        command(tmp_path / "s.csv", tmp_path / "e.csv", idle=idle)


def test_a_recording_from_which_both_marks_are_missing_is_told() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        made = scene(rng, 40)
        unmarked = replace(made, spans=tuple(s for s in made.spans if s[0] != "sync"))
        samples = Samples.of(*record(unmarked, vary(BAD, noise=0.01), rng))
        try:
            report = join(samples, pair([Event(*row) for row in made.events()]))
        except UserError as error:
            assert "no load step like" in str(error)
        else:  # a phase looks like a mark: what lies around it does not
            assert any("not clear" in note for note in report.notes)
