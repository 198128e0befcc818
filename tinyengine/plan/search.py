"""Which nodes run row by row: ranges around the peak, as long as the peak comes down.

A range is laid over those chosen before; what they had outside it stays streamed if it can, so
one long stream can be cut in two whose peaks are lower. Deterministic, and bounded: ranges begin
and end where the map that crosses is smaller than its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinyengine.errors import UserError
from tinyengine.plan.lifetime import buffers
from tinyengine.plan.place import alive_bytes
from tinyengine.plan.rows import Reach, Rows, stream_rows

Range = tuple[int, int]
ROUNDS = 8


def choose_streams(reach: Reach, enough_bytes: int = 0, keep: Rows | None = None) -> list[Rows]:
    """The streams with the lowest peak found; among equals those with the fewest rows.

    enough_bytes: a peak that need not come down any further. keep: a stream that is among them in
    any case, exactly so.
    """
    return _Search(reach, keep).run(enough_bytes)


def is_range(reach: Reach, first: int, end: int) -> bool:
    """Whether nodes first..end-1 can run row by row.

    Each works on rows, all maps but one are made inside, and only the last one's is used outside.
    """
    graph = reach.graph
    made: set[str] = set()
    outside: set[str] = set()
    for step in range(first, end):
        node, rows = graph.nodes[step], reach.rows(step)
        if rows is None:
            return False
        for name, span in zip(node.inputs, rows[0], strict=True):
            if (span is None) != (graph.values[name].data is not None):
                return False
            if span is not None and name not in made:
                outside.add(name)
        made.update(node.outputs)
    kept = made - set(graph.nodes[end - 1].outputs) if first < end else set()
    seen = kept & set(graph.outputs) or any(reach.last[name] >= end for name in kept)
    return len(outside) == 1 and not seen


def _fronts(reach: Reach) -> list[Range]:
    """The ranges that can take the fed input; none where nothing is fed.

    Raises:
        UserError: somebody needs the input whole, or later than the others.
    """
    if reach.fed is None:
        return []
    graph, x = reach.graph, reach.fed
    readers = [i for i, node in enumerate(graph.nodes) if x in node.inputs]
    first = readers[0] if readers else 0
    ends = range(reach.last[x] + 1, len(graph.nodes) + 1)
    found = [(first, end) for end in ends if x not in graph.outputs and is_range(reach, first, end)]
    if not found:
        who = ", ".join(
            dict.fromkeys(f"'{graph.nodes[i].layer}' ({graph.nodes[i].op.kind})" for i in readers)
        )
        raise UserError(
            f"input '{x}' cannot arrive row by row: {who or 'the output'} needs it whole, or again "
            "after other layers. Feeding rows takes a map of several rows, whose first layers work "
            "on neighbouring rows and do not learn"
        )
    return found


class _Search:
    def __init__(self, reach: Reach, keep: Rows | None) -> None:
        self.reach, self.graph = reach, reach.graph
        self._rows: dict[Range, Rows | None] = {}
        self.kept = (keep.stream.first, keep.stream.end) if keep else None
        if self.kept:
            self._rows[self.kept] = keep
        # one of these is in every choice; none: there are no conditions
        self.musts = [self.kept] if self.kept else _fronts(reach)

    def run(self, enough_bytes: int) -> list[Rows]:
        firsts = [[must] for must in self.musts]
        chosen = min(firsts, key=lambda c: self.peak(c)[0], default=[])
        best, region = self.peak(chosen)
        for _ in range(ROUNDS):
            if best[0] <= enough_bytes:
                break
            tried = [(self.peak(c)[0], c) for c in self.candidates(chosen, region)]
            if not tried or min(tried)[0][:2] >= best[:2]:
                break
            best, chosen = min(tried)
            region = self.peak(chosen)[1]
        return [rows for r in chosen if (rows := self.rows(r))]

    def rows(self, r: Range) -> Rows | None:
        """The row schedule of a range; None: it cannot run row by row."""
        if r not in self._rows:
            self._rows[r] = stream_rows(self.reach, *r) if is_range(self.reach, *r) else None
        return self._rows[r]

    def peak(self, chosen: Sequence[Range]) -> tuple[tuple[int, int, int], Range]:
        """((bytes, in how many steps, rows computed in streams), the nodes of the first of them).

        Smaller is better.
        """
        streams = [rows for r in chosen if (rows := self.rows(r))]
        alive = alive_bytes(buffers(self.graph, streams, self.reach.kernels), len(self.graph.nodes))
        at = int(alive.argmax())
        region = next((r for r in chosen if r[0] <= at < r[1]), (at, at + 1))
        count = sum(len(rows.stream.rows) for rows in streams)
        return (int(alive.max()), int((alive == alive.max()).sum()), count), region

    def candidates(self, chosen: Sequence[Range], region: Range) -> Iterator[list[Range]]:
        """Choices that change what happens at `region`."""
        cuts = narrow_places(self.reach, region[0])
        for first in cuts:
            for end in cuts:
                fits = first < end and first < region[1] and end > region[0]
                if fits and (first, end) not in chosen and self.rows((first, end)):
                    rest = [(a, min(b, first)) for a, b in chosen if a < first]
                    rest += [(max(a, end), b) for a, b in chosen if b > end]
                    kept = [r for r in rest if self.rows(r)]
                    choice = sorted([*kept, (first, end)])
                    if not self.musts or any(must in choice for must in self.musts):
                        yield choice


def narrow_places(reach: Reach, step: int) -> list[int]:
    """Where ranges of the row-local stretch around node `step` may begin and end."""
    nodes = reach.graph.nodes
    if not nodes or reach.rows(step) is None:
        return []
    first = end = step
    while first > 0 and reach.rows(first - 1) is not None:
        first -= 1
    while end < len(nodes) and reach.rows(end) is not None:
        end += 1
    size = [reach.graph.type(n.outputs[0]).nbytes for n in nodes[first:end]]
    narrow = [
        first + i
        for i in range(1, len(size))
        if size[i - 1] <= size[i] and (i == 1 or size[i - 1] <= size[i - 2])
    ]
    return [first, *narrow, end]
