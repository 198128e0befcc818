"""`bench-melt run SUITE.toml`: measure every cell of a suite, whatever fails on the way."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from bench_melt.progress import SweepLines
from bench_melt.rig import make_rig
from bench_melt.runner import sweep
from bench_melt.store import DEFAULT_URL, masked, open_store
from bench_melt.suite import load_suite
from codegen.cli import print_json
from tinyengine.errors import DeviceError


def command(
    suite: Annotated[Path, typer.Argument(metavar="SUITE.toml", help="what to measure")],
    db: Annotated[str, typer.Option(help="database URL, or a SQLite file")] = DEFAULT_URL,
    resume: Annotated[
        bool, typer.Option(help="measure only what this suite's newest run lacks")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Measure targets x models x workloads x repetitions; one row each, failures included."""
    loaded = load_suite(suite)
    rig = make_rig(loaded)
    with open_store(db, create=True) as store:
        summary = sweep(loaded, rig, store, SweepLines(), resume=resume)
    figures = {
        "run_id": summary.run_id,
        "cells": len(loaded.cells),
        "measured": summary.measured,
        "failed": summary.failed,
        "skipped": summary.skipped,
    }
    if as_json:
        print_json(figures)
    else:
        for name, value in figures.items():
            print(f"{name:12}{value}")
    if summary.skipped == len(loaded.cells):
        print(
            f"run {summary.run_id} of this suite has all its {summary.skipped} rows: nothing was "
            "measured; without '--resume' a new run begins",
            file=sys.stderr,
        )
    if summary.failed:
        at = "" if db == DEFAULT_URL else f" --db {shlex.quote(masked(db))}"
        raise DeviceError(
            f"{summary.failed} of {len(loaded.cells)} repetitions failed; their rows say why: "
            f"bench-melt report{at} --run {summary.run_id}"
        )
