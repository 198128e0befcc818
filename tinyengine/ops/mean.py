"""Mean over one run of neighbouring axes, and its gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.ops import fixed
from tinyengine.ops.exponent import GradientOp, Scaling
from tinyengine.ops.fixed import I64
from tinyengine.ops.op import (
    Op,
    Signature,
    expect,
    expect_count,
    expect_dtype,
    expect_factor,
    expect_quantised,
)

if TYPE_CHECKING:
    from tinyengine.ir.graph import Node
    from tinyengine.passes.backward import Tape


class Reduction(NamedTuple):
    """A reduction seen as (outer, reduced, inner): the middle one is summed over."""

    outer: int
    reduced: int
    inner: int


def reduction(shape: tuple[int, ...], first: int, last: int) -> Reduction:
    """Collapse `shape` around the reduced axes first..last (both included)."""
    return Reduction(
        math.prod(shape[:first]), math.prod(shape[first : last + 1]), math.prod(shape[last + 1 :])
    )


@dataclass(frozen=True, slots=True)
class Mean(Op):
    """Mean over axes first..last, requantised to the output's scale (TFLite MEAN)."""

    kind: ClassVar[str] = "mean"
    first: int
    last: int

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        x, out = sig.ins[0], sig.outs[0]
        expect_quantised(x, "input")
        expect_quantised(out, "output")
        expect(0 <= self.first <= self.last < len(x.shape), f"axes do not fit rank {len(x.shape)}")
        r = reduction(x.shape, self.first, self.last)
        expect_factor(x.scale / out.scale, "mean")
        expect(out.count == r.outer * r.inner, f"output must have {r.outer * r.inner} elements")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        r = reduction(sig.ins[0].shape, self.first, self.last)
        x = ins[0].reshape(-1, r.reduced, r.inner).astype(np.int64)
        total = x.sum(axis=1) - r.reduced * sig.ins[0].zero_point
        multiplier, shift = mean_parameters(sig, r.reduced)
        y = fixed.requantise(total, np.asarray(multiplier), np.asarray(shift))
        y = np.clip(y + sig.outs[0].zero_point, -128, 127)
        return (y.astype(np.int8).reshape(-1, *sig.outs[0].shape[1:]),)

    def backward(self, tape: Tape, node: Node) -> None:
        x, y = node.inputs[0], node.outputs[0]
        # Without a change of scale a mean stays within the range of its inputs.
        same = tape.type(x).quant == tape.type(y).quant
        d = tape.d(y) if same else tape.inside(node, -128, 127)
        d_type = TensorType(tape.type(x).shape, DType.F32)
        op = MeanBwd(self.first, self.last)
        tape.add(x, tape.emit(op, (d,), d_type, f"d_{x}", node))


def mean_parameters(sig: Signature, count: int) -> tuple[int, int]:
    """(multiplier, shift) of s_x / (count * s_y): the factor of the scales, divided by count.

    As TFLite: the quotient is cut, not rounded, and its multiplier may be below 2**30.
    """
    multiplier, shift = fixed.quantise_multiplier(sig.ins[0].scale / sig.outs[0].scale)
    # 1 / count joins the multiplier; the bits that the division costs are shifted in first.
    bits = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << bits) // count, shift - bits


@dataclass(frozen=True, slots=True)
class MeanBwd(GradientOp):
    """d_x = d_y * (1 / count), repeated over the reduced axes."""

    kind: ClassVar[str] = "mean_bwd"
    first: int
    last: int

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        expect_dtype(sig.ins[0], DType.F32, "output gradient")
        expect_dtype(sig.outs[0], DType.F32, "input gradient")
        r = reduction(sig.outs[0].shape, self.first, self.last)
        expect(sig.ins[0].count == r.outer * r.inner, "output gradient does not fit")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        r = reduction(sig.outs[0].shape, self.first, self.last)
        share = ins[0].reshape(r.outer, 1, r.inner) * (np.float32(1) / np.float32(r.reduced))
        return (np.repeat(share, r.reduced, axis=1).reshape(sig.outs[0].shape),)

    def integers(self, sig: Signature, ins: Sequence[Array], scaling: Scaling) -> I64:
        r = reduction(sig.outs[0].shape, self.first, self.last)
        share = scaling.by(ins[0], *fixed.quantise_multiplier(1 / r.reduced))
        return np.repeat(share.reshape(r.outer, 1, r.inner), r.reduced, axis=1)
