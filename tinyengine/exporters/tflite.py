"""A forward graph as an int8 .tflite file, which computes the same bits.

TFLite derives multipliers from scales and clamps only where an activation says so. What it cannot
say (a split weight's channel order, a float head, another range) is refused, never dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tflite

from tinyengine.errors import ModelError
from tinyengine.exporters.flatbuffer import Options, Writer
from tinyengine.importers.layers import ACTIVATIONS, activation_range
from tinyengine.ir.graph import Graph, Node
from tinyengine.ir.tensor import Array, DType, Quant, TensorType
from tinyengine.ops import tables
from tinyengine.ops.add import Add
from tinyengine.ops.borders import Dequantize, Quantize
from tinyengine.ops.conv2d import Conv2d, requantisation
from tinyengine.ops.depthwise import DepthwiseConv2d
from tinyengine.ops.layout import Concat, Pad, Reshape, Transpose
from tinyengine.ops.lut import Lut
from tinyengine.ops.mean import Mean
from tinyengine.ops.mul import Mul
from tinyengine.ops.op import Op
from tinyengine.ops.pool import AvgPool, MaxPool
from tinyengine.ops.softmax import Softmax
from tinyengine.ops.window import Window

_FUSED = {
    "none": tflite.ActivationFunctionType.NONE,
    "relu": tflite.ActivationFunctionType.RELU,
    "relu6": tflite.ActivationFunctionType.RELU6,
    "relu_n1_to_1": tflite.ActivationFunctionType.RELU_N1_TO_1,
}


def export_tflite(graph: Graph, state: Mapping[str, Array] | None = None) -> bytes:
    """The bytes of a .tflite file that computes what `graph` computes.

    state: current arrays of trainables, by name; those not given have the graph's own data.

    Raises:
        ModelError: the graph holds something that TFLite cannot say; all such operators are named.
    """
    strange = [node for node in graph.nodes if type(node.op) not in _RULES]
    unknown = sorted({f"'{node.op.kind}' ({node.layer})" for node in strange})
    if unknown:
        raise ModelError(f"cannot be written to .tflite: operators {', '.join(unknown)}")
    exporter = _Exporter(graph, state or {})
    for node in graph.nodes:
        _RULES[type(node.op)](exporter, node, node.op)
    ends = [[exporter.index(name) for name in names] for names in (graph.inputs, graph.outputs)]
    return exporter.writer.finish(graph.name, *ends)


class _Exporter:
    def __init__(self, graph: Graph, state: Mapping[str, Array]) -> None:
        self.graph, self.state = graph, state
        self.writer = Writer()
        self._indices: dict[str, int] = {}

    def data(self, name: str) -> Array:
        """A constant's data, the caller's if given."""
        value = self.graph.values[name]
        array = np.asarray(self.state.get(name, value.require_data()))
        if array.shape != value.type.shape or array.dtype != value.type.dtype.numpy:
            raise ModelError(
                f"state '{name}' is {array.dtype} {array.shape}, the model has "
                f"{value.type.dtype.value} {value.type.shape}"
            )
        return array

    def index(self, name: str) -> int:
        """The tensor of a value, added when first asked for."""
        if name not in self._indices:
            value, type_ = self.graph.values[name], self.graph.type(name)
            data = None if value.data is None else self.data(name)
            self._indices[name] = self.writer.tensor(
                name, type_.shape, type_.dtype, type_.quant, data
            )
        return self._indices[name]

    def integers(self, name: str, values: Any) -> int:
        """An int32 constant of the file's own: a shape, axes, paddings."""
        data = np.array(values, np.int32)
        return self.writer.tensor(name, data.shape, DType.I32, None, data)

    def emit(
        self,
        kind: str,
        version: int,
        node: Node,
        options: Options | None,
        inputs: list[int] | None = None,
    ) -> None:
        """An operator that makes the node's output."""
        if inputs is None:
            inputs = [self.index(x) for x in node.inputs]
        self.writer.operator(kind, version, inputs, [self.index(node.outputs[0])], options)

    def fused(self, node: Node, lo: int, hi: int) -> int:
        """The activation that clamps to [lo, hi]."""
        out = self.graph.type(node.outputs[0]).quant
        assert out is not None
        for name in ACTIVATIONS:
            if activation_range(name, out) == (lo, hi):
                return int(_FUSED[name])
        raise ModelError(
            f"layer '{node.layer}': no TFLite activation clamps to [{lo}, {hi}] at scale "
            f"{out.scale[0]:g}, zero point {out.zero_point}"
        )

    def padded(self, node: Node, window: Window) -> tuple[int, int]:
        """(input tensor, padding): SAME or VALID where they fit, else a PAD comes before."""
        x = node.inputs[0]
        type_ = self.graph.type(x)
        _, h, w, c = type_.shape
        padding = _padding(window, (h, w))
        if padding is not None:
            return self.index(x), padding
        top, bottom, left, right = window.padding
        widths = [[0, 0], [top, bottom], [left, right], [0, 0]]
        shape = (1, h + top + bottom, w + left + right, c)
        wide = self.writer.tensor(f"{node.outputs[0]}/padded", shape, DType.I8, type_.quant)
        by = self.integers(f"{node.outputs[0]}/padding", widths)
        self.writer.operator("PAD", 2, [self.index(x), by], [wide], Options("Pad"))
        return wide, int(tflite.Padding.VALID)


def _padding(window: Window, size: tuple[int, int]) -> int | None:
    if not any(window.padding):
        return int(tflite.Padding.VALID)
    if window == Window.same(window.kernel, window.stride, size, window.dilation):
        return int(tflite.Padding.SAME)
    return None


def _conv_fields(window: Window, padding: int, fused: int) -> dict[str, int]:
    return {
        "Padding": padding,
        "StrideW": window.stride[1],
        "StrideH": window.stride[0],
        "DilationWFactor": window.dilation[1],
        "DilationHFactor": window.dilation[0],
        "FusedActivationFunction": fused,
    }


def _implied(e: _Exporter, node: Node, product_f32: bool) -> bool:
    """Whether the node's multipliers are those that its scales imply."""
    x, weight, out = (e.graph.type(n) for n in (node.inputs[0], node.inputs[1], node.outputs[0]))
    multiplier, shift = e.data(node.inputs[3]), e.data(node.inputs[4])
    assert weight.quant is not None
    scales = weight.quant.scales_of(len(multiplier))
    s_x = x.scale
    if product_f32:
        scales, s_x = np.float32(s_x) * scales, 1.0
    wanted = requantisation(s_x, scales, out.scale)
    return bool((wanted[0] == multiplier).all() and (wanted[1] == shift).all())


def _not_implied(node: Node) -> ModelError:
    return ModelError(
        f"layer '{node.layer}': its multipliers are not those that its scales imply, and a .tflite "
        "holds only scales"
    )


def _conv(e: _Exporter, node: Node, op: Op) -> None:
    assert isinstance(op, Conv2d)
    if len(node.inputs) != 5:
        raise ModelError(f"layer '{node.layer}' has a split weight; export the unsplit graph")
    weight, x = e.graph.type(node.inputs[1]), e.graph.type(node.inputs[0])
    assert weight.quant is not None
    fused = e.fused(node, op.lo, op.hi)
    flat = op.window == Window((1, 1)) and x.shape[2] == 1 and weight.quant.axis is None
    if flat and _implied(e, node, product_f32=True):
        _dense(e, node, weight, fused)
        return
    if not _implied(e, node, product_f32=False):
        raise _not_implied(node)
    source, padding = e.padded(node, op.window)
    inputs = [source, e.index(node.inputs[1]), e.index(node.inputs[2])]
    options = Options("Conv2D", _conv_fields(op.window, padding, fused))
    e.emit("CONV_2D", 3, node, options, inputs)


def _dense(e: _Exporter, node: Node, weight: TensorType, fused: int) -> None:
    k, c = weight.shape[0], weight.shape[3]
    data = e.data(node.inputs[1]).reshape(k, c)
    flat = e.writer.tensor(node.inputs[1], (k, c), DType.I8, weight.quant, data)
    inputs = [e.index(node.inputs[0]), flat, e.index(node.inputs[2])]
    fields = {"FusedActivationFunction": fused, "KeepNumDims": True}
    e.emit("FULLY_CONNECTED", 5, node, Options("FullyConnected", fields), inputs)


def _depthwise(e: _Exporter, node: Node, op: Op) -> None:
    assert isinstance(op, DepthwiseConv2d)
    if not _implied(e, node, product_f32=False):
        raise _not_implied(node)
    x, weight = e.graph.type(node.inputs[0]), e.graph.type(node.inputs[1])
    source, padding = e.padded(node, op.window)
    inputs = [source, e.index(node.inputs[1]), e.index(node.inputs[2])]
    fields = _conv_fields(op.window, padding, e.fused(node, op.lo, op.hi))
    fields["DepthMultiplier"] = weight.shape[3] // x.shape[3]
    e.emit("DEPTHWISE_CONV_2D", 3, node, Options("DepthwiseConv2D", fields), inputs)


def _add(e: _Exporter, node: Node, op: Op) -> None:
    assert isinstance(op, Add)
    fields = {"FusedActivationFunction": e.fused(node, op.lo, op.hi)}
    e.emit("ADD", 2, node, Options("Add", fields))


def _mul(e: _Exporter, node: Node, op: Op) -> None:
    assert isinstance(op, Mul)
    fields = {"FusedActivationFunction": e.fused(node, op.lo, op.hi)}
    e.emit("MUL", 2, node, Options("Mul", fields))


def _pool(e: _Exporter, node: Node, op: Op) -> None:
    assert isinstance(op, AvgPool | MaxPool)
    shape, window = e.graph.type(node.inputs[0]).shape, op.window
    padding = _padding(window, (shape[1], shape[2]))
    if padding is None:
        raise ModelError(
            f"layer '{node.layer}': padding {window.padding} is neither TFLite's SAME nor VALID"
        )
    fields = {
        "Padding": padding,
        "StrideW": window.stride[1],
        "StrideH": window.stride[0],
        "FilterWidth": window.kernel[1],
        "FilterHeight": window.kernel[0],
        "FusedActivationFunction": e.fused(node, op.lo, op.hi),
    }
    kind = "AVERAGE_POOL_2D" if isinstance(op, AvgPool) else "MAX_POOL_2D"
    e.emit(kind, 2, node, Options("Pool2D", fields))


def _mean(e: _Exporter, node: Node, op: Op) -> None:
    assert isinstance(op, Mean)
    x, out = e.graph.type(node.inputs[0]).shape, e.graph.type(node.outputs[0]).shape
    axes = list(range(op.first, op.last + 1))
    keep = tuple(1 if i in axes else n for i, n in enumerate(x)) == out
    if not keep and out != x[: op.first] + x[op.last + 1 :]:
        raise ModelError(f"layer '{node.layer}': a mean of {x} over {axes} has not shape {out}")
    inputs = [e.index(node.inputs[0]), e.integers(f"{node.outputs[0]}/axes", axes)]
    e.emit("MEAN", 2, node, Options("Reducer", {"KeepDims": keep}), inputs)


def _lut(e: _Exporter, node: Node, op: Op) -> None:
    assert isinstance(op, Lut)
    x, y = e.graph.type(node.inputs[0]), e.graph.type(node.outputs[0])
    known = {
        "requantise": ("QUANTIZE", "Quantize", "none"),
        "relu": ("RELU", None, "relu"),
        "relu6": ("RELU6", None, "relu6"),
        "logistic": ("LOGISTIC", None, "none"),
    }
    if op.function not in known:
        raise ModelError(f"layer '{node.layer}': function '{op.function}' has no TFLite operator")
    kind, options, activation = known[op.function]
    assert y.quant is not None
    if op.function == "logistic":
        table, _ = tables.logistic_table(x)
        fits = y.quant == Quant.per_tensor(1 / 256, -128)
    else:
        table, _ = tables.requantise_table(x, y, *activation_range(activation, y.quant))
        # tflite-micro's RELU6 does not change the scale, TFLite's does.
        fits = op.function != "relu6" or x.quant == y.quant
    if not fits or (table != e.data(node.inputs[1])).any():
        raise ModelError(f"layer '{node.layer}': its table is not TFLite's {kind}")
    e.emit(kind, 2, node, Options(options) if options else None, [e.index(node.inputs[0])])


def _softmax(e: _Exporter, node: Node, op: Op) -> None:
    assert isinstance(op, Softmax)
    e.emit("SOFTMAX", 2, node, Options("Softmax", {"Beta": op.beta}))


def _pad(e: _Exporter, node: Node, op: Op) -> None:
    assert isinstance(op, Pad)
    widths = [list(pair) for pair in zip(op.before, op.after, strict=True)]
    inputs = [e.index(node.inputs[0]), e.integers(f"{node.outputs[0]}/padding", widths)]
    e.emit("PAD", 2, node, Options("Pad"), inputs)


def _concat(e: _Exporter, node: Node, op: Op) -> None:
    assert isinstance(op, Concat)
    e.emit("CONCATENATION", 2, node, Options("Concatenation", {"Axis": op.axis}))


def _reshape(e: _Exporter, node: Node, op: Op) -> None:
    shape = e.graph.type(node.outputs[0]).shape
    inputs = [e.index(node.inputs[0]), e.integers(f"{node.outputs[0]}/shape", shape)]
    e.emit("RESHAPE", 1, node, Options("Reshape"), inputs)


def _transpose(e: _Exporter, node: Node, op: Op) -> None:
    assert isinstance(op, Transpose)
    inputs = [e.index(node.inputs[0]), e.integers(f"{node.outputs[0]}/order", op.order)]
    e.emit("TRANSPOSE", 2, node, Options("Transpose"), inputs)


def _quantize(e: _Exporter, node: Node, op: Op) -> None:
    e.emit("QUANTIZE", 1, node, Options("Quantize"))


def _dequantize(e: _Exporter, node: Node, op: Op) -> None:
    e.emit("DEQUANTIZE", 2, node, Options("Dequantize"))


_RULES: Mapping[type[Op], Callable[[_Exporter, Node, Op], None]] = {
    Conv2d: _conv,
    DepthwiseConv2d: _depthwise,
    Add: _add,
    Mul: _mul,
    AvgPool: _pool,
    MaxPool: _pool,
    Mean: _mean,
    Lut: _lut,
    Softmax: _softmax,
    Pad: _pad,
    Concat: _concat,
    Reshape: _reshape,
    Transpose: _transpose,
    Quantize: _quantize,
    Dequantize: _dequantize,
}
