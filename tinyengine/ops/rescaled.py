"""An integer gradient with its exponent: any gradient operator in the formats s16 and s8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType
from tinyengine.ops import fixed
from tinyengine.ops.exponent import (
    EXPONENT,
    LIMITS,
    GradientOp,
    Scaling,
    exponent_of_state,
    is_integer,
    magnitudes,
    next_state,
)
from tinyengine.ops.fixed import I64
from tinyengine.ops.op import Op, Signature, expect, expect_count, expect_dtype, expect_shape


@dataclass(frozen=True, slots=True)
class Rescaled(Op):
    """gradient(...) in int16 or int8: (inputs, exponent of each gradient, state) -> (d, e, state).

    d i16 or i8; e (1,) i32: the exponent that d has in this step, what the state said; the third
    output is the state of the next step, in the state's place.
    """

    kind: ClassVar[str] = "rescaled"
    gradient: GradientOp

    def check(self, sig: Signature) -> None:
        count = self.gradient.gradients
        expect(len(sig.ins) > count + 1, f"{len(sig.ins)} inputs are too few")
        expect(len(sig.outs) == 3, "has 3 outputs")
        for type_ in (*sig.ins[-count - 1 :], *sig.outs[1:]):
            expect(type_ == EXPONENT, "exponents and states are i32 of shape (1,)")
        d = sig.outs[0]
        expect(is_integer(d), f"gradient must be i16 or i8, is {d.dtype.value}")
        inner = self.split(sig)
        for type_ in inner.ins[:count]:
            expect_dtype(type_, d.dtype, "incoming gradient")
        # The rules of shapes are those of the float32 operator.
        real = [replace(t, dtype=DType.F32) for t in (*inner.ins[:count], d)]
        self.gradient.check(Signature((*real[:-1], *inner.ins[count:]), (real[-1],)))
        self.gradient.check_integers(inner)

    def split(self, sig: Signature) -> Signature:
        """The gradient operator's own signature, with integer types."""
        return Signature(sig.ins[: -self.gradient.gradients - 1], sig.outs[:1])

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        count = self.gradient.gradients
        *own, state = ins
        e = exponent_of_state(state)
        incoming = tuple(int(np.asarray(x)[0]) for x in own[len(own) - count :])
        inner, dtype = self.split(sig), sig.outs[0].dtype
        q = self.gradient.integers(inner, own[: len(own) - count], Scaling(incoming, e))
        limit = LIMITS[dtype]
        following = next_state(int(np.asarray(state)[0]), magnitudes(q), dtype)
        d = np.clip(q, -limit, limit).astype(dtype.numpy).reshape(sig.outs[0].shape)
        return d, np.array([e], np.int32), np.array([following], np.int32)

    def macs(self, sig: Signature) -> int:
        return self.gradient.macs(self.split(sig))

    def inplace(self, sig: Signature) -> tuple[int, ...]:
        return self.gradient.inplace(self.split(sig))

    def lead_bytes(self, sig: Signature) -> int | None:
        return self.gradient.lead_bytes(self.split(sig))

    def scratch_bytes(self, sig: Signature) -> int:
        return self.gradient.integer_scratch_bytes(self.split(sig))


@dataclass(frozen=True, slots=True)
class QuantizeGrad(GradientOp):
    """Where a gradient enters the integer world: q = round(d * 2**-e), ties to even."""

    kind: ClassVar[str] = "quantize_grad"
    gradients: ClassVar[int] = 0

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        expect_dtype(sig.ins[0], DType.F32, "gradient")
        expect_shape(sig.outs[0], sig.ins[0].shape, "output")

    def integers(self, sig: Signature, ins: Sequence[Array], scaling: Scaling) -> I64:
        with np.errstate(over="ignore"):
            scaled = ins[0] * np.float32(2.0**-scaling.out)
        return fixed.to_i32(fixed.round_half_even(scaled))
