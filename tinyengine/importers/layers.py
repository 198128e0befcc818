"""What all importers share: layers appended to a graph under construction, each checked at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyengine.errors import ModelError
from tinyengine.ir.graph import Builder
from tinyengine.ir.tensor import Array, DType, Quant, Role, TensorType
from tinyengine.ops import tables
from tinyengine.ops.conv2d import Conv2d, requantisation
from tinyengine.ops.depthwise import DepthwiseConv2d
from tinyengine.ops.layout import Reshape
from tinyengine.ops.lut import Lut
from tinyengine.ops.op import Op, Signature, TypeRuleError
from tinyengine.ops.window import Window

ELEMENTS_MAX = 64 * 1024 * 1024  # of all tensors together: far beyond any microcontroller
RANK_MAX = 8


@dataclass(frozen=True, slots=True)
class Kernel:
    """A convolution's parameters: weight i8, its scales (1,) or (k,) f32, bias (k,) i32.

    weight is (k, kh, kw, c), or (1, kh, kw, c * m) for a depthwise convolution. `product_f32`: the
    scales of input and weight are multiplied in float32, as TFLite does for FULLY_CONNECTED.
    """

    weight: Array
    scales: Array
    bias: Array
    product_f32: bool = False


class Layers:
    """A Builder that knows layers. Every method returns the name of the layer's output."""

    def __init__(self, name: str, source: str) -> None:
        self.builder = Builder(name)
        self.builder.meta["source"] = source
        self._elements = 0

    def type(self, value: str) -> TensorType:
        """Type of a value added so far."""
        return self.builder.type(value)

    def node(
        self, op: Op, inputs: Sequence[str], out: TensorType, layer: str, hint: str | None = None
    ) -> str:
        """Append `op` and check it.

        Raises:
            ModelError: the types break the operator's rule.
        """
        self._count(out, layer)
        try:
            op.check(Signature(tuple(self.type(x) for x in inputs), (out,)))
        except TypeRuleError as error:
            raise ModelError(f"layer '{layer}' ({op.kind}): {error}") from None
        return self.builder.node(op, inputs, [(hint or layer, out)], layer)[0]

    def _count(self, type_: TensorType, layer: str) -> None:
        self.room(layer, type_.shape)
        self._elements += type_.count

    def room(self, layer: str, *shapes: tuple[int, ...]) -> None:
        """Refuse tensors of these shapes before anything is computed for them.

        Raises:
            ModelError: with those added so far they hold too many elements.
        """
        total = self._elements + sum(math.prod(shape) for shape in shapes)
        if total > ELEMENTS_MAX:
            raise ModelError(
                f"layer '{layer}': tensors up to here hold {total:,} elements; at most "
                f"{ELEMENTS_MAX:,} are supported"
            )

    def constant(self, hint: str, data: Array, dtype: DType, quant: Quant | None = None) -> str:
        """A constant that no scheme updates."""
        return self.builder.constant(hint, data, dtype, quant)

    def conv(
        self, x: str, kernel: Kernel, window: Window, out: Quant, span: tuple[int, int], layer: str
    ) -> str:
        """Int8 convolution; `span` is the activation range (lo, hi)."""
        n, h, w, _ = self._rank4(x, layer)
        k = kernel.weight.shape[0]
        inputs = self._parameters(x, kernel, k, 0, out, layer)
        shape = (n, *self._out_size(window, (h, w), layer), k)
        return self.node(Conv2d(window, *span), inputs, TensorType(shape, DType.I8, out), layer)

    def depthwise(
        self, x: str, kernel: Kernel, window: Window, out: Quant, span: tuple[int, int], layer: str
    ) -> str:
        """Int8 depthwise convolution; `span` is the activation range (lo, hi)."""
        n, h, w, _ = self._rank4(x, layer)
        k = kernel.weight.shape[3]
        inputs = self._parameters(x, kernel, k, 3, out, layer)
        shape = (n, *self._out_size(window, (h, w), layer), k)
        op = DepthwiseConv2d(window, *span)
        return self.node(op, inputs, TensorType(shape, DType.I8, out), layer)

    def dense(
        self,
        x: str,
        kernel: Kernel,
        out: Quant,
        span: tuple[int, int],
        layer: str,
        shape: tuple[int, ...] | None = None,
    ) -> str:
        """Fully connected over the last axis of x, as a 1x1 convolution; (rows, k) comes out.

        shape: what the output is called instead, with as many elements.
        """
        c = self.type(x).shape[-1]
        rows = self.type(x).count // c
        pixels = self.reshape(x, (1, rows, 1, c), layer, f"{layer}/in")
        k = kernel.weight.shape[0]
        inputs = self._parameters(pixels, kernel, k, 0, out, layer)
        type_ = TensorType((1, rows, 1, k), DType.I8, out)
        y = self.node(Conv2d(Window((1, 1)), *span), inputs, type_, layer, f"{layer}/out")
        return self.reshape(y, shape or (rows, k), layer)

    def reshape(self, x: str, shape: tuple[int, ...], layer: str, hint: str | None = None) -> str:
        """x under another shape."""
        type_ = self.type(x)
        out = TensorType(shape, type_.dtype, type_.quant)
        return self.node(Reshape(), (x,), out, layer, hint)

    def requantise(self, x: str, out: Quant, layer: str, function: str = "requantise") -> str:
        """A change of scale; `function` requantise, relu, relu6 or relu_n1_to_1 clamps too."""
        activation = "none" if function == "requantise" else function
        type_ = TensorType(self.type(x).shape, DType.I8, out)
        span = activation_range(activation, out)
        self._quantised(x, layer)
        try:
            pair = tables.requantise_table(self.type(x), type_, *span)
        except ValueError as error:
            raise ModelError(f"layer '{layer}': {error}") from None
        return self._lut(x, function, pair, type_, layer)

    def logistic(self, x: str, layer: str) -> str:
        """Logistic function; the output has scale 1/256 and zero point -128."""
        self._quantised(x, layer)
        type_ = TensorType(self.type(x).shape, DType.I8, Quant.per_tensor(1 / 256, -128))
        try:
            pair = tables.logistic_table(self.type(x))
        except ValueError as error:
            raise ModelError(f"layer '{layer}': {error}") from None
        return self._lut(x, "logistic", pair, type_, layer)

    def _lut(
        self, x: str, function: str, pair: tuple[Array, Array], out: TensorType, layer: str
    ) -> str:
        table = self.constant(f"{layer}/table", pair[0], DType.I8)
        slope = self.constant(f"{layer}/slope", pair[1], DType.F32)
        return self.node(Lut(function), (x, table, slope), out, layer)

    def _parameters(
        self, x: str, kernel: Kernel, k: int, axis: int, out: Quant, layer: str
    ) -> tuple[str, ...]:
        quant = self._quantised(x, layer)
        scales = np.asarray(kernel.scales, np.float32)
        if kernel.bias.shape != (k,) or scales.shape not in ((1,), (k,)):
            raise ModelError(
                f"layer '{layer}' has {k} output channels, but {kernel.bias.size} biases and "
                f"{scales.size} weight scales"
            )
        product = scales.astype(np.float64) * quant.scale[0]  # the bias's scale, a float32
        sound = (product >= np.finfo(np.float32).tiny) & (product < np.finfo(np.float32).max)
        if not sound.all():
            k = int(np.argmin(sound))
            raise ModelError(
                f"layer '{layer}': weight scale {scales[k]:g} of channel {k} times input scale "
                f"{quant.scale[0]:g} is not a positive float32"
            )
        multiplier, shift = self._requantisation(quant, kernel, scales, k, out, layer)
        weight = np.asarray(kernel.weight, np.int8)
        types = [
            TensorType(weight.shape, DType.I8, _weight_quant(scales, axis)),
            TensorType((k,), DType.I32, _weight_quant(scales * np.float32(quant.scale[0]), 0)),
        ]
        for type_ in types:
            self._count(type_, layer)
        b, learns = self.builder, Role.TRAINABLE
        return (
            x,
            b.value(f"{layer}/weight", types[0], learns, weight),
            b.value(f"{layer}/bias", types[1], learns, np.asarray(kernel.bias, np.int32)),
            b.constant(f"{layer}/multiplier", multiplier, DType.I32),
            b.constant(f"{layer}/shift", shift, DType.I32),
        )

    def _requantisation(
        self, x: Quant, kernel: Kernel, scales: Array, k: int, out: Quant, layer: str
    ) -> tuple[Array, Array]:
        s_x, each = x.scale[0], np.broadcast_to(scales, (k,))
        try:
            if kernel.product_f32:
                product = np.float32(s_x) * each
                return requantisation(1.0, product, out.scale[0])
            return requantisation(s_x, each, out.scale[0])
        except ValueError as error:
            raise ModelError(f"layer '{layer}': {error}") from None

    def _quantised(self, x: str, layer: str) -> Quant:
        type_ = self.type(x)
        if type_.dtype is not DType.I8 or type_.quant is None:
            raise ModelError(
                f"layer '{layer}' computes on '{x}', which is {type_.dtype.value}: it must be "
                "quantised int8; convert the model with full-integer quantisation"
            )
        return type_.quant

    def _rank4(self, x: str, layer: str) -> tuple[int, int, int, int]:
        shape = self.type(x).shape
        if len(shape) != 4:
            raise ModelError(f"layer '{layer}' needs an input of rank 4 (NHWC), has {shape}")
        return shape[0], shape[1], shape[2], shape[3]

    def _out_size(self, window: Window, size: tuple[int, int], layer: str) -> tuple[int, int]:
        check_window(window, size, layer)
        return window.out_size(size)


def check_window(window: Window, size: tuple[int, int], layer: str) -> None:
    """Refuse windows that do not fit their input, or are absurdly large.

    Raises:
        ModelError: with the layer and the numbers.
    """
    numbers = (*window.kernel, *window.stride, *window.dilation)
    limit = max(64, *size)
    if min(numbers) < 1 or max(*window.kernel, *window.dilation) > limit or max(numbers) > 1 << 15:
        raise ModelError(
            f"layer '{layer}': kernel {window.kernel}, stride {window.stride}, dilation "
            f"{window.dilation} on {size} pixels: each must be at least 1 and kernel and dilation "
            f"at most {limit}"
        )
    if min(window.out_size(size)) < 1:
        raise ModelError(
            f"layer '{layer}': kernel {window.kernel} with dilation {window.dilation} does not fit "
            f"into {size} pixels with padding {window.padding}"
        )


def _weight_quant(scales: Array, axis: int) -> Quant:
    if scales.shape == (1,):
        return Quant.per_tensor(float(scales[0]))
    return Quant.per_axis(scales, axis)


def make_quant(scale: float, zero_point: int, what: str) -> Quant:
    """A per-tensor quantisation whose numbers are sound; `what` names it in the message.

    Raises:
        ModelError: the scale is not a positive float32 or the zero point is not int8.
    """
    with np.errstate(over="ignore"):
        rounded = float(np.float32(scale))
    if not (math.isfinite(rounded) and rounded > 0):
        raise ModelError(f"{what} has scale {scale!r}: it must be a positive number")
    if not -128 <= zero_point <= 127:
        raise ModelError(f"{what} has zero point {zero_point}, outside [-128, 127]")
    return Quant.per_tensor(rounded, zero_point)


_RANGES: dict[str, tuple[float | None, float | None]] = {
    "none": (None, None),
    "relu": (0.0, None),
    "relu6": (0.0, 6.0),
    "relu_n1_to_1": (-1.0, 1.0),
}
ACTIVATIONS = tuple(_RANGES)


def activation_range(activation: str, out: Quant) -> tuple[int, int]:
    """(lo, hi) of a fused activation on the output's integers, as TFLite rounds it.

    activation: none, relu, relu6 or relu_n1_to_1.
    """
    low, high = _RANGES[activation]
    lo = -128 if low is None else max(-128, _code(low, out))
    hi = 127 if high is None else min(127, _code(high, out))
    return lo, hi


def _code(real: float, quant: Quant) -> int:
    with np.errstate(over="ignore"):
        scaled = float(np.float32(real) / np.float32(quant.scale[0]))
    rounded = math.floor(abs(scaled) + 0.5) if abs(scaled) < 1e6 else 1_000_000
    return quant.zero_point + int(math.copysign(rounded, scaled))


def sound_shape(shape: Sequence[int], what: str) -> tuple[int, ...]:
    """`shape` as a tuple, all sizes positive and not too many of anything.

    Raises:
        ModelError: naming `what`.
    """
    sizes = tuple(int(n) for n in shape)
    if len(sizes) > RANK_MAX or any(n < 1 for n in sizes) or math.prod(sizes) > ELEMENTS_MAX:
        shown = ", ".join(map(str, sizes[:RANK_MAX])) + (", ..." if len(sizes) > RANK_MAX else "")
        raise ModelError(
            f"{what} has shape ({shown}): sizes must be positive, at most {RANK_MAX} axes and "
            f"{ELEMENTS_MAX:,} elements"
        )
    return sizes
