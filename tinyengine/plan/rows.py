"""Row by row: the order in which a chain of nodes makes its rows, and the lines that hold them.

Demand driven: to make the next row of the last node, make what is missing of its inputs first.
Every value between has a line buffer of a few rows, contiguous as kernels expect; when it is full,
rows that nobody needs any more are dropped by sliding the others to its beginning.

Two 3x3 convolutions a -> b of 4 rows, padding 1: a0 a1 b0 a2 b1 (a0 dies, a1 a2 slide) a3 b2 b3;
up to 2 rows at a time: a01 a2 b01 (a0 dies, a1 a2 slide) a3 b23.

An input that arrives row by row is such a value too: its rows are made by the caller, when they
are needed, and nobody ever holds all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array
from tinyengine.plan.lifetime import last_uses
from tinyengine.plan.place import Task
from tinyengine.plan.plan import FeedRows, MakeRows, RowStep, Slide, Slot, Stream, aligned
from tinyengine.plan.scratch import PORTABLE, Kernels, constants

CALLER = -1  # the number of the node that makes the rows of a fed input


class Reach:
    """Which input rows each output row of each node of a graph needs; computed once per node.

    last: the last step that uses each value. fed: the graph's input that arrives row by row.
    """

    def __init__(self, graph: Graph, kernels: Kernels = PORTABLE, fed: str | None = None) -> None:
        self.graph, self.last, self.kernels, self.fed = graph, last_uses(graph), kernels, fed
        self._found: dict[int, tuple[tuple[tuple[int, int] | None, ...], ...] | None] = {}

    def rows(self, step: int) -> tuple[tuple[tuple[int, int] | None, ...], ...] | None:
        """Per output row, per input: (first, end) or None; None: the node cannot run by rows."""
        if step not in self._found:
            self._found[step] = self._rows(step)
        return self._found[step]

    def _rows(self, step: int) -> tuple[tuple[tuple[int, int] | None, ...], ...] | None:
        node = self.graph.nodes[step]
        sig = self.graph.signature(node)
        shape = sig.outs[0].shape
        if len(sig.outs) != 1 or len(shape) != 4 or shape[0] != 1:
            return None
        found = []
        for row in range(shape[1]):
            band = node.op.band(sig, row)
            if band is None:
                return None
            found.append(band.rows)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Rows:
    """A stream without an address.

    x: the value that it reads. lead_bytes: how far before its input the output must begin to be
    written over no row that is still needed. line_bytes: of all line buffers as placed.
    live_bytes: the most alive in one step of lines and written output; the second entry counts
    the rows of the input that are not consumed yet, too.
    """

    stream: Stream
    x: str
    lead_bytes: int
    line_bytes: int
    live_bytes: tuple[int, int]


def row_bytes(graph: Graph, name: str) -> int:
    """Bytes of one row of a map."""
    type_ = graph.type(name)
    return type_.nbytes // type_.shape[1]


def stream_rows(reach: Reach, first: int, end: int, height: int = 1) -> Rows:
    """The row schedule of the nodes `first` to `end` - 1, which a chain of rows connects.

    height: the most rows that a node makes at a time. Few need little memory; many save what a
    kernel does anew in every call.
    """
    return _Scheduler(reach, first, end, height).rows()


class _Scheduler:
    """Values are numbered: the stream's input 0, the output of its i-th node i + 1.

    Where the input is fed, the caller is node -1: it makes rows of value 0 and needs none.
    """

    def __init__(self, reach: Reach, first: int, end: int, height: int) -> None:
        self.graph, self.first, self.end, self.height = reach.graph, first, end, height
        self.scratch_of = reach.kernels.scratch
        self.nodes = self.graph.nodes[first:end]
        made = {node.outputs[0]: i + 1 for i, node in enumerate(self.nodes)}
        self.needs: list[list[list[tuple[int, int, int]]]] = []  # node, row -> (value, first, end)
        self.x = stream_input(self.graph, first, end)
        self.fed = self.x == reach.fed
        for i, node in enumerate(self.nodes):
            rows = reach.rows(first + i)
            assert rows is not None
            self.needs.append([
                [
                    (made.get(name, 0), *span)
                    for name, span in zip(node.inputs, spans, strict=True)
                    if span is not None
                ]
                for spans in rows
            ])  # fmt: skip
        names = [self.x, *(node.outputs[0] for node in self.nodes)]
        self.names = names
        self.heights = [self.graph.type(n).shape[1] for n in names]
        self.widths = [row_bytes(self.graph, n) for n in names]
        known = set(names)
        self.streamed = [[name in known for name in node.inputs] for node in self.nodes]
        self.order = self._order()
        self.low = self._low()

    def _need(self, i: int, row: int, count: int) -> list[tuple[int, int, int]]:
        """(value, first, end) of the rows that `count` rows of a node from `row` on need."""
        if i == CALLER:
            return []
        first, last = self.needs[i][row], self.needs[i][row + count - 1]
        return [(value, a, end) for (value, a, _), (_, _, end) in zip(first, last, strict=True)]

    def _order(self) -> list[tuple[int, int, int]]:
        """(node, row, count) in the order of computation."""
        order: list[tuple[int, int, int]] = []
        made = [0 if self.fed else self.heights[0], *[0] * len(self.nodes)]

        def make(i: int, end: int) -> None:
            while (row := made[i + 1]) < end:
                count = end - row if i == CALLER else min(self.height, end - row)
                for value, _, needed in self._need(i, row, count):
                    if made[value] < needed:
                        make(value - 1, needed)
                order.append((i, row, count))
                made[i + 1] += count

        make(len(self.nodes) - 1, self.heights[-1])
        return order

    def _low(self) -> list[tuple[int, int]]:
        """Per step: the lowest row needed in it or later of its own output, and of the input."""
        low = list(self.heights)
        found = []
        for i, row, count in reversed(self.order):
            for value, first, _ in self._need(i, row, count):
                low[value] = min(low[value], first)
            found.append((min(low[i + 1], row), low[0]))
        return found[::-1]

    def rows(self) -> Rows:
        capacity = [1] * len(self.names)
        for (i, row, count), (low, _) in zip(self.order, self.low, strict=True):
            capacity[i + 1] = max(capacity[i + 1], row + count - low)
        alive = self._alive()
        names, sizes, when = self._areas(alive, capacity)
        real = when.astype(np.float64)  # products of these go through the fast routines, exactly
        rivals = (real @ real.T) > 0
        biggest = sorted(range(len(sizes)), key=lambda a: (-sizes[a], a))
        line_bytes, offsets = Task(sizes, rivals).first_fit(biggest)
        slots = [Slot(o, n) for o, n in zip(offsets, sizes, strict=True)]
        lines = MappingProxyType(dict(zip(names, slots, strict=True)))
        x_low = np.array([x for _, x in self.low])
        written = self._written()
        lead = 0 if self.fed else int((written - x_low * self.widths[0]).max(initial=0))
        live = written + (np.array([aligned(n) for n in sizes], np.float64) @ real).astype(int)
        rest = (self.heights[0] - x_low) * self.widths[0]
        calls = tuple(self._emit(capacity))
        fed = self.x if self.fed else None
        stream = Stream(self.first, self.end, self.height, calls, lines, fed)
        bounds = (int(live.max()), int((live + rest).max()))
        return Rows(stream, self.x, max(lead, 0), line_bytes, bounds)

    def _alive(self) -> Array:
        """(values, steps) bool: is any row of the value alive while the step runs?"""
        alive = np.zeros((len(self.names), len(self.order)), bool)
        made: dict[tuple[int, int], int] = {}
        last: dict[tuple[int, int], int] = {}
        for step, (i, row, count) in enumerate(self.order):
            made.update({(i + 1, r): step for r in range(row, row + count)})
            last.update({(i + 1, r): step for r in range(row, row + count)})
            for value, first, end in self._need(i, row, count):
                for r in range(first, end):
                    last[value, r] = step
        for (value, row), step in made.items():
            alive[value, step : last[value, row] + 1] = True
        return alive

    def _areas(self, alive: Array, capacity: Sequence[int]) -> tuple[list[str], list[int], Array]:
        """Names, bytes, and (areas, steps) when alive: line buffers, nodes' scratch (`#step`)."""
        between = range(0 if self.fed else 1, len(self.nodes))
        names = [self.names[v] for v in between]
        sizes = [capacity[v] * self.widths[v] for v in between]
        ran = np.array([i for i, *_ in self.order])
        scratch = {i: n for i in range(len(self.nodes)) if (n := self._scratch(i))}
        names += [f"#{self.first + i}" for i in scratch]
        when = [*(alive[v] for v in between), *(ran == i for i in scratch)]
        shape = (len(when), len(self.order))
        return names, [*sizes, *scratch.values()], np.array(when, bool).reshape(shape)

    def _scratch(self, i: int) -> int:
        node = self.nodes[i]
        sig = self.graph.signature(node)
        data = constants(self.graph, node)
        if not self.scratch_of(node.op, sig, data):
            return 0
        calls = {(row, count) for j, row, count in self.order if j == i}
        bands = (node.op.band(sig, row, count) for row, count in calls)
        return max(self.scratch_of(b.op, b.signature(sig), data) for b in bands if b is not None)

    def _written(self) -> Array:
        """Bytes of the output at the end of each step."""
        last = len(self.nodes) - 1
        counts = np.array([count if i == last else 0 for i, _, count in self.order])
        return np.cumsum(counts) * self.widths[-1]

    def _emit(self, capacity: Sequence[int]) -> list[RowStep]:
        base = [0] * len(self.names)
        found: list[RowStep] = []
        for (i, row, count), (low, _) in zip(self.order, self.low, strict=True):
            value = i + 1
            if value < len(self.nodes) and row + count - base[value] > capacity[value]:
                if row > low:
                    found.append(Slide(self.names[value], low - base[value], row - low))
                base[value] = low
            if i == CALLER:
                found.append(FeedRows(row, count, row - base[value]))
                continue
            starts = iter(first - base[v] for v, first, _ in self._need(i, row, count))
            ins = tuple(next(starts) if s else None for s in self.streamed[i])
            found.append(MakeRows(self.first + i, row, count, ins, row - base[value]))
        return found


def stream_input(graph: Graph, first: int, end: int) -> str:
    """The one map that the nodes `first` to `end` - 1 read and do not make."""
    made = {node.outputs[0] for node in graph.nodes[first:end]}
    return next(
        name
        for name in graph.nodes[first].inputs
        if name not in made and graph.values[name].data is None
    )


def lines_of(stream: Stream) -> Mapping[str, Slot]:
    """The line buffers of a stream, without its nodes' scratch."""
    return {name: slot for name, slot in stream.lines.items() if not name.startswith("#")}
