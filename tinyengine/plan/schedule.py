"""Order of execution: forward as written, updates as soon as their gradients allow."""

from __future__ import annotations

from tinyengine.errors import InternalError
from tinyengine.ir.graph import Graph, Node
from tinyengine.ops.row_step import RowStep
from tinyengine.ops.sgd import Accumulate, SgdF32, SgdI8, SgdI32
from tinyengine.passes.rewrite import with_nodes

UPDATES = (RowStep, Accumulate, SgdF32, SgdI8, SgdI32)


def schedule(graph: Graph) -> Graph:
    """Run each update at once, but never before another node still reads the old value."""
    waiting = [n for n in graph.nodes if isinstance(n.op, UPDATES)]
    others = [n for n in graph.nodes if not isinstance(n.op, UPDATES)]
    readers = {old: sum(old in node.inputs for node in others) for old, _ in graph.updates}
    ready = {name for name, v in graph.values.items() if v.data is not None} | set(graph.inputs)
    ordered: list[Node] = []
    for node in others:
        _run(node, ordered, ready, readers)
        while (update := _next(waiting, ready, readers)) is not None:
            waiting.remove(update)
            _run(update, ordered, ready, readers)
    if waiting:
        raise InternalError(f"{len(waiting)} updates can never run, first '{waiting[0].layer}'")
    return with_nodes(graph, ordered)


def _run(node: Node, ordered: list[Node], ready: set[str], readers: dict[str, int]) -> None:
    ordered.append(node)
    ready.update(node.outputs)
    if not isinstance(node.op, UPDATES):
        for name in set(node.inputs) & set(readers):
            readers[name] -= 1


def _next(waiting: list[Node], ready: set[str], readers: dict[str, int]) -> Node | None:
    for node in waiting:
        if ready.issuperset(node.inputs) and not any(readers.get(n, 0) for n in node.inputs):
            return node
    return None
