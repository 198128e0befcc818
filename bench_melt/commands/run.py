"""`bench-melt run SUITE.toml`: measure every cell of a suite, whatever fails on the way."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench_melt.record import Row
from bench_melt.rig import make_rig
from bench_melt.runner import sweep
from bench_melt.store import DEFAULT_URL, open_store
from bench_melt.suite import Cell, load_suite
from codegen.cli import print_json
from tinyengine.errors import DeviceError


def command(
    suite: Annotated[Path, typer.Argument(metavar="SUITE.toml", help="what to measure")],
    db: Annotated[str, typer.Option(help="database URL, or a SQLite file")] = DEFAULT_URL,
    resume: Annotated[
        bool, typer.Option(help="go on with the newest unfinished run of this suite")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Measure targets x models x workloads x repetitions; one row each, failures included."""
    loaded = load_suite(suite)
    rig = make_rig(loaded)
    with open_store(db, create=True) as store:
        summary = sweep(loaded, rig, store, _Shown(), resume=resume)
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
    if summary.failed:
        raise DeviceError(
            f"{summary.failed} of {len(loaded.cells)} repetitions failed; their rows say why: "
            f"bench-melt report --run {summary.run_id}"
        )


class _Shown:
    """Says on stderr what runs and how it ended; where that cannot be written, rows go on."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)

    def begin(self, cell: Cell, done: int, total: int) -> None:
        """Say which repetition starts."""
        self._say(
            f"[{done + 1}/{total}] {cell.target.name} {cell.model.name} {cell.workload.name} "
            f"#{cell.repetition}",
            end=" ... ",
        )

    def end(self, row: Row) -> None:
        """Say how it ended."""
        outcome = row.outcome
        _, lost, why = (row.results.energy.meter_warnings or "").partition("no energy: ")
        fine = f"ok, {outcome.duration_s:.1f} s{', ' if lost else ''}{lost}{why}"
        self._say(outcome.reason or fine)

    def _say(self, text: str, end: str = "\n") -> None:
        with contextlib.suppress(OSError):  # a log on a full disk
            self._console.print(text, end=end, soft_wrap=True)
