"""Finds the load steps of the `sync` marks in a recording and fits the clocks through them.

A mark is looked for by its shape: steady power before, during and after it, with a step between.
Of the places that look so, those are taken that lie on one line (offset and drift) and under which
the events of the log together explain the power best. Their edges, placed between samples, give
the fit.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from bench_melt.energy.clock import Clock, fit_clock
from bench_melt.energy.events import Events
from bench_melt.energy.places import Places, Shape, places_of, shape_of
from bench_melt.energy.power import Edge, Power
from bench_melt.energy.samples import Floats
from tinyengine.errors import UserError

SEARCH_S = 30.0  # offsets looked at first; all of the recording where nothing fits there
DRIFT_MAX = 0.01  # an uncalibrated RC oscillator
_TRUSTED = 12  # taken as certain, per mark, to look for the others from there
_RATE_USUAL = 5e-4
_LINES = 120  # tried against the whole log
_GOOD = 0.5
_EDGE_WINDOW_S = 0.05
_BLOCK_EDGES = 128  # of a long log, so many edges at so many places are compared
_BLOCKS = 8

_MISSING = 0.2  # what a line costs that has none of the marks' edges
_SPREAD = 0.1  # and one whose edges lie three steps off it
_EXACT_STEPS = 1.5  # by which a mark may be off that nothing was lost of
_WAYS = 16  # combinations of edges that are tried where those of a mark disagree

_Way = tuple[list[tuple[float, Edge]], str]
Choice = tuple[float | None, ...]  # a place for each mark; None: it is not there


@dataclass(frozen=True, slots=True)
class Alignment:
    """The clock, None without a mark, and what there is to say about it."""

    clock: Clock | None
    notes: tuple[str, ...]
    marks_found: int


def align(power: Power, events: Events) -> Alignment:
    """Fit the meter's clock to that of the events.

    Two marks or more give offset and drift, one the offset, none nothing.

    Raises:
        UserError: there are marks, and none of them is in the recording.
    """
    if not events.marks:
        return Alignment(None, ("no sync mark: the two clocks are taken as one",), 0)
    edges_s = events.edges_s()
    shapes = [shape_of(mark, edges_s) for mark in events.marks]
    blocks_s = _blocks(edges_s, shapes)
    found = _search(power, shapes, blocks_s, SEARCH_S)
    if found is None or found.score < _GOOD:
        wide = _search(power, shapes, blocks_s, np.inf)
        if wide is not None and (found is None or wide.score > found.score + 0.1):
            found = wide
    if found is None:
        mark = events.marks[0]
        where = f" (line {mark.line})" if mark.line else ""
        raise UserError(
            f"no load step like the sync mark at {mark.start_s:.9g} s{where} in the recording from "
            f"{power.time_s[0]:.9g} to {power.time_s[-1]:.9g} s of the meter's clock; was the "
            "meter on while the mark was made, and is the step larger than the noise?"
        )
    return _fit(found, shapes, float(edges_s[0]))


def _blocks(edges_s: Floats, shapes: list[Shape]) -> list[Floats]:
    """Return the log's edges with what lies around it; of a long log, blocks spread over it."""
    before_s, after_s = edges_s[0] - shapes[0].before_s, edges_s[-1] + shapes[-1].after_s
    bounds = np.concatenate([[before_s], edges_s, [after_s]])
    if len(bounds) <= _BLOCKS * _BLOCK_EDGES:
        return [bounds]
    starts = np.linspace(0, len(bounds) - _BLOCK_EDGES, _BLOCKS).astype(int)
    return [bounds[start : start + _BLOCK_EDGES] for start in starts]


@dataclass(frozen=True, slots=True)
class _Found:
    """Edges of the marks under one line: index of the mark, event's time, edge in the recording."""

    edges: tuple[tuple[int, float, Edge], ...]
    score: float
    notes: tuple[str, ...] = ()


def _search(
    power: Power, shapes: list[Shape], blocks_s: list[Floats], within_s: float
) -> _Found | None:
    """Return the best line through places of the marks; None where no mark has a place."""
    raw = [places_of(power, shape, within_s) for shape in shapes]
    best = max((float(p.quality.max()) for p in raw if len(p.quality)), default=0.0)
    if best <= 0:
        return None
    places = [Places(p.time_s, p.quality / best) for p in raw]
    tried = (
        _line_found(power, shapes, blocks_s, choice, likeness)
        for choice, likeness in _lines(places, shapes)
    )
    found = [one for one in tried if one is not None]
    if len(shapes) > 1:
        found += _predicted(power, shapes, blocks_s, places)
    return max(found, key=lambda one: one.score, default=None)


def _predicted(
    power: Power, shapes: list[Shape], blocks_s: list[Floats], places: list[Places]
) -> list[_Found]:
    """Trust one mark's place, and look for the others near where equal rates put them.

    That finds marks with an edge that does not show, next to a phase of the same power.
    """
    span_s = shapes[-1].start_s - shapes[0].start_s
    window_s = min(max(12 * power.step_s, _RATE_USUAL * span_s), _EDGE_WINDOW_S)
    found = []
    for shape, place in zip(shapes, places, strict=True):
        for at_s, likeness in zip(place.time_s[:_TRUSTED], place.quality, strict=False):
            for own, _ in _edges_of(power, shape, float(at_s)):
                ahead_s = own[0][1].time_s - own[0][0]
                choice = tuple(other.start_s + ahead_s for other in shapes)
                like = float(likeness)
                line = _line_found(power, shapes, blocks_s, choice, like, window_s)
                found += [line] if line else []
    return found


def _lines(places: list[Places], shapes: list[Shape]) -> list[tuple[Choice, float]]:
    """Return the likeliest choices of one place per mark (None: not there) that lie on a line."""
    count = len(places)
    if count == 1:
        order = np.argsort(-places[0].quality)[:_LINES]
        return [((float(places[0].time_s[i]),), float(places[0].quality[i])) for i in order]
    pairs = list(itertools.combinations(range(count), 2))
    if count > 4:
        pairs = [(0, k) for k in range(1, count)] + [(k, count - 1) for k in range(1, count - 1)]
    scored: dict[Choice, float] = {}
    for one, other in pairs:
        for line in _lines_through(places, shapes, one, other):
            scored[line[0]] = max(line[1], scored.get(line[0], 0.0))
    if not scored:  # no two marks agree: take the best of each alone
        for k, place in enumerate(places):
            for i in range(len(place.time_s)):
                choice = tuple(float(place.time_s[i]) if j == k else None for j in range(count))
                scored[choice] = float(place.quality[i]) / count
    best = sorted(scored, key=lambda choice: -scored[choice])[:_LINES]
    return [(choice, scored[choice]) for choice in best]


def _lines_through(
    places: list[Places], shapes: list[Shape], one: int, other: int
) -> list[tuple[Choice, float]]:
    first, second = places[one], places[other]
    span_s = shapes[other].start_s - shapes[one].start_s
    if not len(first.time_s) or not len(second.time_s) or span_s <= 0:
        return []
    change = (second.time_s[None, :] - first.time_s[:, None]) / span_s - 1
    slack = 0.02 * (shapes[one].during_s + shapes[other].during_s) / span_s
    score = np.minimum(first.quality[:, None], second.quality[None, :])
    score = score - 0.2 * np.minimum(np.abs(change) / DRIFT_MAX, 1.0)
    score = np.where(np.abs(change) <= DRIFT_MAX + slack, score, -1.0)
    found = []
    for flat in np.argsort(-score, axis=None)[:_LINES]:
        i, j = np.unravel_index(flat, score.shape)
        if score[i, j] <= -1.0:
            break
        choice: list[float | None] = [None] * len(places)
        total = 0.0
        for k, place in enumerate(places):
            since_s = shapes[k].start_s - shapes[one].start_s
            expected_s = first.time_s[i] + since_s * (1 + change[i, j])
            near = np.abs(place.time_s - expected_s) if len(place.time_s) else np.array([np.inf])
            best = int(np.argmin(near))
            if near[best] <= 0.3 * (shapes[k].during_s or shapes[k].before_s):
                choice[k] = float(place.time_s[best])
                total += float(place.quality[best])
        found.append((tuple(choice), total / len(places) + float(np.minimum(score[i, j], 0.0))))
    return found


def _line_found(
    power: Power,
    shapes: list[Shape],
    blocks_s: list[Floats],
    choice: Choice,
    likeness: float,
    window_s: float = _EDGE_WINDOW_S,
) -> _Found | None:
    """Refine a choice of places to edges, and score it; None without an edge.

    Where the two edges of a mark disagree, either may be the true one (samples may be lost right
    there): all combinations are tried, and the one that scores best counts.
    """
    options = [
        [(index, *way) for way in _edges_of(power, shape, place_s, window_s)]
        for index, (shape, place_s) in enumerate(zip(shapes, choice, strict=True))
        if place_s is not None
    ]
    found = []
    for ways in itertools.islice(itertools.product(*(way for way in options if way)), _WAYS):
        edges = tuple((index, at_s, edge) for index, own, _ in ways for at_s, edge in own)
        notes = tuple(note for _, _, note in ways if note)
        one = _scored(power, shapes, blocks_s, edges, notes, likeness) if edges else None
        found += [one] if one else []
    return max(found, key=lambda one: one.score, default=None)


def _scored(
    power: Power,
    shapes: list[Shape],
    blocks_s: list[Floats],
    edges: tuple[tuple[int, float, Edge], ...],
    notes: tuple[str, ...],
    likeness: float,
) -> _Found | None:
    """Score edges: 1 is best. None where they lie on no line that a clock may have.

    The score is the mean of how much the places look like the marks, how clear the edges are, and,
    counted twice, how much of the power around the log's events these explain. Edges that a mark
    should have and has not cost some of it, and so do edges that lie off the line.
    """
    clock = _clock_through(list(edges), float(blocks_s[0][1]))
    if abs(clock.drift or 0.0) > DRIFT_MAX:
        return None
    explained = power.explained([clock.to_meter(block) for block in blocks_s])
    clarity = sum(edge.clarity for _, _, edge in edges) / len(edges)
    seen = len({index for index, _, _ in edges}) / len(shapes)
    odd = 0.2 * min(abs(clock.drift or 0.0) / DRIFT_MAX, 1.0)
    # a mark is a load, not a pause; constant power between edges tells the two not apart
    loads = [(edge.height_w > 0) == (at_s == shapes[k].start_s) for k, at_s, edge in edges]
    odd += 0.1 * (1 - sum(loads) / len(loads))
    wanted = sum(2 if shape.during_s else 1 for shape in shapes)
    odd += _SPREAD * min(clock.residual_rms_s / (3 * power.step_s), 1.0)
    odd += _MISSING * (1 - len(edges) / wanted)
    return _Found(edges, (2 * explained + clarity + likeness) / 4 * seen - odd, notes)


def _edges_of(
    power: Power, shape: Shape, place_s: float, window_s: float = _EDGE_WINDOW_S
) -> list[_Way]:
    """Return the edges of a mark near a place, each with its time in the events' clock, and a note.

    Both where they are as far apart as the log says and of opposite sign. Else either alone, the
    clearer one first: the load may stay after the mark, or begin unseen after a phase of the same
    power.
    """
    window_s = max(window_s, 12 * power.step_s)
    if not shape.during_s:
        edge = power.edge_near(place_s, min(shape.before_s, window_s), min(shape.after_s, window_s))
        return [([(shape.start_s, edge)], "")] if edge else []
    inner_s = min(0.6 * shape.during_s, window_s)
    log_end_s = shape.start_s + shape.during_s
    start = _edge(power, place_s, min(shape.before_s, window_s), inner_s)
    end_s = (start.time_s if start and start.clarity > _GOOD else place_s) + shape.during_s
    end = _edge(power, end_s, inner_s, min(shape.after_s, window_s))
    if start is None or end is None:
        alone = [(shape.start_s, start)] if start else [(log_end_s, end)] if end else []
        return [(alone, "")] if alone else []
    width_s = end.time_s - start.time_s
    opposite = -2.0 < end.height_w / start.height_w < -0.5
    if abs(width_s - shape.during_s) <= max(3 * power.step_s, 0.02 * shape.during_s):
        likely = opposite or min(start.clarity, end.clarity) > _GOOD
        if likely:
            ways: list[_Way] = [([(shape.start_s, start), (log_end_s, end)], "")]
            if abs(width_s - shape.during_s) > _EXACT_STEPS * power.step_s:
                ways += [([(shape.start_s, start)], ""), ([(log_end_s, end)], "")]
            return ways
    note = ""
    if opposite and min(start.clarity, end.clarity) > _GOOD:
        note = (
            f"the load step of the sync mark at {shape.start_s:.9g} s lasts {width_s:.6f} s in the "
            f"recording, {shape.during_s:.6f} s in the log"
        )
    ways = [([(shape.start_s, start)], note), ([(log_end_s, end)], note)]
    if end.clarity * abs(end.height_w) > 2 * start.clarity * abs(start.height_w):
        ways.reverse()
    return ways


def _edge(power: Power, at_s: float, before_s: float, after_s: float) -> Edge | None:
    """Return the clearest step near a time, looking about as far ahead as back."""
    return power.edge_near(at_s, min(before_s, 4 * after_s), min(after_s, 4 * before_s))


def _clock_through(edges: list[tuple[int, float, Edge]], reference_s: float) -> Clock:
    event_s = np.array([time_s for _, time_s, _ in edges])
    meter_s = np.array([edge.time_s for _, _, edge in edges])
    several = len({index for index, _, _ in edges}) > 1
    return fit_clock(event_s, meter_s, reference_s, drift=several)


def _fit(found: _Found, shapes: list[Shape], reference_s: float) -> Alignment:
    clock = _clock_through(list(found.edges), reference_s)
    present = {index for index, _, _ in found.edges}
    notes = list(found.notes)
    for index, shape in enumerate(shapes):
        if index not in present:
            notes.append(f"the sync mark at {shape.start_s:.9g} s is not in the recording")
    if clock.drift is None:
        notes.append("one sync mark found: the clocks' drift is not measured and taken as 0")
    if found.score < _GOOD:
        notes.append(
            f"the sync marks are not clear (score {found.score:.2f} of 1): the join may be wrong"
        )
    return Alignment(clock, tuple(notes), len(present))
