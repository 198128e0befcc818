"""Int8 multiplication (squeeze-and-excite gates, fixed scalings) and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.ops import fixed
from tinyengine.ops.add import check_broadcast, elementwise_band
from tinyengine.ops.conv2d import check_range
from tinyengine.ops.exponent import GradientOp, Scaling
from tinyengine.ops.fixed import I64
from tinyengine.ops.op import (
    Band,
    Op,
    Signature,
    expect,
    expect_count,
    expect_dtype,
    expect_factor,
    expect_quantised,
    expect_shape,
)

if TYPE_CHECKING:
    from tinyengine.ir.graph import Node
    from tinyengine.passes.backward import Tape


def mul_parameters(sig: Signature) -> tuple[int, int]:
    """(multiplier, shift) of s_a * s_b / s_out (TFLite MUL)."""
    return fixed.quantise_multiplier(sig.ins[0].scale * sig.ins[1].scale / sig.outs[0].scale)


@dataclass(frozen=True, slots=True)
class Mul(Op):
    """y = clamp(a * b) on real values; b may be broadcast: (1, 1, 1, c) or one element."""

    kind: ClassVar[str] = "mul"
    lo: int = -128
    hi: int = 127

    def check(self, sig: Signature) -> None:
        expect_count(sig, 2)
        check_broadcast(sig)
        expect_factor(sig.ins[0].scale * sig.ins[1].scale / sig.outs[0].scale, "product")
        check_range(self.lo, self.hi)

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        a, b = (x.astype(np.int64) - t.zero_point for x, t in zip(ins, sig.ins, strict=True))
        y = fixed.requantise(a * b, *map(np.asarray, mul_parameters(sig)))
        y = np.clip(y + sig.outs[0].zero_point, self.lo, self.hi)
        return (y.astype(np.int8).reshape(ins[0].shape),)

    def macs(self, sig: Signature) -> int:
        return sig.outs[0].count

    def band(self, sig: Signature, row: int, count: int = 1) -> Band | None:
        return elementwise_band(self, sig, row, count)

    def backward(self, tape: Tape, node: Node) -> None:
        d = tape.inside(node, self.lo, self.hi)
        a, b = node.inputs
        d_type = TensorType(tape.type(a).shape, DType.F32)
        for x, other in ((a, b), (b, a)):
            if tape.wants(x):
                d_x = tape.emit(MulBwd(), (d, other), d_type, f"d_{x}", node)
                tape.add(x, tape.reduce_to(d_x, tape.type(x), node))

    def inplace(self, sig: Signature) -> tuple[int, ...]:
        return tuple(i for i, t in enumerate(sig.ins) if t.shape == sig.outs[0].shape)


@dataclass(frozen=True, slots=True)
class MulBwd(GradientOp):
    """d_x = (d_y * s) * (other - zero): d_y f32; other i8, same shape or broadcast."""

    kind: ClassVar[str] = "mul_bwd"

    def check(self, sig: Signature) -> None:
        expect_count(sig, 2)
        d, other = sig.ins
        expect_dtype(d, DType.F32, "output gradient")
        expect_quantised(other, "other operand")
        expect_dtype(sig.outs[0], DType.F32, "input gradient")
        expect_shape(sig.outs[0], d.shape, "input gradient")
        fits = other.shape == d.shape or other.count in (1, d.shape[-1])
        expect(fits, f"other operand {other.shape} does not broadcast to {d.shape}")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        d, other = ins
        type_ = sig.ins[1]
        centred = other.astype(np.float32) - np.float32(type_.zero_point)
        if type_.shape != d.shape:
            centred = centred.reshape(-1)
        return (d * np.float32(type_.scale) * centred,)

    def integers(self, sig: Signature, ins: Sequence[Array], scaling: Scaling) -> I64:
        d, other = ins
        centred = other.astype(np.int64) - sig.ins[1].zero_point
        if sig.ins[1].shape != d.shape:
            centred = centred.reshape(-1)
        return scaling.by(d * centred, *fixed.quantise_multiplier(sig.ins[1].scale))

    def inplace(self, sig: Signature) -> tuple[int, ...]:
        return (0,)
