"""The classifier head: as it is, as float32, or fresh with another number of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinyengine.errors import SchemeError
from tinyengine.ir.graph import Builder, Graph, Node, retain
from tinyengine.ir.tensor import Array, DType, Quant, Role, TensorType, dequantise
from tinyengine.ops import fixed
from tinyengine.ops.borders import Dequantize
from tinyengine.ops.conv2d import BIAS, WEIGHT, Conv2d, X, requantisation
from tinyengine.ops.layout import Reshape
from tinyengine.ops.linear import Linear
from tinyengine.ops.sgd import tensor_key
from tinyengine.passes.backward import last_row


def find_head(graph: Graph) -> Node | None:
    """The fully connected layer (1x1 convolution of one pixel) that makes the logits, if any."""
    producers = graph.producers()
    node = producers.get(last_row(graph))
    while node is not None and isinstance(node.op, Reshape):
        node = producers.get(node.inputs[0])
    if node is None or not isinstance(node.op, Conv2d):
        return None
    one_pixel = graph.type(node.inputs[X]).shape[:3] == (1, 1, 1)
    return node if one_pixel and node.op.window.kernel == (1, 1) else None


def replace_head(graph: Graph, kind: str, classes: int | None, seed: int) -> Graph:
    """The graph with its head as `kind` asks: "float32", "int8" or "frozen".

    classes: a fresh head with this many outputs, drawn from `seed`, instead of the trained one.

    Raises:
        SchemeError: the model has no fully connected head to replace, or the number is senseless.
    """
    if classes is None and kind != "float32":
        return graph
    node = find_head(graph)
    if node is None:
        raise SchemeError(
            f"model '{graph.name}' does not end in a fully connected layer: its head can be "
            'neither replaced (--classes) nor made float32; use head = "frozen" or "int8"'
        )
    if classes is not None and not 2 <= classes <= 4096:
        raise SchemeError(f"--classes {classes} must be in 2..4096")
    if kind == "float32":
        return _float_head(graph, node, classes, seed)
    return _int8_head(graph, node, classes or 0, seed)


def _fresh(layer: str, rows: int, columns: int, seed: int) -> Array:
    """Weights uniform in +-1/sqrt(columns), float64 (rows, columns), the same everywhere."""
    stream = int(fixed.mix32(seed + tensor_key(layer)))
    bits = fixed.mix32(np.arange(rows * columns, dtype=np.uint64) + np.uint64(stream))
    unit = bits.astype(np.float64) / 2.0**31 - 1.0
    return np.asarray(unit.reshape(rows, columns) / np.sqrt(columns))


def _float_head(graph: Graph, node: Node, classes: int | None, seed: int) -> Graph:
    weight_type = graph.type(node.inputs[WEIGHT])
    columns = weight_type.shape[3]
    if classes is None:
        weight = dequantise(weight_type.quant, graph.values[node.inputs[WEIGHT]].require_data())
        weight = weight.reshape(-1, columns)
        bias = dequantise(graph.type(node.inputs[BIAS]).quant, _data(graph, node.inputs[BIAS]))
    else:
        weight, bias = _fresh(node.layer, classes, columns, seed), np.zeros(classes)
    b = _cut_before(graph, node)
    x, layer = node.inputs[X], node.layer
    real = b.node(
        Dequantize(), (x,), [(f"{x}.real", TensorType((1, 1, 1, columns), DType.F32))], layer
    )[0]
    row = TensorType((1, columns), DType.F32)
    row_name = b.node(Reshape(), (real,), [(f"{x}.row", row)], layer)[0]
    w = b.constant(f"{layer}/weight", weight, DType.F32, role=Role.TRAINABLE)
    bias_name = b.constant(f"{layer}/bias", bias, DType.F32, role=Role.TRAINABLE)
    out = TensorType((1, len(weight)), DType.F32)
    b.outputs = list(b.node(Linear(), (row_name, w, bias_name), [(layer, out)], layer))
    b.meta["output_dtype"] = "f32"
    return b.build()


def _data(graph: Graph, name: str) -> Array:
    return graph.values[name].require_data()


def _cut_before(graph: Graph, node: Node) -> Builder:
    """A builder with everything that leads to the head's input, and nothing behind it."""
    body = retain(graph, [node.inputs[X]])
    b = Builder(graph.name, body)
    b.outputs = [node.inputs[X]]
    kept = b.build()
    return Builder(graph.name, kept)


def _int8_head(graph: Graph, node: Node, classes: int, seed: int) -> Graph:
    """A fresh int8 head that starts at a quarter of its weight range, so that it can grow."""
    x_type, y_type = graph.type(node.inputs[X]), graph.type(node.outputs[0])
    columns = x_type.shape[3]
    weight = _fresh(node.layer, classes, columns, seed)
    scale = float(np.float32(4.0 / np.sqrt(columns) / 127.0))
    b = _cut_before(graph, node)
    layer = node.layer
    q = np.clip(np.rint(weight / scale), -127, 127).reshape(classes, 1, 1, columns)
    multiplier, shift = requantisation(x_type.scale, np.full(classes, scale), y_type.scale)
    bias_scale = Quant.per_axis(np.full(classes, scale * x_type.scale), 0)
    inputs = (
        node.inputs[X],
        b.constant(
            f"{layer}/weight",
            q,
            DType.I8,
            Quant.per_axis(np.full(classes, scale), 0),
            Role.TRAINABLE,
        ),
        b.constant(f"{layer}/bias", np.zeros(classes), DType.I32, bias_scale, Role.TRAINABLE),
        b.constant(f"{layer}/multiplier", multiplier, DType.I32),
        b.constant(f"{layer}/shift", shift, DType.I32),
    )
    out = TensorType((*y_type.shape[:3], classes), DType.I8, y_type.quant)
    assert isinstance(node.op, Conv2d)
    name = b.node(node.op, inputs, [(node.outputs[0], out)], layer)[0]
    b.outputs = [_rebuild_tail(graph, node, b, name, classes)]
    return b.build()


def _rebuild_tail(graph: Graph, head: Node, b: Builder, name: str, classes: int) -> str:
    """The operators behind the old head, on as many classes as the new one has."""
    start = graph.nodes.index(head) + 1
    old = head.outputs[0]
    for node in _tail(graph.nodes[start:], old):
        old_type = graph.type(node.outputs[0])
        axis = int(np.argmax(old_type.shape)) if old_type.count > 1 else len(old_type.shape) - 1
        shape = (*old_type.shape[:axis], classes, *old_type.shape[axis + 1 :])
        type_ = TensorType(shape, old_type.dtype, old_type.quant)
        name = b.node(node.op, (name,), [(node.outputs[0], type_)], node.layer)[0]
    return name


def _tail(nodes: Sequence[Node], name: str) -> list[Node]:
    found: list[Node] = []
    for node in nodes:
        if node.inputs == (name,):
            found.append(node)
            name = node.outputs[0]
    return found
