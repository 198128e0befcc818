"""TensorFlow Lite's operators as layers: one small function each, all in one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tflite

from tinyengine.errors import ModelError
from tinyengine.importers.layers import Kernel, check_window, sound_shape
from tinyengine.importers.tflite_context import ACTIVATIONS, Context, quant
from tinyengine.importers.tflite_file import FileOperator
from tinyengine.ir.graph import Node
from tinyengine.ir.tensor import DType, Quant, TensorType
from tinyengine.ops.add import Add
from tinyengine.ops.borders import Dequantize, Quantize
from tinyengine.ops.layout import Concat, Pad, Reshape, Transpose
from tinyengine.ops.mean import Mean
from tinyengine.ops.mul import Mul
from tinyengine.ops.op import Op
from tinyengine.ops.pool import AvgPool, MaxPool
from tinyengine.ops.softmax import Softmax
from tinyengine.ops.window import Window

Handler = Callable[[Context, FileOperator, str], str]


def _kernel(context: Context, op: FileOperator, axis: int, rank: int) -> Kernel:
    """Weight (operand 1) and bias (operand 2, may be missing)."""
    tensor = context.tensor(op, 1)
    weight = context.constant(op, 1, tflite.TensorType.INT8)
    k = tensor.shape[axis] if len(tensor.shape) == rank else 0
    count = len(tensor.scales)
    if k < 1 or tensor.is_special or any(tensor.zero_points):
        raise ModelError(
            f"operator {op.index} ('{op.kind}'): weight '{tensor.name}' {tensor.shape} must have "
            f"rank {rank} and zero points of 0"
        )
    if count not in (1, k) or (count > 1 and tensor.axis != axis):
        raise ModelError(
            f"operator {op.index} ('{op.kind}'): weight '{tensor.name}' has {count} scales along "
            f"axis {tensor.axis}; it must have 1, or {k} along axis {axis}"
        )
    bias = np.zeros(k, np.int32)
    if len(op.inputs) > 2 and op.inputs[2] >= 0:
        bias = context.constant(op, 2, tflite.TensorType.INT32).reshape(-1)
    return Kernel(weight, np.array(tensor.scales, np.float32), bias)


def _window(
    context: Context,
    op: FileOperator,
    kernel: tuple[int, int],
    options: Any,
    dilation: tuple[int, int],
    layer: str,
) -> Window:
    x = context.layers.type(context.value(op, 0)).shape
    if len(x) != 4:
        raise ModelError(f"operator {op.index} ('{op.kind}') needs an input of rank 4, has {x}")
    stride, size = (int(options.StrideH()), int(options.StrideW())), (x[1], x[2])
    window = Window(kernel, stride, (0, 0, 0, 0), dilation)
    if int(options.Padding()) == tflite.Padding.SAME:
        if min(*kernel, *stride, *dilation) < 1:
            check_window(window, size, layer)
        window = Window.same(kernel, stride, size, dilation)
    check_window(window, size, layer)
    return window


def _conv(context: Context, op: FileOperator, layer: str) -> str:
    options = context.options(op, "Conv2D")
    kernel = _kernel(context, op, 0, 4)
    size = (kernel.weight.shape[1], kernel.weight.shape[2])
    dilation = (int(options.DilationHFactor()), int(options.DilationWFactor()))
    window = _window(context, op, size, options, dilation, layer)
    out = quant(context.out(op))
    span = context.span(op, options.FusedActivationFunction(), out)
    return context.layers.conv(context.value(op, 0), kernel, window, out, span, layer)


def _depthwise(context: Context, op: FileOperator, layer: str) -> str:
    options = context.options(op, "DepthwiseConv2D")
    kernel = _kernel(context, op, 3, 4)
    size = (kernel.weight.shape[1], kernel.weight.shape[2])
    dilation = (int(options.DilationHFactor()), int(options.DilationWFactor()))
    window = _window(context, op, size, options, dilation, layer)
    out = quant(context.out(op))
    span = context.span(op, options.FusedActivationFunction(), out)
    return context.layers.depthwise(context.value(op, 0), kernel, window, out, span, layer)


def _dense(context: Context, op: FileOperator, layer: str) -> str:
    options = context.options(op, "FullyConnected")
    if int(options.WeightsFormat()) != 0:
        raise ModelError(f"operator {op.index} ('{op.kind}') has shuffled weights")
    flat = _kernel(context, op, 0, 2)
    k, c = flat.weight.shape
    x = context.value(op, 0)
    type_ = context.layers.type(x)
    if type_.count % c:
        raise ModelError(f"layer '{layer}': weight {(k, c)} does not fit input {type_.shape}")
    if not type_.shape or type_.shape[-1] != c:
        x = context.layers.reshape(x, (type_.count // c, c), layer, f"{layer}/rows")
    weight = flat.weight.reshape(k, 1, 1, c)
    kernel = Kernel(weight, flat.scales, flat.bias, product_f32=len(flat.scales) == 1)
    out = context.out_type(op)
    assert out.quant is not None
    span = context.span(op, options.FusedActivationFunction(), out.quant)
    return context.layers.dense(x, kernel, out.quant, span, layer, out.shape)


def _binary(made: type[Add] | type[Mul], options_name: str) -> Handler:
    def append(context: Context, op: FileOperator, layer: str) -> str:
        options = context.options(op, options_name)
        names = [context.value(op, 0), context.value(op, 1)]
        out = context.out_type(op)
        assert out.quant is not None
        counts = [context.layers.type(n).count for n in names]
        if counts[0] < counts[1]:
            names.reverse()  # the broadcast operand is the second one
        rank = len(context.layers.type(names[0]).shape)
        shape = context.layers.type(names[1]).shape
        if len(shape) < rank:
            ones = (1,) * (rank - len(shape))
            names[1] = context.layers.reshape(names[1], ones + shape, layer, f"{layer}/operand")
        span = context.span(op, options.FusedActivationFunction(), out.quant)
        return context.layers.node(made(*span), names, out, layer)

    return append


def _pool(made: type[AvgPool] | type[MaxPool]) -> Handler:
    def append(context: Context, op: FileOperator, layer: str) -> str:
        options = context.options(op, "Pool2D")
        kernel = (int(options.FilterHeight()), int(options.FilterWidth()))
        window = _window(context, op, kernel, options, (1, 1), layer)
        out = context.out_type(op)
        assert out.quant is not None
        span = context.span(op, options.FusedActivationFunction(), out.quant)
        return context.layers.node(made(window, *span), (context.value(op, 0),), out, layer)

    return append


def _mean(context: Context, op: FileOperator, layer: str) -> str:
    x = context.value(op, 0)
    shape = context.layers.type(x).shape
    given = context.constant(op, 1, tflite.TensorType.INT32).reshape(-1).tolist()
    axes = {a + len(shape) if a < 0 else a for a in given}
    if not axes or min(axes) < 0 or max(axes) >= len(shape):
        raise ModelError(f"layer '{layer}': axes {given} do not fit shape {shape}")
    first, last = min(axes), max(axes)
    if any(shape[a] != 1 for a in range(first, last) if a not in axes):
        raise ModelError(f"layer '{layer}': axes {sorted(axes)} of {shape} are not neighbours")
    return context.layers.node(Mean(first, last), (x,), context.out_type(op), layer)


def _pad(context: Context, op: FileOperator, layer: str) -> str:
    x = context.value(op, 0)
    integers = (tflite.TensorType.INT32, tflite.TensorType.INT64)
    widths = context.constant(op, 1, *integers).tolist()
    type_ = context.layers.type(x)
    if len(op.inputs) > 2:
        fill = context.constant(op, 2, tflite.TensorType.INT8).reshape(-1)
        if fill.size != 1 or int(fill[0]) != type_.zero_point:
            raise ModelError(f"layer '{layer}' pads with something else than zero")
    if np.shape(widths) != (4, 2) or len(type_.shape) != 4:
        raise ModelError(f"layer '{layer}': only rank 4 can be padded, not {type_.shape}")
    (a, b, c, d), (e, f, g, h) = zip(*widths, strict=True)
    op_ = Pad((a, b, c, d), (e, f, g, h))
    return context.layers.node(op_, (x,), context.out_type(op, x), layer)


def _concat(context: Context, op: FileOperator, layer: str) -> str:
    options = context.options(op, "Concatenation")
    if ACTIVATIONS.get(options.FusedActivationFunction()) != "none":
        raise ModelError(f"layer '{layer}': a concatenation with a fused activation")
    names = [context.value(op, i) for i in range(len(op.inputs))]
    out = context.out_type(op)
    rank = len(out.shape)
    axis = int(options.Axis()) + (rank if options.Axis() < 0 else 0)
    if not 1 <= axis < rank <= 4:
        raise ModelError(f"layer '{layer}': cannot join {out.shape} along axis {axis}")
    if rank == 4:
        return context.layers.node(Concat(axis), names, out, layer)
    ones = (1,) * (4 - rank)  # behind the batch: joined as pictures of one pixel
    wide = [
        context.layers.reshape(n, _widen(context.layers.type(n).shape, ones), layer, f"{layer}/in")
        for n in names
    ]
    type_ = TensorType(_widen(out.shape, ones), DType.I8, out.quant)
    y = context.layers.node(Concat(axis + 4 - rank), wide, type_, layer, f"{layer}/out")
    return context.layers.reshape(y, out.shape, layer)


def _widen(shape: tuple[int, ...], ones: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:1], *ones, *shape[1:])


def _reshape(context: Context, op: FileOperator, layer: str) -> str:
    return _move(context, op, Reshape(), layer)


def _transpose(context: Context, op: FileOperator, layer: str) -> str:
    order = context.constant(op, 1, tflite.TensorType.INT32).reshape(-1).tolist()
    return _move(context, op, Transpose(tuple(order)), layer)


def _move(context: Context, op: FileOperator, made: Op, layer: str) -> str:
    """Elements in another order. Behind a DEQUANTIZE they are moved as int8, before it: same bits.

    What remains of the DEQUANTIZE is dead and goes with the rest of what nothing reads.
    """
    x = context.value(op, 0)
    type_ = context.out_type(op, x)
    last = context.producer(x)
    if last is None or not isinstance(last.op, Dequantize):
        return context.layers.node(made, (x,), type_, layer)
    source = context.layers.type(last.inputs[0])
    moved = TensorType(type_.shape, DType.I8, source.quant)
    y = context.layers.node(made, last.inputs, moved, layer, f"{layer}/int8")
    return context.layers.node(Dequantize(), (y,), type_, layer)


def _softmax(context: Context, op: FileOperator, layer: str) -> str:
    beta = float(context.options(op, "Softmax").Beta())
    if not 0 < beta < 1e6:
        raise ModelError(f"layer '{layer}' has beta {beta}")
    x = context.value(op, 0)
    return context.layers.node(Softmax(beta), (x,), context.out_type(op), layer)


def _logistic(context: Context, op: FileOperator, layer: str) -> str:
    out = quant(context.out(op))
    if out != Quant.per_tensor(1 / 256, -128):
        raise ModelError(f"layer '{layer}': the output must have scale 1/256 from -128, has {out}")
    return context.layers.logistic(context.value(op, 0), layer)


def _rescale(function: str) -> Handler:
    def append(context: Context, op: FileOperator, layer: str) -> str:
        out = quant(context.out(op))
        x = context.layers.type(context.value(op, 0)).quant
        if function == "relu6" and x != out:
            raise ModelError(
                f"layer '{layer}': RELU6 from {x} to {out}: with a change of scale the reference "
                "interpreters disagree; let a QUANTIZE change it"
            )
        return context.layers.requantise(context.value(op, 0), out, layer, function)

    return append


def _quantize(context: Context, op: FileOperator, layer: str) -> str:
    """Quantises the model's input. Moves of its float elements come after instead: same bits."""
    x = context.value(op, 0)
    if context.layers.type(x).dtype is DType.I8:
        return _rescale("requantise")(context, op, layer)
    moves: list[Node] = []
    while (node := context.producer(x)) is not None and isinstance(node.op, Reshape | Transpose):
        moves.insert(0, node)
        x = node.inputs[0]
    if node is not None:
        raise ModelError(f"layer '{layer}' quantises '{x}', computed in float32, inside the model")
    layers, out = context.layers, context.out_type(op)
    first = TensorType(layers.type(x).shape, DType.I8, out.quant)
    y = layers.node(Quantize(), (x,), first, layer)
    for move in moves:
        type_ = TensorType(layers.type(move.outputs[0]).shape, DType.I8, out.quant)
        y = layers.node(move.op, (y,), type_, move.layer, f"{move.layer}/int8")
    return y


def _dequantize(context: Context, op: FileOperator, layer: str) -> str:
    shape = sound_shape(context.out(op).shape, f"layer '{layer}'")
    type_ = TensorType(shape, DType.F32)
    return context.layers.node(Dequantize(), (context.value(op, 0),), type_, layer)


HANDLERS: dict[str, tuple[str, Handler]] = {
    "QUANTIZE": ("quantize", _quantize),
    "DEQUANTIZE": ("dequantize", _dequantize),
    "CONV_2D": ("conv2d", _conv),
    "DEPTHWISE_CONV_2D": ("depthwise", _depthwise),
    "FULLY_CONNECTED": ("dense", _dense),
    "ADD": ("add", _binary(Add, "Add")),
    "MUL": ("mul", _binary(Mul, "Mul")),
    "AVERAGE_POOL_2D": ("avg_pool", _pool(AvgPool)),
    "MAX_POOL_2D": ("max_pool", _pool(MaxPool)),
    "MEAN": ("mean", _mean),
    "RELU": ("relu", _rescale("relu")),
    "RELU6": ("relu6", _rescale("relu6")),
    "LOGISTIC": ("logistic", _logistic),
    "SOFTMAX": ("softmax", _softmax),
    "PAD": ("pad", _pad),
    "PADV2": ("pad", _pad),
    "CONCATENATION": ("concat", _concat),
    "RESHAPE": ("reshape", _reshape),
    "SQUEEZE": ("squeeze", _reshape),
    "EXPAND_DIMS": ("expand_dims", _reshape),
    "TRANSPOSE": ("transpose", _transpose),
}
