"""Remove what does nothing: reshapes of reshapes, reshapes and crops to the same shape."""

from __future__ import annotations

from tinyengine.ir.graph import Builder, Graph, Node, retain
from tinyengine.ops.layout import Crop, GatherChannels, Reshape
from tinyengine.passes.rewrite import renamed


def simplify(graph: Graph) -> Graph:
    """The same graph without nodes that only copy; outputs keep their names."""
    roots = set(graph.roots())
    producers = graph.producers()
    names: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        node = renamed(node, names)
        if _copies(graph, node) and node.outputs[0] not in roots:
            names[node.outputs[0]] = node.inputs[0]
            continue
        source = producers.get(node.inputs[0]) if node.inputs else None
        if isinstance(node.op, Reshape) and source and isinstance(source.op, Reshape):
            node = Node(
                node.op, (names.get(source.inputs[0], source.inputs[0]),), node.outputs, node.layer
            )
        nodes.append(node)
    b = Builder(graph.name, graph)
    b.nodes = nodes
    simple = b.build()
    return retain(simple, simple.roots())


def _copies(graph: Graph, node: Node) -> bool:
    if isinstance(node.op, GatherChannels):
        return node.op.channels == tuple(range(graph.type(node.inputs[0]).shape[-1]))
    if not isinstance(node.op, Reshape | Crop):
        return False
    return graph.type(node.inputs[0]).shape == graph.type(node.outputs[0]).shape
