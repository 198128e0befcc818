"""How many rows the nodes of each stream make at a time: memory against instructions.

The least memory is one row at a time. Several rows in one call need longer line buffers, but what
a kernel prepares anew in every call is prepared for all of them, and fewer rows slide. A long
stream that takes the input can be higher in two pieces, where the narrow map between them is whole.
The rule: a byte of arena is worth INSTRUCTIONS_PER_BYTE of every forward pass, within the board's
RAM.

Streams run one after another, so each is as wide as it can be under one common peak: only the
height of that peak has to be found, and it is one of the streams' own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from tinyengine.ir.graph import Graph
from tinyengine.plan.lifetime import buffers
from tinyengine.plan.place import alive_bytes
from tinyengine.plan.plan import FeedRows, Slide, Stream
from tinyengine.plan.rows import Reach, Rows, row_bytes, stream_rows
from tinyengine.plan.search import Range, is_range, narrow_places
from tinyengine.plan.target import Setup, Target

HEIGHTS = (1, 2, 3, 4, 6, 8)
INSTRUCTIONS_PER_BYTE = 50  # about what 4 KB of tables and buffers buy in the Arm kernels
CALL = 100  # instructions: a row of the table, the call, the kernel's own beginning
SLIDE_PER_BYTE = 0.7  # te_slide_s8 on a Cortex-M
RESERVED_BYTES = 8192  # of the board's RAM, for its stack and what the session keeps


@dataclass(frozen=True, slots=True)
class _Option:
    """One stream at one height: bytes alive while it runs, instructions it spends beside sums."""

    rows: Rows
    peak_bytes: int
    instructions: float


def widened(
    reach: Reach, streams: Sequence[Rows], target: Target, least_bytes: int
) -> Iterator[list[Rows]]:
    """The same nodes in streams of other heights, the best choice first.

    least_bytes: the arena as it is in any case. Choices that the board has no room for are left
    out; the last one is the streams as they came.
    """

    @cache
    def options(r: Range) -> list[_Option]:
        return list(_options(reach, streams, r, target.setup_of))

    limit = room_bytes(reach.graph, target)
    found = [
        choice
        for ranges in _pieces(reach, streams)
        for choice in _choices([options(r) for r in ranges], least_bytes, limit)
    ]
    for _, best_rows in sorted(found, key=lambda f: f[0]):
        yield best_rows
    yield list(streams)


def _choices(
    options: Sequence[Sequence[_Option]], least_bytes: int, limit: int | None
) -> Iterator[tuple[float, list[Rows]]]:
    """(cost, streams): under every common peak the cheapest option of each."""
    peaks = {max(o.peak_bytes, least_bytes) for made in options for o in made}
    for peak in sorted(p for p in peaks if limit is None or p <= limit):
        under = [[o for o in made if o.peak_bytes <= peak] for made in options]
        if all(under):
            best = [min(made, key=lambda o: (o.instructions, o.peak_bytes)) for made in under]
            cost = INSTRUCTIONS_PER_BYTE * peak + sum(o.instructions for o in best)
            yield cost, [o.rows for o in best]


def _pieces(reach: Reach, streams: Sequence[Rows]) -> Iterator[list[Range]]:
    """The ranges of the streams as they are; then those with the one that is fed in two pieces.

    The others need no cutting: the search for the lowest peak has tried it.
    """
    ranges = [(s.stream.first, s.stream.end) for s in streams]
    yield ranges
    for first, end in [r for r, s in zip(ranges, streams, strict=True) if s.stream.fed]:
        others = [r for r in ranges if r != (first, end)]
        for place in narrow_places(reach, first):
            pieces = [(first, place), (place, end)]
            if first < place < end and all(is_range(reach, *r) for r in pieces):
                yield sorted([*others, *pieces])


def room_bytes(graph: Graph, target: Target) -> int | None:
    """How large the board's RAM lets the arena become; None: as large as it likes."""
    if target.ram_bytes is None:
        return None
    return target.ram_bytes - RESERVED_BYTES - sum(v.type.nbytes for v in graph.state())


def _options(
    reach: Reach, streams: Sequence[Rows], piece: Range, setup_of: Setup
) -> Iterator[_Option]:
    """A piece of one of the streams at each height, beside the others."""
    first, end = piece
    apart = [s for s in streams if s.stream.end <= first or end <= s.stream.first]
    for height in HEIGHTS:
        rows = stream_rows(reach, first, end, height)
        others = [*apart, rows]
        found = buffers(reach.graph, others, reach.kernels)
        alive = alive_bytes(found, len(reach.graph.nodes))
        cost = beside_sums(reach.graph, rows.stream, setup_of)
        yield _Option(rows, int(alive[first]), cost)


def beside_sums(graph: Graph, stream: Stream, setup_of: Setup) -> float:
    """Instructions of a stream that are not for its outputs: calls, preparations, slides."""
    total = 0.0
    for step in stream.rows:
        if isinstance(step, FeedRows):
            total += CALL  # the copies are the same however many rows come at a time
            continue
        if isinstance(step, Slide):
            total += CALL + SLIDE_PER_BYTE * step.count * row_bytes(graph, step.name)
            continue
        node = graph.nodes[step.node]
        sig = graph.signature(node)
        band = node.op.band(sig, step.row, step.count)
        assert band is not None
        total += CALL + setup_of(band.op, band.signature(sig))
    return total
