"""Int8 addition with its own scales, and the sum of gradients that meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from tinyengine.ir.tensor import Array, DType
from tinyengine.ops import fixed
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

LEFT_SHIFT = 20  # headroom that both operands get before they are brought to one scale


class AddParameters(NamedTuple):
    """Fixed-point factors of one addition: (multiplier, shift) of both inputs and the output."""

    a: tuple[int, int]
    b: tuple[int, int]
    out: tuple[int, int]


def add_parameters(sig: Signature) -> AddParameters:
    """Bring a and b to scale 2 * max(s_a, s_b) / 2**20, add, requantise (TFLite ADD)."""
    s_a, s_b, s_out = sig.ins[0].scale, sig.ins[1].scale, sig.outs[0].scale
    widest = 2.0 * max(s_a, s_b)
    return AddParameters(
        fixed.quantise_multiplier(s_a / widest),
        fixed.quantise_multiplier(s_b / widest),
        fixed.quantise_multiplier(widest / ((1 << LEFT_SHIFT) * s_out)),
    )


@dataclass(frozen=True, slots=True)
class Add(Op):
    """y = clamp(a + b) on real values; b may be broadcast: (1, 1, 1, c) or one element."""

    kind: ClassVar[str] = "add"
    lo: int = -128
    hi: int = 127

    def check(self, sig: Signature) -> None:
        expect_count(sig, 2)
        check_broadcast(sig)
        widest = 2.0 * max(sig.ins[0].scale, sig.ins[1].scale)
        expect_factor(widest / ((1 << LEFT_SHIFT) * sig.outs[0].scale), "sum")
        check_range(self.lo, self.hi)

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        p = add_parameters(sig)
        total: Array = np.zeros((), np.int64)
        for x, type_, factor in zip(ins, sig.ins, (p.a, p.b), strict=True):
            wide = (x.astype(np.int64) - type_.zero_point) << LEFT_SHIFT
            total = total + fixed.requantise(wide, *map(np.asarray, factor))
        y = fixed.requantise(total, *map(np.asarray, p.out)) + sig.outs[0].zero_point
        return (np.clip(y, self.lo, self.hi).astype(np.int8),)

    def band(self, sig: Signature, row: int, count: int = 1) -> Band | None:
        return elementwise_band(self, sig, row, count)

    def backward(self, tape: Tape, node: Node) -> None:
        d = tape.inside(node, self.lo, self.hi)
        for x in node.inputs:
            if tape.wants(x):
                tape.add(x, tape.reduce_to(d, tape.type(x), node))

    def inplace(self, sig: Signature) -> tuple[int, ...]:
        return tuple(i for i, t in enumerate(sig.ins) if t.shape == sig.outs[0].shape)


def check_broadcast(sig: Signature) -> None:
    """Input 0 has the output's shape; input 1 too, or one value per channel, or one value."""
    a, b, out = sig.ins[0], sig.ins[1], sig.outs[0]
    for type_, what in ((a, "input 0"), (b, "input 1"), (out, "output")):
        expect_quantised(type_, what)
    expect_shape(a, out.shape, "input 0")
    per_channel = b.count == b.shape[-1] == a.shape[-1] if b.shape else False
    fits = b.shape == a.shape or per_channel or b.count == 1
    expect(fits, f"input 1 {b.shape} does not broadcast to {a.shape}")


def elementwise_band(op: Op, sig: Signature, row: int, count: int) -> Band | None:
    """Row by row: rows of each operand that has the output's shape, the other one whole."""
    out = sig.outs[0]
    if len(out.shape) != 4 or out.shape[0] != 1:
        return None
    rows = tuple((row, row + count) if t.shape == out.shape else None for t in sig.ins)
    return Band(op, rows, count)


@dataclass(frozen=True, slots=True)
class GradAdd(GradientOp):
    """Gradients that meet are added: d = d1 + d2, float32, same shape."""

    kind: ClassVar[str] = "grad_add"
    gradients: ClassVar[int] = 2

    def check(self, sig: Signature) -> None:
        expect_count(sig, 2)
        for type_ in (*sig.ins, *sig.outs):
            expect_dtype(type_, DType.F32, "gradient")
            expect_shape(type_, sig.outs[0].shape, "gradient")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        return (ins[0] + ins[1],)

    def integers(self, sig: Signature, ins: Sequence[Array], scaling: Scaling) -> I64:
        return fixed.saturate_i32(scaling.align(ins[0], 0) + scaling.align(ins[1], 1))

    def inplace(self, sig: Signature) -> tuple[int, ...]:
        return (0, 1)
