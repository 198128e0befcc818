"""Keeps a repetition's raw samples and its log, so that the join can be done again from them."""

import csv
import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from bench_melt.energy.events import COLUMNS as EVENT_COLUMNS
from bench_melt.energy.events import Event
from bench_melt.energy.samples import COLUMNS, COLUMNS_POWER, Samples

_LEVEL = 1  # the digits of measurements hardly compress better at more
_CHUNK = 10_000


def keep(samples: Samples, events: list[Event], goal: Path) -> None:
    """Write `goal` (.csv.gz) and the log beside it (.events.csv): what `bench-melt energy` reads.

    Both appear whole or not at all.

    Raises:
        OSError: no space, no permission.
    """
    goal.parent.mkdir(parents=True, exist_ok=True)
    _atomically(events_path(goal), lambda file: _write_events(events, file))
    _atomically(goal, lambda file: _write_samples(samples, file))


def events_path(goal: Path) -> Path:
    """Return where the log of a samples file is."""
    return goal.with_name(goal.name.removesuffix(".csv.gz") + ".events.csv")


def _write_samples(samples: Samples, file: IO[bytes]) -> None:
    names: tuple[str, ...] = COLUMNS_POWER
    columns = [samples.time_s, samples.power_w]
    if samples.voltage_v is not None and samples.current_a is not None:
        names, columns = COLUMNS, [samples.time_s, samples.voltage_v, samples.current_a]
    line = ",".join(["%.9f", *["%.9g"] * (len(columns) - 1)]) + "\n"
    rows = np.column_stack(columns)
    with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed:
        packed.write(f"{','.join(names)}\n".encode())
        for begin in range(0, len(rows), _CHUNK):
            part = rows[begin : begin + _CHUNK]
            # one operator for many lines: several times as fast as a call per line
            packed.write((line * len(part) % tuple(part.ravel().tolist())).encode())


def _write_events(events: list[Event], file: IO[bytes]) -> None:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(EVENT_COLUMNS)
    writer.writerows((f"{e.time_s:.9f}", e.phase, e.edge) for e in events)
    file.write(lines.getvalue().encode())


def _atomically(goal: Path, write: Callable[[IO[bytes]], None]) -> None:
    fresh = goal.with_name(f".{goal.name}.{os.getpid()}.tmp")
    try:
        with fresh.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(goal)
    finally:
        fresh.unlink(missing_ok=True)
