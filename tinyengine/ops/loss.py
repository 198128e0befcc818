"""Softmax cross-entropy on float32 logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType
from tinyengine.ops import fixed
from tinyengine.ops.op import Op, Signature, expect, expect_count, expect_dtype, expect_shape


@dataclass(frozen=True, slots=True)
class SoftmaxXent(Op):
    """loss = log(sum) - (l[label] - max); d[k] = e[k] / sum, d[label] = -(rest / sum).

    e[k] = exp(l[k] - max); `sum` adds all e, `rest` all but e[label], both in order from +0.
    logits (1, n) f32; label () u32 in [0, n) -> loss () f32, d (1, n) f32.

    d[label] is not e[label] / sum - 1: for a sample that the model is sure of, float32 would keep
    no digit of that difference, and the gradient would point elsewhere (cosine 0.58 at a margin
    of 18).
    """

    kind: ClassVar[str] = "softmax_xent"

    def check(self, sig: Signature) -> None:
        expect_count(sig, 2, 2)
        logits, label = sig.ins
        expect_dtype(logits, DType.F32, "logits")
        expect(len(logits.shape) == 2 and logits.shape[0] == 1, "logits must have shape (1, n)")
        expect_dtype(label, DType.U32, "label")
        expect_shape(label, (), "label")
        expect_dtype(sig.outs[0], DType.F32, "loss")
        expect_shape(sig.outs[0], (), "loss")
        expect_shape(sig.outs[1], logits.shape, "gradient")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        logits, label = ins[0][0], int(ins[1])
        shifted = logits - logits.max()
        exps = fixed.exp_f32(shifted)
        total = np.cumsum(exps, dtype=np.float32)[-1:]
        loss = fixed.log_f32(total) - shifted[label]
        others = exps.copy()
        others[label] = np.float32(0)
        rest = np.cumsum(others, dtype=np.float32)[-1]
        d = exps / total
        d[label] = -(rest / total[0])
        return loss[0].reshape(()), d[None, :]
