"""How many rows the nodes of each stream make at a time: memory against instructions.

The least memory is one row at a time. Several rows in one call need longer line buffers, but what
a kernel prepares anew in every call is prepared for all of them, and fewer rows slide. The rule: a
byte of arena is worth INSTRUCTIONS_PER_BYTE of every forward pass, within the board's RAM.

Streams run one after another, so each is as wide as it can be under one common peak: only the
height of that peak has to be found, and it is one of the streams' own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinyengine.ir.graph import Graph
from tinyengine.plan.lifetime import buffers
from tinyengine.plan.place import alive_bytes
from tinyengine.plan.plan import MakeRows, Stream
from tinyengine.plan.rows import Reach, Rows, row_bytes, stream_rows
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
    """The same streams at other heights, the best choice first.

    least_bytes: the arena as it is in any case. Choices that the board has no room for are left
    out; the last one is the streams as they came.
    """
    options = [list(_options(reach, streams, i, target.setup_of)) for i in range(len(streams))]
    peaks = {max(o.peak_bytes, least_bytes) for made in options for o in made}
    limit = room_bytes(reach.graph, target)
    found = []
    for peak in sorted(p for p in peaks if limit is None or p <= limit):
        under = [[o for o in made if o.peak_bytes <= peak] for made in options]
        if all(under):
            best = [min(made, key=lambda o: (o.instructions, o.peak_bytes)) for made in under]
            cost = INSTRUCTIONS_PER_BYTE * peak + sum(o.instructions for o in best)
            found.append((cost, [o.rows for o in best]))
    for _, best_rows in sorted(found, key=lambda f: f[0]):
        yield best_rows
    yield list(streams)


def room_bytes(graph: Graph, target: Target) -> int | None:
    """How large the board's RAM lets the arena become; None: as large as it likes."""
    if target.ram_bytes is None:
        return None
    return target.ram_bytes - RESERVED_BYTES - sum(v.type.nbytes for v in graph.state())


def _options(
    reach: Reach, streams: Sequence[Rows], index: int, setup_of: Setup
) -> Iterator[_Option]:
    stream = streams[index].stream
    for height in HEIGHTS:
        rows = stream_rows(reach, stream.first, stream.end, height)
        others = [*streams[:index], rows, *streams[index + 1 :]]
        found = buffers(reach.graph, others, reach.kernels)
        alive = alive_bytes(found, len(reach.graph.nodes))
        cost = beside_sums(reach.graph, rows.stream, setup_of)
        yield _Option(rows, int(alive[stream.first]), cost)


def beside_sums(graph: Graph, stream: Stream, setup_of: Setup) -> float:
    """Instructions of a stream that are not for its outputs: calls, preparations, slides."""
    total = 0.0
    for step in stream.rows:
        if not isinstance(step, MakeRows):
            total += CALL + SLIDE_PER_BYTE * step.count * row_bytes(graph, step.name)
            continue
        node = graph.nodes[step.node]
        sig = graph.signature(node)
        band = node.op.band(sig, step.row, step.count)
        assert band is not None
        total += CALL + setup_of(band.op, band.signature(sig))
    return total
