"""The log of what the device did when: phases, and the marks that clocks are aligned by."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench_melt.energy.samples import Floats
from bench_melt.energy.table import open_table
from tinyengine.errors import UserError

COLUMNS = ("time_s", "phase", "edge")
SYNC = "sync"
ROUNDING_S = 1e-6  # ends and starts that touch may have been written apart by so much


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the log. `line` is where it stands in the file; 0: it never was in one."""

    time_s: float
    phase: str
    edge: Literal["start", "end"]
    line: int = 0


@dataclass(frozen=True, slots=True)
class Phase:
    """One occurrence of a phase, in the clock of the events."""

    name: str
    start_s: float
    end_s: float
    line: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """A load step that the tool made to align by; end_s is None where only its start is known."""

    start_s: float
    end_s: float | None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Events:
    """Phases and marks, each in order of time; no two overlap."""

    phases: tuple[Phase, ...]
    marks: tuple[Mark, ...]

    def edges_s(self) -> Floats:
        """Return the times (n,) of all edges, sorted, each once; rounding makes no two of one."""
        times = [time for p in self.phases for time in (p.start_s, p.end_s)]
        for mark in self.marks:
            times += [mark.start_s] if mark.end_s is None else [mark.start_s, mark.end_s]
        edges_s = np.unique(np.array(times, np.float64))
        return edges_s[np.diff(edges_s, prepend=-np.inf) > ROUNDING_S]


def read_events(path: Path) -> Events:
    """Read a log: CSV with the columns `time_s,phase,edge`, rows in any order.

    Raises:
        UserError: cannot be read, or breaks what `pair` demands; with the numbers of the lines.
    """
    found = []
    with open_table(path, "events", COLUMNS) as (rows, _):
        for line, fields in rows:
            where = f"events '{path}' line {line}"
            time_s, phase, edge = (fields[name].strip() for name in COLUMNS)
            edge = edge.lower()
            if edge not in ("start", "end"):
                raise UserError(f"{where}: edge is '{edge}'; it must be 'start' or 'end'")
            if not phase:
                raise UserError(f"{where}: the phase has no name")
            kind: Literal["start", "end"] = "start" if edge == "start" else "end"
            found.append(Event(_number(time_s, where), phase, kind, line))
    if not found:
        raise UserError(f"events '{path}' has no rows")
    return pair(found, f"events '{path}'")


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise UserError(f"{where}: time_s is {text!r}, not a number") from error
    if not math.isfinite(value):
        raise UserError(f"{where}: time_s is {text}")
    return value


def pair(events: list[Event], where: str = "events") -> Events:
    """Pair starts with ends.

    A phase may occur many times. Phases may touch, but neither overlap nor nest: joules belong to
    one phase. Marks are phases named `sync`; where none of them has an end, each is a single step.

    Raises:
        UserError: a phase that ends before it starts, starts twice, never ends, lasts no time, or
            overlaps another.
    """
    only_starts = all(e.edge == "start" for e in events if e.phase == SYNC)
    spans: list[tuple[Event, Event]] = []
    running: dict[str, Event] = {}
    for event in _in_order(events):
        name = event.phase
        if name == SYNC and only_starts:
            continue
        if event.edge == "start":
            if name in running:
                raise UserError(
                    f"{where}: phase '{name}' starts{_at(event)} while it runs since"
                    f"{_at(running[name])}"
                )
            running[name] = event
        elif name not in running:
            raise UserError(f"{where}: phase '{name}' ends{_at(event)} without having started")
        else:
            spans.append((running.pop(name), event))
    for event in running.values():
        raise UserError(f"{where}: phase '{event.phase}', started{_at(event)}, never ends")
    _check_apart(spans, where)
    phases = [Phase(a.phase, a.time_s, b.time_s, a.line) for a, b in spans if a.phase != SYNC]
    marks = [
        Mark(a.time_s, b.time_s if b.time_s > a.time_s else None, a.line)
        for a, b in spans
        if a.phase == SYNC
    ]
    if only_starts:
        marks = [Mark(e.time_s, None, e.line) for e in events if e.phase == SYNC]
    return Events(
        tuple(sorted(phases, key=lambda p: p.start_s)),
        tuple(sorted(marks, key=lambda m: m.start_s)),
    )


def _in_order(events: list[Event]) -> list[Event]:
    """Return them by time; of a phase that ends when it starts anew, the end comes first.

    What is less than a rounding of microseconds apart is at the same time.
    """
    ordered: list[Event] = []
    open_now: set[str] = set()
    same: list[Event] = []
    for event in [*sorted(events, key=lambda e: (e.time_s, e.line)), None]:
        if event is not None and (not same or event.time_s <= same[0].time_s + ROUNDING_S):
            same.append(event)
            continue
        same.sort(key=lambda e: (e.edge == "end") != (e.phase in open_now))
        for one in same:
            (open_now.add if one.edge == "start" else open_now.discard)(one.phase)
        ordered += same
        same = [event] if event is not None else []
    return ordered


def _check_apart(spans: list[tuple[Event, Event]], where: str) -> None:
    for start, end in spans:
        if start.time_s >= end.time_s and start.phase != SYNC:
            raise UserError(f"{where}: phase '{start.phase}' starts and ends{_at(end)}")
    spans = sorted(spans, key=lambda span: (span[0].time_s, span[1].time_s))
    for (first, first_end), (second, _) in itertools.pairwise(spans):
        if second.time_s < first_end.time_s - ROUNDING_S:
            raise UserError(
                f"{where}: phase '{second.phase}' starts{_at(second)} before '{first.phase}', "
                f"started{_at(first)}, ends{_at(first_end)}; phases may neither overlap nor nest"
            )


def _at(event: Event) -> str:
    return f" at {event.time_s:.9g} s" + (f" (line {event.line})" if event.line else "")
