"""How long each value lives, and which values share one buffer because they work in place."""

from __future__ import annotations

from dataclasses import dataclass, field

from tinyengine.ir.graph import Graph
from tinyengine.plan.plan import in_arena, storage


@dataclass(slots=True)
class Buffer:
    """Memory for values that follow one another in place; alive in steps first..last."""

    names: list[str] = field(default_factory=list)
    nbytes: int = 0
    first: int = 0
    last: int = 0

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


def buffers(graph: Graph) -> list[Buffer]:
    """One buffer per group of in-place values, in order of first use; scratch has its own.

    Scratch of step i is the buffer whose only name is `#i`.
    """
    last, needed, old = last_uses(graph), in_arena(graph), storage(graph)
    found: dict[str, Buffer] = {}
    ordered: list[Buffer] = []

    def new(name: str, nbytes: int, first: int) -> None:
        buffer = Buffer([name], nbytes, first, last.get(name, first))
        found[name] = buffer
        ordered.append(buffer)

    for name in graph.inputs:
        if name in needed:
            new(name, graph.type(name).nbytes, 0)
    for step, node in enumerate(graph.nodes):
        sig = graph.signature(node)
        for index, out in enumerate(node.outputs):
            if out not in needed or out in old:
                continue
            host = None
            if index == 0:
                names = (node.inputs[i] for i in node.op.inplace(sig))
                host = next((n for n in names if _dies(graph, found, last, n, out, step)), None)
            if host is None:
                new(out, graph.type(out).nbytes, step)
                continue
            found[out] = found[host]
            found[out].names.append(out)
            found[out].last = last[out]
        if scratch := node.op.scratch_bytes(sig):
            new(f"#{step}", scratch, step)
    return ordered


def _dies(
    graph: Graph, found: dict[str, Buffer], last: dict[str, int], name: str, out: str, step: int
) -> bool:
    """Whether `out` may take over the memory of `name`: nobody reads that any more."""
    same_size = graph.type(name).nbytes == graph.type(out).nbytes
    return name in found and same_size and last[name] == step and found[name].last == step
