"""How long each value lives, and which values share one buffer because they work in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tinyengine.ir.graph import Graph
from tinyengine.plan.plan import aligned, in_arena, storage
from tinyengine.plan.scratch import PORTABLE, Kernels, constants

if TYPE_CHECKING:
    from tinyengine.plan.rows import Rows


@dataclass(slots=True)
class Buffer:
    """Memory for values that follow one another in place; alive in steps first..last."""

    names: list[str] = field(default_factory=list)
    nbytes: int = 0
    first: int = 0
    last: int = 0
    over: Buffer | None = None  # begins lead_bytes before that one, which it overwrites bit by bit
    lead_bytes: int = 0

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are alive in some step."""
        return self.first <= other.last and other.first <= self.last


def last_uses(graph: Graph) -> dict[str, int]:
    """The last step that reads or writes each value; outputs live to the end.

    Reading the next value of an update reads the memory of what it updated.
    """
    last = dict.fromkeys(graph.inputs, 0)
    for step, node in enumerate(graph.nodes):
        last.update(dict.fromkeys((*node.inputs, *node.outputs), step))
    kept = set(graph.outputs) | {new for _, new in graph.updates}
    last.update({name: len(graph.nodes) - 1 for name in kept if name in last})
    return last


def moments(graph: Graph, streams: Sequence[Rows]) -> list[int]:
    """When each node runs: its step, but all nodes of a stream run at the step of its first."""
    when = list(range(len(graph.nodes)))
    for rows in streams:
        first, end = rows.stream.first, rows.stream.end
        when[first:end] = [first] * (end - first)
    return when


def buffers(
    graph: Graph, streams: Sequence[Rows] = (), kernels: Kernels = PORTABLE
) -> list[Buffer]:
    """One buffer per group of values that share memory, in order of first use; scratch has its own.

    Scratch of step i, and the line buffers of a stream that begins there, is the buffer whose only
    name is `#i`.
    """
    collector = _Collector(graph, moments(graph, streams), kernels)
    starts = {rows.stream.first: rows for rows in streams}
    inside = {i for r in streams for i in range(r.stream.first + 1, r.stream.end)}
    fed = {rows.stream.fed for rows in streams}
    for name in graph.inputs:
        if name in collector.needed - fed:
            collector.new(name, graph.type(name).nbytes, 0)
    for step in range(len(graph.nodes)):
        if step in starts:
            collector.stream(starts[step])
        elif step not in inside:
            collector.node(step)
    return collector.ordered


class _Collector:
    """Gathers buffers in order of execution."""

    def __init__(self, graph: Graph, when: list[int], kernels: Kernels) -> None:
        self.graph, self.kernels = graph, kernels
        self.last = {name: when[i] if when else 0 for name, i in last_uses(graph).items()}
        self.needed = in_arena(graph) - set(storage(graph))
        self.found: dict[str, Buffer] = {}
        self.ordered: list[Buffer] = []

    def new(self, name: str, nbytes: int, first: int) -> None:
        buffer = Buffer([name], nbytes, first, self.last.get(name, first))
        self.found[name] = buffer
        self.ordered.append(buffer)

    def node(self, step: int) -> None:
        graph, node = self.graph, self.graph.nodes[step]
        sig, data = graph.signature(node), constants(graph, node)
        inplace = self.kernels.inplace(node.op, sig, data)
        for index, out in enumerate(node.outputs):
            if out not in self.needed:
                continue
            hosts = [node.inputs[i] for i in inplace] if index == 0 else []
            fits = (n for n in hosts if graph.type(n).nbytes == graph.type(out).nbytes)
            host = next((n for n in fits if self.dies(n, step)), None)
            if host is None:
                self.new(out, graph.type(out).nbytes, step)
                lead = self.kernels.lead_bytes(node.op, sig, data) if index == 0 else None
                if lead is not None and self.dies(node.inputs[0], step):
                    self.lay_over(out, node.inputs[0], lead)
            else:
                buffer = self.found[out] = self.found[host]
                buffer.names.append(out)
                buffer.last = self.last[out]
        if scratch := self.kernels.scratch(node.op, sig, data):
            self.new(f"#{step}", scratch, step)

    def stream(self, rows: Rows) -> None:
        """The output of a stream goes over its input as the rows of that are consumed.

        An input that is fed is nowhere whole, so there is nothing to lie over.
        """
        step, out = rows.stream.first, self.graph.nodes[rows.stream.end - 1].outputs[0]
        self.new(out, self.graph.type(out).nbytes, step)
        if self.dies(rows.x, step):
            self.lay_over(out, rows.x, rows.lead_bytes)
        if rows.line_bytes:
            self.new(f"#{step}", rows.line_bytes, step)

    def lay_over(self, name: str, host: str, lead_bytes: int) -> None:
        self.found[name].over = self.found[host]
        self.found[name].lead_bytes = aligned(lead_bytes)

    def dies(self, name: str, step: int) -> bool:
        """Whether nobody reads `name`, or what shares its memory, after `step`."""
        found = self.found.get(name)
        return found is not None and self.last[name] == step and found.last == step
