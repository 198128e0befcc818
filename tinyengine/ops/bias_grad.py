"""The gradient of what is added to every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType
from tinyengine.ops.exponent import (
    GradientOp,
    Scaling,
    expect_gradient,
    expect_sum,
    is_integer,
)
from tinyengine.ops.fixed import I64
from tinyengine.ops.op import Signature, expect, expect_count, expect_dtype, expect_shape


@dataclass(frozen=True, slots=True)
class BiasGrad(GradientOp):
    """d_b[k] = sum of d[..., k] over all other axes in raster order, from +0.

    Of an integer gradient the sum is i32, with that gradient's exponent.
    """

    kind: ClassVar[str] = "bias_grad"

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        d = sig.ins[0]
        expect_gradient(d, "gradient")
        expect_dtype(sig.outs[0], DType.I32 if is_integer(d) else DType.F32, "bias gradient")
        expect(len(d.shape) >= 1, "gradient must have a channel axis")
        expect_shape(sig.outs[0], (d.shape[-1],), "bias gradient")
        if is_integer(d):
            expect_sum(d.dtype, d.count // d.shape[-1], "bias gradient")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        rows = ins[0].reshape(-1, ins[0].shape[-1])
        if is_integer(sig.ins[0]):
            return (rows.sum(axis=0, dtype=np.int64).astype(np.int32),)
        # cumsum adds strictly in order; + 0 makes a lone -0 the +0 that C starts from.
        return (np.cumsum(rows, axis=0, dtype=np.float32)[-1] + np.float32(0),)

    def integers(self, sig: Signature, ins: Sequence[Array], scaling: Scaling) -> I64:
        rows = ins[0].reshape(-1, ins[0].shape[-1])
        return scaling.align(rows.sum(axis=0, dtype=np.int64))

    def check_integers(self, sig: Signature) -> None:
        d = sig.ins[0]
        expect_sum(d.dtype, d.count // d.shape[-1], "sum of gradients")
