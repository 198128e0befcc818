"""Keep of a full backward graph what an update scheme needs, bit for bit, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinyengine.ir.graph import Builder, Graph, Node, retain
from tinyengine.ir.tensor import DType, Role, TensorType, Value
from tinyengine.ops.conv2d import WEIGHT, Conv2d, Conv2dBwdInput, Conv2dBwdWeight, X
from tinyengine.ops.layout import GatherChannels
from tinyengine.update.scheme import Learning


def freeze(graph: Graph, learning: Learning) -> Graph:
    """Trainables that the scheme leaves alone become constants; their gradients are dropped."""
    learns = learning.biases | set(learning.weights)
    b = Builder(graph.name, graph)
    for value in graph.with_role(Role.TRAINABLE):
        if value.name not in learns:
            b.values[value.name] = replace(value, role=Role.CONSTANT)
    b.gradients = [(w, g) for w, g in graph.gradients if w in learns]
    frozen = b.build()
    return retain(frozen, frozen.roots())


def prune(graph: Graph, learning: Learning) -> Graph:
    """`freeze`, then split every convolution weight of which only some input channels learn.

    The learning channels are brought to the front (by a gather of the input, 1 byte a channel and
    pixel) so that they are contiguous in RAM; the rest stays in flash, and backward keeps only
    those channels of the activation.
    """
    graph = freeze(graph, learning)
    for weight, channels in learning.weights.items():
        whole = graph.type(weight).shape[-1] == len(channels)
        if not whole and _is_convolution(graph, weight):
            graph = _split(graph, weight, channels)
    return graph


def _is_convolution(graph: Graph, weight: str) -> bool:
    return any(isinstance(n.op, Conv2d) for n in graph.consumers()[weight])


def _split(graph: Graph, weight: str, channels: tuple[int, ...]) -> Graph:
    b = Builder(graph.name, graph)
    value = graph.values[weight]
    data, total = value.require_data(), value.type.shape[-1]
    rest = tuple(c for c in range(total) if c not in channels)
    learned = np.ascontiguousarray(data[..., list(channels)])
    learned.setflags(write=False)
    b.values[weight] = Value(
        weight, replace(value.type, shape=learned.shape), Role.TRAINABLE, learned
    )
    frozen = b.constant(f"{weight}.frozen", data[..., list(rest)], DType.I8, value.type.quant)
    order = (*channels, *rest)
    b.nodes = []
    for node in graph.nodes:
        if weight in node.inputs and isinstance(node.op, Conv2d):
            _split_forward(b, node, frozen, order)
        elif weight in node.inputs and isinstance(node.op, Conv2dBwdInput):
            _split_input_gradient(b, node, frozen, order)
        elif (weight, node.outputs[0]) in graph.gradients:
            _split_weight_gradient(b, node, channels, learned.shape)
        else:
            b.nodes.append(node)
    _hoist_kept_channels(b)
    return b.build()


def _gather(b: Builder, x: str, channels: Sequence[int], hint: str, node: Node, role: Role) -> str:
    type_ = b.type(x)
    out = replace(type_, shape=(*type_.shape[:-1], len(channels)))
    return b.node(GatherChannels(tuple(channels)), (x,), [(hint, out)], node.layer, role)[0]


def _split_forward(b: Builder, node: Node, frozen: str, order: tuple[int, ...]) -> None:
    x = node.inputs[X]
    ordered = _gather(b, x, order, f"{node.layer}/ordered", node, Role.ACTIVATION)
    b.nodes.append(replace(node, inputs=(ordered, *node.inputs[WEIGHT:], frozen)))


def _split_input_gradient(b: Builder, node: Node, frozen: str, order: tuple[int, ...]) -> None:
    d_x = node.outputs[0]
    type_ = b.type(d_x)
    ordered = b.value(f"{d_x}.ordered", TensorType(type_.shape, DType.F32), Role.GRADIENT)
    b.nodes.append(replace(node, inputs=(*node.inputs, frozen), outputs=(ordered,)))
    back = tuple(order.index(c) for c in range(len(order)))
    b.nodes.append(Node(GatherChannels(back), (ordered,), (d_x,), node.layer))


def _split_weight_gradient(
    b: Builder, node: Node, channels: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    assert isinstance(node.op, Conv2dBwdWeight)
    d, x = node.inputs
    kept = _gather(b, x, channels, f"{node.layer}/kept", node, Role.ACTIVATION)
    d_w = node.outputs[0]
    b.values[d_w] = replace(b.values[d_w], type=replace(b.type(d_w), shape=shape))
    b.nodes.append(replace(node, inputs=(d, kept)))


def _hoist_kept_channels(b: Builder) -> None:
    """Move each gather of an activation to right behind what makes it, so the rest can be freed."""
    made = {out: i for i, node in enumerate(b.nodes) for out in node.outputs}
    keyed = [
        (made.get(node.inputs[0], -1) + 0.5 if _keeps(b, node) else float(i), i, node)
        for i, node in enumerate(b.nodes)
    ]
    b.nodes = [node for _, _, node in sorted(keyed, key=lambda item: item[:2])]


def _keeps(b: Builder, node: Node) -> bool:
    readers = [n for n in b.nodes if node.outputs[0] in n.inputs]
    return isinstance(node.op, GatherChannels) and all(
        isinstance(n.op, Conv2dBwdWeight) for n in readers
    )
