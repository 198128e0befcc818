"""Int8 convolution, its input gradient and its weight gradient.

Fully connected layers are 1x1 convolutions of a 1x1 picture: there is one way through the house.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType, Quant, TensorType
from tinyengine.ops import fixed
from tinyengine.ops.exponent import (
    GradientOp,
    Scaling,
    expect_gradient,
    is_integer,
    scaled_bits,
    shifted_gradient,
    weight_gradient_shift,
)
from tinyengine.ops.fixed import I64
from tinyengine.ops.op import (
    Band,
    Op,
    Signature,
    expect,
    expect_count,
    expect_dtype,
    expect_quantised,
    expect_shape,
)
from tinyengine.ops.window import Window

if TYPE_CHECKING:
    from tinyengine.ir.graph import Node
    from tinyengine.passes.backward import Tape

X, WEIGHT, BIAS, MULTIPLIER, SHIFT, FROZEN = range(6)


@dataclass(frozen=True, slots=True)
class Conv2d(Op):
    """y = clamp(requantise(conv(x - zero(x), w) + b) + zero(y), lo, hi).

    x (n, h, w, c) i8; weight (k, kh, kw, c) i8 symmetric per channel or per tensor; bias (k,) i32
    with scale s_x * s_w; multiplier (k,) i32 and shift (k,) i32 with s_x * s_w / s_y =
    multiplier * 2**(shift - 31). Padding reads as real zero. A sixth input splits the weight:
    `weight` holds the first input channels, it the rest.
    The sum with the bias saturates: dead channels carry a bias of INT32_MIN.
    """

    kind: ClassVar[str] = "conv2d"
    window: Window
    lo: int = -128
    hi: int = 127

    def check(self, sig: Signature) -> None:
        expect(len(sig.ins) in (5, 6) and len(sig.outs) == 1, "takes 5 or 6 inputs and 1 output")
        x, weight, out = sig.ins[X], sig.ins[WEIGHT], sig.outs[0]
        expect_quantised(x, "input")
        expect_quantised(out, "output")
        expect_dtype(weight, DType.I8, "weight")
        expect(len(x.shape) == 4 and len(weight.shape) == 4, "input and weight must have rank 4")
        k, kh, kw, c = weight.shape
        if len(sig.ins) > FROZEN:
            rest = sig.ins[FROZEN]
            expect_dtype(rest, DType.I8, "frozen weight")
            expect_shape(rest, (k, kh, kw, *rest.shape[3:]), "frozen weight")
            c += rest.shape[3]
        check_weight(weight, 0)
        expect(x.shape[3] == c, f"input has {x.shape[3]} channels, weight has {c}")
        self.window.check()
        expect(self.window.kernel == (kh, kw), f"kernel {self.window.kernel}, weight {(kh, kw)}")
        oh, ow = self.window.out_size((x.shape[1], x.shape[2]))
        expect_shape(out, (x.shape[0], oh, ow, k), "output")
        check_requantisation(sig, k, BIAS)
        check_range(self.lo, self.hi)

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        x, weight = ins[X], ins[WEIGHT]
        if len(ins) > FROZEN:
            weight = np.concatenate([weight, ins[FROZEN]], axis=3)
        centred = x.astype(np.float64) - sig.ins[X].zero_point
        size = (x.shape[1], x.shape[2])
        oh, ow = self.window.out_size(size)
        # float64 sums of int8 products are exact far beyond any real layer (2**53).
        acc = np.zeros((x.shape[0], oh, ow, weight.shape[0]))
        taps = weight.astype(np.float64)
        for tap in self.window.taps(size):
            part = centred[(slice(None), *tap.into)] @ taps[:, tap.ky, tap.kx, :].T
            acc[(slice(None), *tap.out)] += part
        total = fixed.saturate_i32(acc.astype(np.int64) + ins[BIAS].astype(np.int64))
        y = fixed.requantise(total, ins[MULTIPLIER], ins[SHIFT]) + sig.outs[0].zero_point
        return (np.clip(y, self.lo, self.hi).astype(np.int8),)

    def macs(self, sig: Signature) -> int:
        return sig.outs[0].count * sig.ins[X].shape[3] * int(np.prod(self.window.kernel))

    def band(self, sig: Signature, row: int, count: int = 1) -> Band | None:
        found = self.window.band(row, count, sig.ins[0].shape[1])
        if found is None:
            return None
        rows = (found[1], *[None] * (len(sig.ins) - 1))
        return Band(replace(self, window=found[0]), rows, count)

    def backward(self, tape: Tape, node: Node) -> None:
        x, weight, bias = node.inputs[X], node.inputs[WEIGHT], node.inputs[BIAS]
        d = tape.inside(node, self.lo, self.hi)
        tape.bias_gradient(bias, d, node.layer)
        w_type, x_type = tape.type(weight), tape.type(x)
        if tape.wants(x):
            scale = tape.weight_scale(weight, w_type.shape[0])
            inputs = (d, weight, scale)
            d_type = TensorType(x_type.shape, DType.F32)
            tape.add(x, tape.emit(Conv2dBwdInput(self.window), inputs, d_type, f"d_{x}", node))
        if tape.learns(weight):
            op = Conv2dBwdWeight(self.window)
            d_type = TensorType(w_type.shape, DType.F32, Quant.per_tensor(x_type.scale))
            tape.parameter(weight, tape.emit(op, (d, x), d_type, f"d_{weight}", node))


@dataclass(frozen=True, slots=True)
class Conv2dBwdInput(GradientOp):
    """d_x = sum over taps (ky, kx in raster order) and then output channels k of d_y s_k w.

    d_y (n, oh, ow, k) f32; weight (k, kh, kw, c) i8; scale (k,) f32 -> d_x (n, h, w, c) f32.
    Each product is (d_y * s_k) * w, rounded after every operation, added in that order to +0.
    With a fourth input the weight is split as in Conv2d.
    In integers scale is i16 times the unit of its type: d' = floor(d_y * scale / 2**r + 1/2) is
    int16, and the sum of d' * w is rescaled by unit * 2**r.
    """

    kind: ClassVar[str] = "conv2d_bwd_input"
    window: Window

    def check(self, sig: Signature) -> None:
        expect(len(sig.ins) in (3, 4) and len(sig.outs) == 1, "takes 3 or 4 inputs and 1 output")
        d, weight, scale = sig.ins[:3]
        out = sig.outs[0]
        expect_dtype(d, DType.F32, "output gradient")
        expect_dtype(weight, DType.I8, "weight")
        expect_dtype(out, DType.F32, "input gradient")
        expect_shape(scale, (weight.shape[0],), "scale")
        c = weight.shape[3] + (sig.ins[3].shape[3] if len(sig.ins) > 3 else 0)
        expect(len(out.shape) == 4 and out.shape[3] == c, f"input gradient must have {c} channels")
        size = self.window.out_size((out.shape[1], out.shape[2]))
        expect_shape(d, (out.shape[0], *size, weight.shape[0]), "output gradient")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        d, weight, scale = ins[:3]
        if len(ins) > 3:
            weight = np.concatenate([weight, ins[3]], axis=3)
        taps = weight.astype(np.float32)
        d_x = np.zeros(sig.outs[0].shape, np.float32)
        for tap in self.window.taps((d_x.shape[1], d_x.shape[2])):
            part = d_x[(slice(None), *tap.into)]
            scaled = d[(slice(None), *tap.out)] * scale
            for k in range(weight.shape[0]):
                part += scaled[..., k : k + 1] * taps[k, tap.ky, tap.kx]
        return (d_x,)

    def scaled_bits(self, sig: Signature) -> int:
        """The r of the integer form."""
        k, kh, kw = sig.ins[1].shape[:3]
        return scaled_bits(sig.ins[0].dtype, k * kh * kw)

    def integers(self, sig: Signature, ins: Sequence[Array], scaling: Scaling) -> I64:
        d, weight, scale = ins[:3]
        if len(ins) > 3:
            weight = np.concatenate([weight, ins[3]], axis=3)
        r = self.scaled_bits(sig)
        product = d.astype(np.int64) * scale
        scaled = ((product + (1 << (r - 1))) >> r).astype(np.float64)
        # float64 sums of these are exact
        d_x, taps = np.zeros(sig.outs[0].shape), weight.astype(np.float64)
        for tap in self.window.taps((d_x.shape[1], d_x.shape[2])):
            part = scaled[(slice(None), *tap.out)] @ taps[:, tap.ky, tap.kx]
            d_x[(slice(None), *tap.into)] += part
        return scaling.by(d_x.astype(np.int64), *self.factor(sig))

    def check_integers(self, sig: Signature) -> None:
        expect_dtype(sig.ins[2], DType.I16, "scale")

    def factor(self, sig: Signature) -> tuple[int, int]:
        """Multiplier and shift of the integer form's sum."""
        return fixed.quantise_multiplier(sig.ins[2].scale * 2.0 ** self.scaled_bits(sig))

    def integer_scratch_bytes(self, sig: Signature) -> int:
        # one sum per input channel, or (DSP) four words per two output channels of a pointwise one
        k = sig.ins[0].shape[3] if self.window.kernel == (1, 1) else 0
        return 4 * max(sig.outs[0].shape[3], 2 * (k + k % 2))

    def macs(self, sig: Signature) -> int:
        return sig.ins[0].count * int(np.prod(self.window.kernel)) * sig.outs[0].shape[3]


@dataclass(frozen=True, slots=True)
class Conv2dBwdWeight(Op):
    """d_w[k, ky, kx, c] = sum over outputs in raster order of d_y[k] * (x - zero(x)).

    d_y (1, oh, ow, k) f32; x (1, h, w, c) i8 -> (k, kh, kw, c) f32, in units of the input scale:
    the output's quantisation holds s_x, so that real gradient = s_x * d_w. Padding adds nothing.
    In integers d_y is first shifted right by `weight_gradient_shift`, the sum is i32.
    """

    kind: ClassVar[str] = "conv2d_bwd_weight"
    window: Window

    def check(self, sig: Signature) -> None:
        expect_count(sig, 2)
        d, x = sig.ins
        out = sig.outs[0]
        check_weight_gradient(sig)
        size = self.window.out_size((x.shape[1], x.shape[2]))
        expect(d.shape[:3] == (1, *size), f"output gradient {d.shape} does not fit {size}")
        expect_shape(out, (d.shape[3], *self.window.kernel, x.shape[3]), "weight gradient")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        d, x = ins
        if is_integer(sig.ins[0]):
            return (self._integers(sig, d, x),)
        size = (x.shape[1], x.shape[2])
        columns = unfold(self.window, x[0].astype(np.float32) - np.float32(sig.ins[1].zero_point))
        rows = d.reshape(-1, d.shape[3])
        assert self.window.out_size(size)[0] * self.window.out_size(size)[1] == len(rows)
        d_w = np.zeros((d.shape[3], columns.shape[1]), np.float32)
        for row, column in zip(rows, columns, strict=True):
            d_w += row[:, None] * column[None, :]
        return (d_w.reshape(sig.outs[0].shape),)

    def _integers(self, sig: Signature, d: Array, x: Array) -> Array:
        columns = unfold(self.window, x[0].astype(np.float64) - sig.ins[1].zero_point)
        rows = shifted_gradient(d, gradient_shift(sig.ins[0])).reshape(-1, d.shape[3])
        total = rows.astype(np.float64).T @ columns
        return total.astype(np.int32).reshape(sig.outs[0].shape)

    def macs(self, sig: Signature) -> int:
        return sig.ins[0].count * int(np.prod(self.window.kernel)) * sig.ins[1].shape[3]


def gradient_shift(d: TensorType) -> int:
    """How far an integer output gradient is shifted right before a weight gradient's sum."""
    return weight_gradient_shift(d.dtype, d.shape[1] * d.shape[2]) if is_integer(d) else 0


def check_weight_gradient(sig: Signature) -> None:
    """Formats of output gradient, input and weight gradient, and the latter's scale."""
    d, x, out = sig.ins[0], sig.ins[1], sig.outs[0]
    expect_gradient(d, "output gradient")
    expect_quantised(x, "input")
    expect_dtype(out, DType.I32 if is_integer(d) else DType.F32, "weight gradient")
    expect(len(d.shape) == 4, "output gradient must have rank 4")
    scale = x.scale * 2.0 ** gradient_shift(d)
    expect(out.scale == scale, f"weight gradient must carry scale {scale:g}")


def weight_gradient_type(shape: tuple[int, ...], d: TensorType, x: TensorType) -> TensorType:
    """The type of a convolution's weight gradient."""
    dtype = DType.I32 if is_integer(d) else DType.F32
    return TensorType(shape, dtype, Quant.per_tensor(x.scale * 2.0 ** gradient_shift(d)))


def unfold(window: Window, x: Array) -> Array:
    """Patches of x (h, w, c): shape (oh * ow, kh * kw * c), zero where padding is read."""
    size = (x.shape[0], x.shape[1])
    oh, ow = window.out_size(size)
    patches = np.zeros((oh, ow, *window.kernel, x.shape[2]), x.dtype)
    for tap in window.taps(size):
        patches[tap.out][:, :, tap.ky, tap.kx, :] = x[tap.into]
    return patches.reshape(oh * ow, -1)


def check_weight(weight: TensorType, axis: int) -> None:
    """Check for symmetric scales, one or one per output channel, which lie along `axis`."""
    quant = weight.quant
    expect(
        quant is not None and quant.zero_point == 0 and quant.axis in (None, axis),
        f"weight must be symmetric with one scale, or one per index of axis {axis}",
    )


def check_requantisation(sig: Signature, k: int, first: int) -> None:
    """Check bias, multiplier and shift, the inputs from index `first` on."""
    for index, what in enumerate(("bias", "multiplier", "shift"), start=first):
        expect_dtype(sig.ins[index], DType.I32, what)
        expect_shape(sig.ins[index], (k,), what)


def check_range(lo: int, hi: int) -> None:
    """Check an activation range."""
    expect(-128 <= lo <= hi <= 127, f"activation range [{lo}, {hi}] does not fit int8")


def requantisation(x: float, weight: Array, y: float) -> tuple[Array, Array]:
    """Multipliers and shifts, each (k,) int32, for scales x, weight (k,) and y.

    The product is taken in float64 from float32 scales, as TFLite does for convolutions.
    """
    pairs = [fixed.quantise_multiplier(float(x) * float(s) / float(y)) for s in weight]
    table = np.array(pairs, np.int32).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()
