"""Fold what costs nothing into its neighbours: borders, padding, transposes that move no data."""

from __future__ import annotations

from dataclasses import replace

from tinyengine.ir.graph import Builder, Graph, Node, retain
from tinyengine.ir.tensor import DType, Role, TensorType, Value
from tinyengine.ops.borders import Dequantize, Quantize
from tinyengine.ops.conv2d import Conv2d
from tinyengine.ops.depthwise import DepthwiseConv2d
from tinyengine.ops.layout import Pad, Reshape, Transpose
from tinyengine.ops.mean import Mean
from tinyengine.passes.rewrite import with_nodes


def fold(graph: Graph) -> Graph:
    """All foldings, until nothing changes. The arithmetic of what remains is untouched."""
    graph = _strip_output(_strip_input(graph))
    while True:
        folded = _fold_pads(_sink_transposes(graph))
        folded = retain(folded, folded.roots())
        if folded == graph:
            return graph
        graph = folded


def _strip_input(graph: Graph) -> Graph:
    """Where the input is float32 and quantised at once, the host does it: 4 times less to send."""
    (name, *rest) = graph.inputs
    readers = graph.consumers()[name]
    if rest or not readers or not all(isinstance(n.op, Quantize) for n in readers):
        return graph
    quantised = readers[0].outputs[0]
    if len(readers) > 1:
        return graph
    b = Builder(graph.name, graph)
    b.values[quantised] = Value(quantised, graph.type(quantised), Role.INPUT)
    b.inputs = [quantised]
    b.meta["input_dtype"] = "f32"
    return with_nodes(graph, [n for n in graph.nodes if n is not readers[0]], b)


def _strip_output(graph: Graph) -> Graph:
    """Where the output is dequantised last, the host does it."""
    node = graph.producers().get(graph.outputs[0])
    if len(graph.outputs) != 1 or node is None or not isinstance(node.op, Dequantize):
        return graph
    b = Builder(graph.name, graph)
    b.outputs = [node.inputs[0]]
    b.meta["output_dtype"] = "f32"
    return retain(b.build(), b.outputs)


def _fold_pads(graph: Graph) -> Graph:
    """PAD before a convolution becomes its padding: both read as real zero."""
    producers = graph.producers()
    nodes: list[Node] = []
    for node in graph.nodes:
        pad = producers.get(node.inputs[0]) if node.inputs else None
        if isinstance(node.op, Conv2d | DepthwiseConv2d) and pad and _is_spatial_pad(pad):
            assert isinstance(pad.op, Pad)
            before, after, old = pad.op.before, pad.op.after, node.op.window.padding
            padding = (old[0] + before[1], old[1] + after[1], old[2] + before[2], old[3] + after[2])
            op = replace(node.op, window=replace(node.op.window, padding=padding))
            node = replace(node, op=op, inputs=(pad.inputs[0], *node.inputs[1:]))
        nodes.append(node)
    return with_nodes(graph, nodes)


def _is_spatial_pad(node: Node) -> bool:
    op = node.op
    return isinstance(op, Pad) and not any((op.before[0], op.before[3], op.after[0], op.after[3]))


def _sink_transposes(graph: Graph) -> Graph:
    """Transposes that move no data become reshapes; means swallow those before them."""
    producers = graph.producers()
    b = Builder(graph.name, graph)
    b.nodes = []
    for node in graph.nodes:
        source = producers.get(node.inputs[0]) if node.inputs else None
        if isinstance(node.op, Transpose) and _moves_nothing(node.op, graph, node):
            b.nodes.append(replace(node, op=Reshape()))
        elif isinstance(node.op, Mean) and source and isinstance(source.op, Transpose):
            _mean_before_transpose(graph, b, node, source)
        else:
            b.nodes.append(node)
    return b.build()


def _moves_nothing(op: Transpose, graph: Graph, node: Node) -> bool:
    """Whether the axes longer than 1 keep their order."""
    shape = graph.type(node.inputs[0]).shape
    long_axes = [axis for axis in op.order if shape[axis] > 1]
    return long_axes == sorted(long_axes)


def _mean_before_transpose(graph: Graph, b: Builder, node: Node, source: Node) -> None:
    """mean(transpose(x)) = reshape(transpose(mean(x))), if the mean's axes are neighbours in x."""
    assert isinstance(node.op, Mean) and isinstance(source.op, Transpose)
    order, x = source.op.order, source.inputs[0]
    axes = sorted(order[i] for i in range(node.op.first, node.op.last + 1))
    if axes != list(range(axes[0], axes[-1] + 1)):
        b.nodes.append(node)
        return
    out = graph.type(node.outputs[0])
    shape = graph.type(x).shape
    left = [axis for axis in range(len(shape)) if axis not in axes]
    kept = [axis for axis in order if axis not in axes]
    mean_type = TensorType(tuple(shape[a] for a in left), DType.I8, out.quant)
    mean = b.node(Mean(axes[0], axes[-1]), (x,), [(f"{node.layer}.mean", mean_type)], node.layer)
    turn = Transpose(tuple(left.index(axis) for axis in kept))
    turned_type = TensorType(tuple(shape[a] for a in kept), DType.I8, out.quant)
    if turned_type.shape == out.shape:
        b.nodes.append(Node(turn, mean, node.outputs, node.layer))
        return
    turned = b.node(turn, mean, [(f"{node.layer}.turned", turned_type)], node.layer)
    b.nodes.append(Node(Reshape(), turned, node.outputs, node.layer))
