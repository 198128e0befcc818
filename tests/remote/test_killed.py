"""The harness is killed at 20 moments and goes on: nothing lost, nothing twice, nothing left."""

import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.board_suites import double, write_suite
from tests.harness_forks import Harness, harness
from tests.sshd import gone, sshd

KILLS = 20
TAG = f"killed-{os.getpid()}"


def rows_of(db: Path) -> list[tuple[str, ...]]:
    """Return what a row is about, and how it ended."""
    query = "SELECT target, model, workload, repetition, seed, status, reason FROM bench_rows"
    with closing(sqlite3.connect(db)) as connection:
        return sorted(tuple(map(str, row)) for row in connection.execute(query))


def kill_once(run: Harness, argv: list[str], log: Path, chance: random.Random) -> None:
    """Kill it some time after it began its first or second repetition, or before."""
    begun, wait_s = chance.choice([0, 0, 1, 1, 1, 2]), chance.uniform(0.0, 0.12)
    log.unlink(missing_ok=True)
    child = run.start(argv, log)
    while not (log.exists() and log.read_text().count("] ") >= begun):
        time.sleep(0.005)
    time.sleep(wait_s)
    os.kill(child, signal.SIGKILL)
    assert run.code() == -signal.SIGKILL, log.read_text()
    assert gone(TAG), "a server outlived the harness"


@pytest.mark.slow
def test_killed_at_twenty_moments_and_resumed(tmp_path: Path) -> None:
    (tmp_path / "fails").write_text("#!/bin/sh\necho no memory >&2; exit 1\n")
    (tmp_path / "fails").chmod(0o755)
    broken = 'runner = { kind = "server", program = "fails" }\nn_prompt = 4'
    works = double(tmp_path, TAG, "--first-s", "0", "--gaps-s", "0.001")
    with sshd(tmp_path / "s") as board, harness() as run:
        workloads = {"works": f"n_prompt = 4\nn_gen = 4\n{works}", "broken": broken}
        suite = write_suite(tmp_path, board, workloads, repetitions=6)
        argv = ["run", str(suite), "--db", str(tmp_path / "killed.sqlite"), "--resume"]
        chance = random.Random(7)
        for _ in range(KILLS):
            kill_once(run, argv, tmp_path / "log", chance)
        before = len(rows_of(tmp_path / "killed.sqlite"))
        assert 0 < before < 24
        run.start(argv, tmp_path / "log")
        assert run.code() == 3  # half of them fail on purpose
        run.start([*argv[:3], str(tmp_path / "whole.sqlite")], tmp_path / "log")
        assert run.code() == 3
        killed, whole = rows_of(tmp_path / "killed.sqlite"), rows_of(tmp_path / "whole.sqlite")
        assert killed == whole and len(killed) == 24
        assert {row[5] for row in killed} == {"ok", "failed"}
        with closing(sqlite3.connect(tmp_path / "killed.sqlite")) as connection:
            assert list(connection.execute("SELECT count(*) FROM bench_runs")) == [(1,)]
        assert gone(TAG)
