"""The gradient of what is added to every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType
from tinyengine.ops.op import Op, Signature, expect, expect_count, expect_dtype, expect_shape


@dataclass(frozen=True, slots=True)
class BiasGrad(Op):
    """d_b[k] = sum of d[..., k] over all other axes in raster order, from +0."""

    kind: ClassVar[str] = "bias_grad"

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        expect_dtype(sig.ins[0], DType.F32, "gradient")
        expect_dtype(sig.outs[0], DType.F32, "bias gradient")
        expect(len(sig.ins[0].shape) >= 1, "gradient must have a channel axis")
        expect_shape(sig.outs[0], (sig.ins[0].shape[-1],), "bias gradient")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        rows = ins[0].reshape(-1, ins[0].shape[-1])
        # cumsum adds strictly in order; + 0 makes a lone -0 the +0 that C starts from.
        return (np.cumsum(rows, axis=0, dtype=np.float32)[-1] + np.float32(0),)
