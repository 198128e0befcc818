"""The layer table that people see in `inspect` and in the report."""

from __future__ import annotations

from dataclasses import dataclass

from tinyengine.ir.graph import Graph, Node
from tinyengine.ir.tensor import DType, Role
from tinyengine.ops.conv2d import Conv2d
from tinyengine.ops.layout import Reshape, Transpose
from tinyengine.ops.lut import Lut

_MOVES = (Reshape, Transpose)
NO_PARAMETERS = "has no parameters"
IS_FROZEN = "is frozen"


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer: what it is, what it costs, and whether it may learn (else why not)."""

    name: str
    op: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int
    parameters: int
    trainable: bool
    reason: str | None
    scale: float | None
    zero_point: int | None


def layer_rows(graph: Graph) -> list[LayerRow]:
    """The layers of a forward graph in order of execution, one row each.

    What only reshapes or turns data inside a layer is not a row of its own.
    """
    working = {node.layer for node in graph.nodes if not isinstance(node.op, _MOVES)}
    return [
        _row(graph, node)
        for node in graph.nodes
        if node.layer not in working or not isinstance(node.op, _MOVES)
    ]


def _row(graph: Graph, node: Node) -> LayerRow:
    sig = graph.signature(node)
    held = [graph.values[n] for n in node.inputs if n.endswith(("/weight", "/bias", ".frozen"))]
    learns = any(v.role is Role.TRAINABLE for v in held)
    reason = None if learns else (IS_FROZEN if held else NO_PARAMETERS)
    quant = sig.outs[0].quant if sig.outs[0].dtype is DType.I8 else None
    return LayerRow(
        node.layer,
        display_name(graph, node),
        sig.ins[0].shape,
        sig.outs[0].shape,
        node.op.macs(sig),
        sum(v.type.count for v in held),
        learns,
        reason,
        quant.per_tensor_scale if quant else None,
        quant.zero_point if quant else None,
    )


def display_name(graph: Graph, node: Node) -> str:
    """The operator as people call it: a 1x1 convolution of one pixel is a fully connected layer."""
    if isinstance(node.op, Lut):
        return node.op.function
    if isinstance(node.op, Conv2d) and node.op.window.kernel == (1, 1):
        pixel = graph.type(node.inputs[0]).shape[1:3] == (1, 1)
        return "fully_connected" if pixel else "pointwise_conv2d"
    return node.op.kind
