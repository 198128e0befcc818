"""The plan: when each node runs, and where in the arena each value lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinyengine.errors import InternalError
from tinyengine.ir.graph import Graph

ALIGN_BYTES = 8


def aligned(n: int) -> int:
    """The next multiple of the arena's alignment."""
    return -(-n // ALIGN_BYTES) * ALIGN_BYTES


@dataclass(frozen=True, slots=True)
class Slot:
    """A run of bytes in the arena; the offset is a multiple of 8."""

    offset: int
    nbytes: int

    @property
    def end(self) -> int:
        """First byte behind the slot."""
        return self.offset + self.nbytes


@dataclass(frozen=True, slots=True)
class MakeRows:
    """Node `node` of the schedule makes `count` rows of its output, from row `row` on.

    ins: for each input read by rows, where in its memory the first row that it needs lies; out:
    where the new rows go. Both count rows from the start of the value's memory.
    """

    node: int
    row: int
    count: int
    ins: tuple[int | None, ...]
    out: int


@dataclass(frozen=True, slots=True)
class FeedRows:
    """The caller's next `count` rows of the input, from row `row` on, go to position `out`."""

    row: int
    count: int
    out: int


@dataclass(frozen=True, slots=True)
class Slide:
    """`count` rows of a line buffer, from row `start` of its memory on, move to its beginning."""

    name: str
    start: int
    count: int


RowStep = MakeRows | FeedRows | Slide


@dataclass(frozen=True, slots=True)
class Stream:
    """Nodes `first` to `end` - 1 of the schedule run row by row, in the order of `rows`.

    No node makes more than `height` rows at a time.
    They read one map of the arena and leave one, the output of the last. lines: the values between,
    of which only a few rows exist, and scratch of single nodes (`#step`), as slots within the
    plan's scratch of node `first`. fed: the graph's input that they read, where it arrives row by
    row and has a line buffer like the values between; None: the map that they read is whole.
    """

    first: int
    end: int
    height: int
    rows: tuple[RowStep, ...]
    lines: Mapping[str, Slot]
    fed: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A scheduled graph with a slot for every value that lives in the arena.

    Not in the arena: constants (flash), trainables and states (static RAM), next values of updates
    (in the place of what they update), and the scalar inputs.

    lower_bound_bytes: no placement of this schedule needs fewer, rows of streams counted one by
    one. placement_bound_bytes: none of its blocks, which streams keep whole, does; equal to
    arena_bytes where the placement is proven optimal. placer: who placed the blocks.
    """

    graph: Graph
    slots: Mapping[str, Slot]
    scratch: tuple[Slot | None, ...]
    arena_bytes: int
    lower_bound_bytes: int
    streams: tuple[Stream, ...] = ()
    placement_bound_bytes: int = 0
    placer: str = "greedy"

    @property
    def fed(self) -> Stream | None:
        """The stream that takes the input row by row, if one does."""
        return next((s for s in self.streams if s.fed is not None), None)

    def line(self, stream: Stream, name: str) -> Slot:
        """Where in the arena a line buffer (or `#step`) of a stream lies."""
        block, slot = self.scratch[stream.first], stream.lines[name]
        if block is None:
            raise InternalError(f"the stream from node {stream.first} on has no line buffers")
        return Slot(block.offset + slot.offset, slot.nbytes)


def storage(graph: Graph) -> dict[str, str]:
    """Next value of an update -> the trainable or state whose memory it takes over."""
    return {new: old for old, new in graph.updates}


def in_arena(graph: Graph) -> set[str]:
    """Names of the values that need arena memory."""
    made = {out for node in graph.nodes for out in node.outputs}
    arrays = {n for n in graph.inputs if graph.type(n).shape}
    return (made | arrays) - set(storage(graph))
