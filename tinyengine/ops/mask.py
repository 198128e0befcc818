"""The straight-through rule: which outputs were strictly inside their range, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType
from tinyengine.ops.exponent import expect_gradient
from tinyengine.ops.op import Op, Signature, expect_count, expect_dtype, expect_shape


@dataclass(frozen=True, slots=True)
class Inside(Op):
    """One bit per element: lo < y < hi. Eight times smaller than keeping y for backward."""

    kind: ClassVar[str] = "inside"
    lo: int
    hi: int

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        expect_dtype(sig.ins[0], DType.I8, "input")
        expect_dtype(sig.outs[0], DType.B1, "output")
        expect_shape(sig.outs[0], sig.ins[0].shape, "output")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        return ((ins[0] > self.lo) & (ins[0] < self.hi),)


@dataclass(frozen=True, slots=True)
class MaskGrad(Op):
    """d where the bit is set, else +0; any format."""

    kind: ClassVar[str] = "mask_grad"

    def check(self, sig: Signature) -> None:
        expect_count(sig, 2)
        d, bits = sig.ins
        expect_gradient(d, "gradient")
        expect_dtype(bits, DType.B1, "bits")
        expect_shape(bits, d.shape, "bits")
        expect_dtype(sig.outs[0], d.dtype, "output")
        expect_shape(sig.outs[0], d.shape, "output")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        return (np.where(ins[1], ins[0], np.zeros((), ins[0].dtype)),)

    def inplace(self, sig: Signature) -> tuple[int, ...]:
        return (0,)
