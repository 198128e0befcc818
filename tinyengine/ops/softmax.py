"""Int8 softmax, the network's last operator when it classifies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyengine.ir.tensor import Array
from tinyengine.ops import fixed
from tinyengine.ops.op import Op, Signature, expect, expect_count, expect_quantised, expect_shape
from tinyengine.ops.tables import exp_on_negative_q31, one_over_one_plus_q31, to_fixed_point

DIFF_BITS = 5  # integer bits of the scaled difference: exp reaches down to exp(-32)
SUM_BITS = 12  # integer bits of the sum of exponentials: up to 4096 classes


def exp_table(scale: float, beta: float) -> Array:
    """exp(-beta * scale * i) for i = 0..255 as Q0.31 int32; 0 beyond the representable range.

    Entry i is what TFLite's integer softmax computes for a logit i steps below the largest.
    """
    real = min(beta * scale * 2.0 ** (31 - DIFF_BITS), 2.0**31 - 1)
    diff = -np.arange(256, dtype=np.int64)
    scaled, radius = to_fixed_point(diff, real, DIFF_BITS)
    table = exp_on_negative_q31(scaled, DIFF_BITS)
    return np.where(diff >= -radius, table, 0).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """Softmax over the last axis (TFLite SOFTMAX, int8 -> int8, scale 1/256, zero point -128)."""

    kind: ClassVar[str] = "softmax"
    beta: float = 1.0

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        expect_quantised(sig.ins[0], "input")
        expect_quantised(sig.outs[0], "output")
        expect_shape(sig.outs[0], sig.ins[0].shape, "output")
        out = sig.outs[0]
        expect(out.scale == 1 / 256 and out.zero_point == -128, "output must be 1/256 from -128")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        x = ins[0].astype(np.int64)
        diff = x.max(axis=-1, keepdims=True) - x
        exps = exp_table(sig.ins[0].scale, self.beta).astype(np.int64)[diff]
        total = fixed.rounding_shift_right(exps, np.asarray(SUM_BITS)).sum(axis=-1, keepdims=True)
        total = np.maximum(total, 1)
        zeros = 32 - np.ceil(np.log2(total.astype(np.float64) + 1)).astype(np.int64)
        shifted = (total << zeros) - (1 << 31)
        scale = one_over_one_plus_q31(shifted)
        over_unit = SUM_BITS - zeros
        y = fixed.rounding_shift_right(fixed.high_mul(scale, exps), over_unit + 31 - 8) - 128
        return (np.where(exps > 0, np.clip(y, -128, 127), -128).astype(np.int8),)
