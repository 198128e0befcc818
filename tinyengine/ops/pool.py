"""Average and maximum pooling, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.ops import fixed
from tinyengine.ops.conv2d import check_range
from tinyengine.ops.exponent import LIMITS, GradientOp, Scaling
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


def check_pool(window: Window, sig: Signature) -> None:
    """Input and output share one quantisation; shapes follow the window."""
    x, out = sig.ins[0], sig.outs[0]
    expect_quantised(x, "input")
    expect(out.quant == x.quant, "output must have the input's quantisation")
    expect(len(x.shape) == 4, "input must have rank 4")
    window.check()
    expect(window.dilation == (1, 1), f"dilation {window.dilation}: pools have none")
    # A window that sees padding alone would have no mean and no maximum.
    kernel = (window.kernel[0], window.kernel[0], window.kernel[1], window.kernel[1])
    narrow = all(p < k for p, k in zip(window.padding, kernel, strict=True))
    expect(narrow, f"padding {window.padding} must be less than the kernel {window.kernel}")
    size = window.out_size((x.shape[1], x.shape[2]))
    expect_shape(out, (x.shape[0], *size, x.shape[3]), "output")


def tap_counts(window: Window, size: tuple[int, int]) -> Array:
    """How many real pixels each output sees: (oh, ow) int64. Padding does not count."""
    counts = np.zeros(window.out_size(size), np.int64)
    for tap in window.taps(size):
        counts[tap.out] += 1
    return counts


def shares(window: Window, size: tuple[int, int], bits: int) -> Array:
    """round(2**bits / real pixels of each output's window): (oh, ow) int64."""
    counts = tap_counts(window, size)
    return ((2 << bits) // counts + 1) >> 1


def share_bits(window: Window, size: tuple[int, int], limit: int) -> int:
    """The most bits, at most 15, with which no input's sum of shares * limit leaves int32."""
    for bits in range(15, 0, -1):
        total = np.zeros(size, np.int64)
        share = shares(window, size, bits)
        for tap in window.taps(size):
            total[tap.into] += share[tap.out]
        if int(total.max()) * limit <= fixed.INT32_MAX:
            return bits
    raise AssertionError("at one bit a share is 0 or 1 and windows do not meet that often")


def rounded_quotient(total: Array, count: Array) -> Array:
    """total / count rounded half away from zero, in integers."""
    half = count // 2
    return np.where(total > 0, (total + half) // count, -((half - total) // count))


@dataclass(frozen=True, slots=True)
class AvgPool(Op):
    """Mean over the window's real pixels, rounded half away from zero; no requantisation."""

    kind: ClassVar[str] = "avg_pool"
    window: Window
    lo: int = -128
    hi: int = 127

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        check_pool(self.window, sig)
        check_range(self.lo, self.hi)

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        x = ins[0]
        size = (x.shape[1], x.shape[2])
        total = np.zeros((x.shape[0], *self.window.out_size(size), x.shape[3]), np.int64)
        for tap in self.window.taps(size):
            total[(slice(None), *tap.out)] += x[(slice(None), *tap.into)]
        y = rounded_quotient(total, tap_counts(self.window, size)[..., None])
        return (np.clip(y, self.lo, self.hi).astype(np.int8),)

    def macs(self, sig: Signature) -> int:
        return 0

    def band(self, sig: Signature, row: int, count: int = 1) -> Band | None:
        found = self.window.band(row, count, sig.ins[0].shape[1])
        if found is None:
            return None
        return Band(replace(self, window=found[0]), (found[1],), count)

    def backward(self, tape: Tape, node: Node) -> None:
        x = node.inputs[0]
        # A mean cannot leave the range of its inputs: only a fused activation saturates it.
        fused = (self.lo, self.hi) != (-128, 127)
        d = tape.inside(node, self.lo, self.hi) if fused else tape.d(node.outputs[0])
        d_type = TensorType(tape.type(x).shape, DType.F32)
        tape.add(x, tape.emit(AvgPoolBwd(self.window), (d,), d_type, f"d_{x}", node))


@dataclass(frozen=True, slots=True)
class AvgPoolBwd(GradientOp):
    """d_x = sum over taps in raster order of d_y * (1 / real pixels of that window), from +0."""

    kind: ClassVar[str] = "avg_pool_bwd"
    window: Window

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        check_pool_gradient(self.window, sig)

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        d_x = np.zeros(sig.outs[0].shape, np.float32)
        size = (d_x.shape[1], d_x.shape[2])
        counts = tap_counts(self.window, size)[..., None].astype(np.float32)
        share = ins[0] * (np.float32(1) / counts)
        for tap in self.window.taps(size):
            d_x[(slice(None), *tap.into)] += share[(slice(None), *tap.out)]
        return (d_x,)

    def integers(self, sig: Signature, ins: Sequence[Array], scaling: Scaling) -> I64:
        d_x = np.zeros(sig.outs[0].shape, np.int64)
        size = (d_x.shape[1], d_x.shape[2])
        bits = share_bits(self.window, size, LIMITS[sig.ins[0].dtype])
        share = ins[0] * shares(self.window, size, bits)[..., None]
        for tap in self.window.taps(size):
            d_x[(slice(None), *tap.into)] += share[(slice(None), *tap.out)]
        return scaling.by(d_x, *fixed.quantise_multiplier(2.0**-bits))

    def integer_scratch_bytes(self, sig: Signature) -> int:
        return 4 * sig.outs[0].shape[3]


@dataclass(frozen=True, slots=True)
class MaxPool(Op):
    """Largest value of the window's real pixels."""

    kind: ClassVar[str] = "max_pool"
    window: Window
    lo: int = -128
    hi: int = 127

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        check_pool(self.window, sig)
        check_range(self.lo, self.hi)

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        x = ins[0]
        size = (x.shape[1], x.shape[2])
        y = np.full((x.shape[0], *self.window.out_size(size), x.shape[3]), -128, np.int8)
        for tap in self.window.taps(size):
            part = y[(slice(None), *tap.out)]
            np.maximum(part, x[(slice(None), *tap.into)], out=part)
        return (np.clip(y, self.lo, self.hi).astype(np.int8),)

    def band(self, sig: Signature, row: int, count: int = 1) -> Band | None:
        found = self.window.band(row, count, sig.ins[0].shape[1])
        if found is None:
            return None
        return Band(replace(self, window=found[0]), (found[1],), count)

    def backward(self, tape: Tape, node: Node) -> None:
        x = node.inputs[0]
        fused = (self.lo, self.hi) != (-128, 127)
        d = tape.inside(node, self.lo, self.hi) if fused else tape.d(node.outputs[0])
        d_type = TensorType(tape.type(x).shape, DType.F32)
        tape.add(x, tape.emit(MaxPoolBwd(self.window), (d, x), d_type, f"d_{x}", node))


@dataclass(frozen=True, slots=True)
class MaxPoolBwd(GradientOp):
    """d_y goes to the first pixel in raster order that holds the window's maximum.

    d_y (1, oh, ow, c) f32; x (1, h, w, c) i8. Where windows overlap, contributions are added in
    raster order of the outputs.
    """

    kind: ClassVar[str] = "max_pool_bwd"
    window: Window

    def check(self, sig: Signature) -> None:
        expect_count(sig, 2)
        check_pool_gradient(self.window, sig)
        expect_dtype(sig.ins[1], DType.I8, "input")
        expect_shape(sig.ins[1], sig.outs[0].shape, "input")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        return self._scatter(ins[0], ins[1], np.float32)

    def _scatter(self, d: Array, x: Array, dtype: type[np.floating[Any]]) -> tuple[Array]:
        d_x = np.zeros(x.shape, dtype)
        h, w, channels = x.shape[1], x.shape[2], np.arange(x.shape[3])
        top, left = self.window.padding[0], self.window.padding[2]
        for oy in range(d.shape[1]):
            for ox in range(d.shape[2]):
                ys = [oy * self.window.stride[0] - top + k for k in range(self.window.kernel[0])]
                xs = [ox * self.window.stride[1] - left + k for k in range(self.window.kernel[1])]
                seen = [(y, z) for y in ys if 0 <= y < h for z in xs if 0 <= z < w]
                patch = np.stack([x[0, y, z] for y, z in seen])
                where = np.array(seen)[np.argmax(patch, axis=0)]
                d_x[0, where[:, 0], where[:, 1], channels] += d[0, oy, ox]
        return (d_x,)

    def integers(self, sig: Signature, ins: Sequence[Array], scaling: Scaling) -> I64:
        # float64 adds mantissas exactly
        (total,) = self._scatter(ins[0].astype(np.float64), ins[1], np.float64)
        return scaling.align(total.astype(np.int64))


def check_pool_gradient(window: Window, sig: Signature) -> None:
    """Output gradient in, input gradient out, both float32; shapes follow the window."""
    d, out = sig.ins[0], sig.outs[0]
    expect_dtype(d, DType.F32, "output gradient")
    expect_dtype(out, DType.F32, "input gradient")
    expect(len(out.shape) == 4 and window.dilation == (1, 1), "rank 4 and no dilation")
    size = window.out_size((out.shape[1], out.shape[2]))
    expect_shape(d, (out.shape[0], *size, out.shape[3]), "output gradient")
