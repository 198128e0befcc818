"""Suites, sweeps and the store: order, failures, resuming, what is refused."""

import sqlite3
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from bench_melt.record import COLUMNS
from bench_melt.runner import cool_down, sweep
from bench_melt.store import open_store
from bench_melt.suite import Cooldown
from bench_melt.targets.machine import TimeLimitError
from bench_melt.workloads.workload import Bench
from tests.sweep_rig import SUITE, Quiet, Scripted, StillMachine, rig_for, suite_at
from tinyengine.errors import DeviceError, UserError

pytestmark = pytest.mark.pure


def db(folder: Path) -> str:
    return str(folder / "results.sqlite")


def test_every_cell_once_in_a_seeded_order(tmp_path: Path) -> None:
    suite = suite_at(tmp_path)
    names = [(c.target.name, c.workload.name, c.repetition) for c in suite.cells]
    assert sorted(names) == [(t, w, r) for t in "ab" for w in ("chat", "long") for r in range(3)]
    assert names != sorted(names)
    assert [c.key for c in suite_at(tmp_path).cells] == [c.key for c in suite.cells]
    other = suite_at(tmp_path, SUITE.replace("seed = 7", "seed = 8"))
    assert [(c.target.name, c.workload.name, c.repetition) for c in other.cells] != names


def test_a_comment_does_not_make_another_suite(tmp_path: Path) -> None:
    first = suite_at(tmp_path).sha256
    assert suite_at(tmp_path, "# a note\n" + SUITE).sha256 == first
    assert suite_at(tmp_path, SUITE.replace("n_prompt = 64", "n_prompt = 65")).sha256 != first


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("repetitions = 3", "repititions = 3", r"unknown key 'repititions' in \[suite\].*'repet"),
        ("n_prompt = 64", "n_promt = 64", r"unknown key 'n_promt' in \[workloads.*'n_prompt'"),
        ('name = "b"', 'name = "a"', "target name 'a' is used twice"),
        ('kind = "llm"\nname = "long"', 'kind = "lm"\nname = "long"', "'lm'|llm"),
        ('path = "m.gguf"', 'path = "m.gguf"\npackage = "x"', "either a path or a package"),
        (
            "n_prompt = 64",
            'n_prompt = 64\nmodels = ["n"]',
            "names model 'n', which the suite has not",
        ),
        ("n_prompt = 64", 'n_prompt = 64\nprompts = "short"', "either prompts or n_prompt"),
    ],
)
def test_a_wrong_suite_says_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SUITE
    with pytest.raises(UserError, match=message):
        suite_at(tmp_path, SUITE.replace(old, new))


def test_failures_are_rows_and_the_sweep_goes_on(tmp_path: Path) -> None:
    suite = suite_at(tmp_path)
    seen: list[int] = []

    def act(bench: object) -> None:
        seen.append(1)
        if len(seen) == 2:
            raise DeviceError("out of memory: 5 GB wanted, 4 GB there")
        if len(seen) == 3:
            raise ConnectionResetError("cable pulled")

    with open_store(db(tmp_path), create=True) as store:
        summary = sweep(suite, rig_for(suite, Scripted(act)), store, Quiet(), resume=False)
        rows = store.rows(summary.run_id)
    assert (summary.measured, summary.failed, len(rows)) == (10, 2, 12)
    reasons = [row["reason"] for row in rows if row["status"] == "failed"]
    assert reasons == ["out of memory: 5 GB wanted, 4 GB there", "cable pulled"]
    assert all(set(row) == {*COLUMNS, "details"} for row in rows)
    assert all(row["git_revision"] == "r" and row["warmups"] == 1 for row in rows)


def test_an_interrupted_sweep_resumes_without_losing_or_repeating(tmp_path: Path) -> None:
    suite = suite_at(tmp_path)
    counted = Scripted()

    def pull_the_plug(bench: object) -> None:
        if counted.runs == 6:
            raise KeyboardInterrupt

    counted.act = pull_the_plug
    with open_store(db(tmp_path), create=True) as store:
        with pytest.raises(KeyboardInterrupt):
            sweep(suite, rig_for(suite, counted), store, Quiet(), resume=False)
        assert len(store.rows()) == 5
        again = Scripted()
        summary = sweep(suite, rig_for(suite, again), store, Quiet(), resume=True)
        assert (summary.skipped, again.runs) == (5, 7)
        keys = [row["cell_key"] for row in store.rows(summary.run_id)]
        assert sorted(keys) == sorted(cell.key for cell in suite.cells)
        # killed after the last row: nothing is missing, so nothing is measured twice
        (before,) = store.runs()
        whole = sweep(suite, rig_for(suite, Scripted()), store, Quiet(), resume=True)
        assert (whole.run_id, whole.skipped, whole.measured) == (summary.run_id, 12, 0)
        assert store.runs() == (before,) and len(store.rows()) == 12
        # measuring again is a run of its own
        sweep(suite, rig_for(suite, Scripted()), store, Quiet(), resume=False)
        assert len(store.runs()) == 2 and len(store.rows()) == 24


def test_a_workload_that_ignores_its_deadline_is_cut_off(tmp_path: Path) -> None:
    text = SUITE.replace("repetitions = 3", "repetitions = 1").replace("= 2.0", "= 0.2")
    suite = suite_at(tmp_path, text)
    machines: list[StillMachine] = []

    def open_machine(description: object) -> StillMachine:
        machines.append(StillMachine())
        return machines[-1]

    def hang(bench: object) -> None:
        while not machines[-1].stops:
            time.sleep(0.01)
        raise TimeLimitError("never seen")

    with open_store(db(tmp_path), create=True) as store:
        sweep(suite, rig_for(suite, Scripted(hang), open_machine), store, Quiet(), resume=False)
        reasons = {row["reason"] for row in store.rows()}
    assert reasons == {"time limit of 0.2 s passed"}


def test_what_is_done_once_does_not_count_towards_the_time_limit(tmp_path: Path) -> None:
    text = SUITE.replace("repetitions = 3", "repetitions = 1").replace("= 2.0", "= 0.2")
    suite = suite_at(tmp_path, text)

    def copy(bench: Bench) -> None:
        with bench.deadline.paused():
            time.sleep(1.5)  # longer than the limit and its second of grace
            assert bench.deadline.remaining_s("copying") <= 0.2
        bench.deadline.remaining_s("computing")

    with open_store(db(tmp_path), create=True) as store:
        summary = sweep(suite, rig_for(suite, Scripted(copy)), store, Quiet(), resume=False)
    assert (summary.measured, summary.failed) == (4, 0)


def test_an_unreachable_machine_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    suite = suite_at(tmp_path)
    tried: list[str] = []

    def open_machine(description: object) -> StillMachine:
        name = getattr(description, "name", "")
        tried.append(name)
        return StillMachine(probe_error=DeviceError("no route to host") if name == "a" else None)

    with open_store(db(tmp_path), create=True) as store:
        rig = rig_for(suite, Scripted(), open_machine)
        summary = sweep(suite, rig, store, Quiet(), resume=False)
        reasons = [row["reason"] for row in store.rows() if row["target"] == "a"]
    assert (summary.measured, summary.failed) == (6, 6)
    assert tried.count("a") == 3 and tried.count("b") == 1
    assert reasons[0] == "no route to host" and "not tried again" in reasons[-1]


def test_cooling_down_waits_for_the_temperature() -> None:
    machine = StillMachine(temperatures_c=[50.0, 45.0, 39.0, 20.0])
    rule = Cooldown(below_c=40.0, poll_s=0.01)
    state, _ = cool_down(machine, rule)
    assert state.hottest_c() == 39.0


@pytest.mark.parametrize(
    ("temperatures_c", "message"),
    [([55.0], r"still at 55.0 C after 0 s, must be below 40 C"), ([], "tells no temperature")],
)
def test_cooling_down_gives_up_clearly(temperatures_c: list[float], message: str) -> None:
    rule = Cooldown(below_c=40.0, poll_s=0.01, give_up_s=0.05)
    with pytest.raises(DeviceError, match=message):
        cool_down(StillMachine(temperatures_c=temperatures_c), rule)


def test_the_same_row_twice_is_refused(tmp_path: Path) -> None:
    suite = suite_at(tmp_path)
    watcher = Quiet()
    with open_store(db(tmp_path), create=True) as store:
        sweep(suite, rig_for(suite, Scripted()), store, watcher, resume=False)
        with pytest.raises(UserError, match="Nothing was overwritten"):
            store.add_row(watcher.rows[0])
        assert len(store.rows()) == 12


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    with open_store(db(tmp_path), create=True):
        pass
    with sqlite3.connect(db(tmp_path)) as connection:
        connection.execute("UPDATE bench_meta SET version = 99")
    connection.close()
    with (
        pytest.raises(UserError, match=r"schema version 99, this tool writes and reads 1"),
        open_store(db(tmp_path), create=True),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.sqlite", None, "there is no database"),
        ("text.sqlite", b"hello, this is text and no database at all\n" * 40, "not a database"),
        ("empty.sqlite", b"", "holds no results"),
    ],
)
def test_what_is_no_database_of_ours(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with (
        pytest.raises(UserError, match=message),
        open_store(str(tmp_path / name), create=False),
    ):
        pass


@pytest.mark.parametrize(
    "url", ["nosuch://x/y", "sqlite:/one/slash", "postgresql+nodriver://a:b@c/d"]
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(UserError) as failure, open_store(url, create=True):
        pass
    assert ":b@" not in str(failure.value)


def test_a_full_disk_is_told_and_what_was_written_stays(tmp_path: Path) -> None:
    suite = suite_at(tmp_path)
    with open_store(db(tmp_path), create=True) as store:
        watcher = Quiet()
        sweep(suite, rig_for(suite, Scripted()), store, watcher, resume=False)

    with open_store(db(tmp_path), create=True) as store:
        engine = store._engine
        sa.event.listen(
            engine, "connect", lambda c, _: c.execute("PRAGMA max_page_count = 1"), insert=False
        )
        engine.dispose()
        many = rig_for(suite, Scripted())
        with pytest.raises(UserError, match=r"database or disk is full.*--resume"):
            for _ in range(50):
                sweep(suite, many, store, Quiet(), resume=False)
        assert len(store.rows()) >= 12
