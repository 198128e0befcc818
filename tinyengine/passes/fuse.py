"""Fuse each convolution's weight gradient with its update, row by row."""

from __future__ import annotations

from tinyengine.ir.graph import Graph, Node, retain
from tinyengine.ops.conv2d import Conv2dBwdWeight
from tinyengine.ops.row_step import RowStep
from tinyengine.ops.sgd import SgdI8, W
from tinyengine.passes.rewrite import with_nodes


def fuse(graph: Graph) -> Graph:
    """conv2d_bwd_weight + sgd_i8 -> row_step where nothing else reads the gradient."""
    producers, users = graph.producers(), graph.consumers()
    nodes: list[Node] = []
    for node in graph.nodes:
        source = producers.get(node.inputs[1]) if isinstance(node.op, SgdI8) else None
        if source and isinstance(source.op, Conv2dBwdWeight) and len(users[node.inputs[1]]) == 1:
            assert isinstance(node.op, SgdI8)
            inputs = (*source.inputs, node.inputs[W], *node.inputs[2:])
            node = Node(RowStep(source.op, node.op), inputs, node.outputs, node.layer)
        nodes.append(node)
    fused = with_nodes(graph, nodes)
    return retain(fused, fused.roots())
