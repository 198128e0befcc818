"""Int8 depthwise convolution, its input gradient and its weight gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType, Quant, TensorType
from tinyengine.ops import fixed
from tinyengine.ops.conv2d import (
    check_range,
    check_requantisation,
    check_weight,
    check_weight_gradient,
    gradient_shift,
)
from tinyengine.ops.exponent import (
    GradientOp,
    Scaling,
    expect_products,
    is_integer,
    shifted_gradient,
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


@dataclass(frozen=True, slots=True)
class DepthwiseConv2d(Op):
    """Convolution of each channel on its own; output channel c * multiplicity + m.

    x (n, h, w, c) i8; weight (1, kh, kw, c * m) i8; bias, multiplier, shift (c * m,) i32, with the
    meaning of Conv2d.
    """

    kind: ClassVar[str] = "depthwise_conv2d"
    window: Window
    lo: int = -128
    hi: int = 127

    def check(self, sig: Signature) -> None:
        expect_count(sig, 5)
        x, weight, out = sig.ins[0], sig.ins[1], sig.outs[0]
        expect_quantised(x, "input")
        expect_quantised(out, "output")
        expect_dtype(weight, DType.I8, "weight")
        expect(len(x.shape) == 4 and len(weight.shape) == 4, "input and weight must have rank 4")
        one, kh, kw, k = weight.shape
        expect(one == 1 and k % x.shape[3] == 0, f"weight {weight.shape} does not fit {x.shape}")
        check_weight(weight, 3)
        self.window.check()
        expect(self.window.kernel == (kh, kw), f"kernel {self.window.kernel}, weight {(kh, kw)}")
        size = self.window.out_size((x.shape[1], x.shape[2]))
        expect_shape(out, (x.shape[0], *size, k), "output")
        check_requantisation(sig, k, 2)
        check_range(self.lo, self.hi)

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        x, weight, bias, multiplier, shift = ins
        many = weight.shape[3] // x.shape[3]
        centred = np.repeat(x.astype(np.int32) - sig.ins[0].zero_point, many, axis=3)
        taps = weight[0].astype(np.int32)
        size = (x.shape[1], x.shape[2])
        acc = np.zeros((x.shape[0], *self.window.out_size(size), weight.shape[3]), np.int64)
        for tap in self.window.taps(size):
            part = centred[(slice(None), *tap.into)] * taps[tap.ky, tap.kx]
            acc[(slice(None), *tap.out)] += part
        total = fixed.saturate_i32(acc + bias.astype(np.int64))
        y = fixed.requantise(total, multiplier, shift) + sig.outs[0].zero_point
        return (np.clip(y, self.lo, self.hi).astype(np.int8),)

    def macs(self, sig: Signature) -> int:
        return sig.outs[0].count * int(np.prod(self.window.kernel))

    def band(self, sig: Signature, row: int, count: int = 1) -> Band | None:
        found = self.window.band(row, count, sig.ins[0].shape[1])
        if found is None:
            return None
        rows = (found[1], *[None] * (len(sig.ins) - 1))
        return Band(replace(self, window=found[0]), rows, count)

    def backward(self, tape: Tape, node: Node) -> None:
        x, weight, bias = node.inputs[:3]
        d = tape.inside(node, self.lo, self.hi)
        tape.bias_gradient(bias, d, node.layer)
        w_type, x_type = tape.type(weight), tape.type(x)
        if tape.wants(x):
            inputs = (d, weight, tape.weight_scale(weight, w_type.shape[3]))
            d_type = TensorType(x_type.shape, DType.F32)
            tape.add(x, tape.emit(DepthwiseBwdInput(self.window), inputs, d_type, f"d_{x}", node))
        if tape.learns(weight):
            op = DepthwiseBwdWeight(self.window)
            d_type = TensorType(w_type.shape, DType.F32, Quant.per_tensor(x_type.scale))
            tape.parameter(weight, tape.emit(op, (d, x), d_type, f"d_{weight}", node))


@dataclass(frozen=True, slots=True)
class DepthwiseBwdInput(GradientOp):
    """d_x[c] = sum over taps (raster order), then m, of (d_y[c*m'+m] * s) * w, from +0.

    d_y (n, oh, ow, c * m) f32; weight (1, kh, kw, c * m) i8; scale (c * m,) f32.
    In integers multiplier and shift (c * m,) i32 stand for scale: each output channel's sum over
    taps is rescaled by its own, then the m are added.
    """

    kind: ClassVar[str] = "depthwise_bwd_input"
    window: Window

    def check(self, sig: Signature) -> None:
        expect(len(sig.ins) in (3, 4) and len(sig.outs) == 1, "takes 3 or 4 inputs and 1 output")
        d, weight, scale = sig.ins[:3]
        out = sig.outs[0]
        expect_dtype(d, DType.F32, "output gradient")
        expect_dtype(weight, DType.I8, "weight")
        expect_dtype(out, DType.F32, "input gradient")
        expect_shape(scale, (weight.shape[3],), "scale")
        expect(len(out.shape) == 4 and weight.shape[3] % out.shape[3] == 0, "channels do not fit")
        size = self.window.out_size((out.shape[1], out.shape[2]))
        expect_shape(d, (out.shape[0], *size, weight.shape[3]), "output gradient")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        d, weight, scale = ins
        d_x = np.zeros(sig.outs[0].shape, np.float32)
        channels = d_x.shape[3]
        many = weight.shape[3] // channels
        scaled = (d * scale).reshape(*d.shape[:3], channels, many)
        taps = weight[0].astype(np.float32).reshape(*self.window.kernel, channels, many)
        for tap in self.window.taps((d_x.shape[1], d_x.shape[2])):
            part = d_x[(slice(None), *tap.into)]
            for m in range(many):
                part += scaled[(slice(None), *tap.out)][..., m] * taps[tap.ky, tap.kx, :, m]
        return (d_x,)

    def integers(self, sig: Signature, ins: Sequence[Array], scaling: Scaling) -> I64:
        d, weight, multiplier, shift = ins
        n, h, w, channels = sig.outs[0].shape
        many = weight.shape[3] // channels
        total = np.zeros((n, h, w, channels * many), np.int64)
        taps = weight[0].astype(np.int64)
        for tap in self.window.taps((h, w)):
            part = d[(slice(None), *tap.out)] * taps[tap.ky, tap.kx]
            total[(slice(None), *tap.into)] += part
        q = scaling.by(total, multiplier, shift)
        return fixed.saturate_i32(q.reshape(n, h, w, channels, many).sum(axis=-1))

    def check_integers(self, sig: Signature) -> None:
        expect_count(sig, 4)
        for type_, what in zip(sig.ins[2:], ("multiplier", "shift"), strict=True):
            expect_dtype(type_, DType.I32, what)
            expect_shape(type_, sig.ins[1].shape[3:], what)
        taps = sig.ins[1].shape[1] * sig.ins[1].shape[2]
        expect_products(sig.ins[0].dtype, taps)

    def integer_scratch_bytes(self, sig: Signature) -> int:
        return 4 * sig.ins[0].shape[3]

    def lead_bytes(self, sig: Signature) -> int | None:
        d, d_x = sig.ins[0], sig.outs[0]
        if d.shape[0] != 1:
            return None
        row, d_row = d_x.nbytes // d_x.shape[1], d.nbytes // d.shape[1]
        consumed = [min(self.window.first_reader(r), d.shape[1]) for r in range(d_x.shape[1])]
        return max(0, *((r + 1) * row - c * d_row for r, c in enumerate(consumed)))

    def macs(self, sig: Signature) -> int:
        return sig.ins[0].count * int(np.prod(self.window.kernel))


@dataclass(frozen=True, slots=True)
class DepthwiseBwdWeight(Op):
    """d_w[ky, kx, k] = sum over outputs in raster order of d_y[k] * (x[c] - zero(x)).

    d_y (1, oh, ow, c * m) f32; x (1, h, w, c) i8 -> (1, kh, kw, c * m) f32 in units of s_x.
    """

    kind: ClassVar[str] = "depthwise_bwd_weight"
    window: Window

    def check(self, sig: Signature) -> None:
        expect_count(sig, 2)
        d, x = sig.ins
        out = sig.outs[0]
        check_weight_gradient(sig)
        size = self.window.out_size((x.shape[1], x.shape[2]))
        expect(d.shape[:3] == (1, *size), f"output gradient {d.shape} does not fit {size}")
        expect(d.shape[3] % x.shape[3] == 0, "channels do not fit")
        expect_shape(out, (1, *self.window.kernel, d.shape[3]), "weight gradient")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        d, x = ins
        if is_integer(sig.ins[0]):
            return (self._integers(sig, d, x),)
        many = d.shape[3] // x.shape[3]
        centred = x[0].astype(np.float32) - np.float32(sig.ins[1].zero_point)
        centred = np.repeat(centred, many, axis=2)
        d_w = np.zeros(sig.outs[0].shape, np.float32)
        for tap in self.window.taps((x.shape[1], x.shape[2])):
            products = d[0][tap.out] * centred[tap.into]
            # cumsum adds strictly in order; + 0 makes a lone -0 the +0 that C starts from.
            flat = products.reshape(-1, products.shape[2])
            d_w[0, tap.ky, tap.kx] = np.cumsum(flat, axis=0, dtype=np.float32)[-1] + np.float32(0)
        return (d_w,)

    def _integers(self, sig: Signature, d: Array, x: Array) -> Array:
        centred = x[0].astype(np.int64) - sig.ins[1].zero_point
        centred = np.repeat(centred, d.shape[3] // x.shape[3], axis=2)
        shifted = shifted_gradient(d, gradient_shift(sig.ins[0]))
        d_w = np.zeros(sig.outs[0].shape, np.int32)
        for tap in self.window.taps((x.shape[1], x.shape[2])):
            d_w[0, tap.ky, tap.kx] = (shifted[0][tap.out] * centred[tap.into]).sum(axis=(0, 1))
        return d_w

    def macs(self, sig: Signature) -> int:
        return sig.ins[0].count * int(np.prod(self.window.kernel))
