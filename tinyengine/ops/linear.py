"""The float32 classifier head and its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.ops.layout import Reshape
from tinyengine.ops.op import Op, Signature, expect, expect_count, expect_dtype, expect_shape

if TYPE_CHECKING:
    from tinyengine.ir.graph import Node
    from tinyengine.passes.backward import Tape


def expect_float(sig: Signature) -> None:
    """All inputs and outputs are float32."""
    for type_ in (*sig.ins, *sig.outs):
        expect_dtype(type_, DType.F32, "operand")


@dataclass(frozen=True, slots=True)
class Linear(Op):
    """y[k] = b[k] + sum over c in order of x[c] * w[k, c], float32, batch 1.

    x (1, c); weight (k, c); bias (k,) -> y (1, k). The sum starts from the bias.
    """

    kind: ClassVar[str] = "linear"

    def check(self, sig: Signature) -> None:
        expect_count(sig, 3)
        expect_float(sig)
        x, weight, bias = sig.ins
        expect(len(weight.shape) == 2, "weight must have rank 2")
        expect_shape(x, (1, weight.shape[1]), "input")
        expect_shape(bias, (weight.shape[0],), "bias")
        expect_shape(sig.outs[0], (1, weight.shape[0]), "output")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        x, weight, bias = ins
        y = np.repeat(bias[None, :], len(x), axis=0)
        for c in range(weight.shape[1]):
            y = y + x[:, c : c + 1] * weight[:, c]
        return (y,)

    def macs(self, sig: Signature) -> int:
        return sig.ins[1].count

    def backward(self, tape: Tape, node: Node) -> None:
        x, weight, bias = node.inputs
        d = tape.d(node.outputs[0])
        if tape.wants(x):
            d_type = TensorType(tape.type(x).shape, DType.F32)
            tape.add(x, tape.emit(LinearBwdInput(), (d, weight), d_type, f"d_{x}", node))
        if tape.learns(bias):
            d_type = TensorType(tape.type(bias).shape, DType.F32)
            tape.parameter(bias, tape.emit(Reshape(), (d,), d_type, f"d_{bias}", node))
        if tape.learns(weight):
            d_type = TensorType(tape.type(weight).shape, DType.F32)
            tape.parameter(
                weight, tape.emit(LinearBwdWeight(), (d, x), d_type, f"d_{weight}", node)
            )


@dataclass(frozen=True, slots=True)
class LinearBwdInput(Op):
    """d_x[c] = sum over k in order of d_y[k] * w[k, c], from +0."""

    kind: ClassVar[str] = "linear_bwd_input"

    def check(self, sig: Signature) -> None:
        expect_count(sig, 2)
        expect_float(sig)
        d, weight = sig.ins
        expect_shape(d, (1, weight.shape[0]), "output gradient")
        expect_shape(sig.outs[0], (1, weight.shape[1]), "input gradient")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        d, weight = ins
        d_x = np.zeros(sig.outs[0].shape, np.float32)
        for k in range(weight.shape[0]):
            d_x += d[:, k : k + 1] * weight[k]
        return (d_x,)

    def macs(self, sig: Signature) -> int:
        return sig.ins[1].count


@dataclass(frozen=True, slots=True)
class LinearBwdWeight(Op):
    """d_w[k, c] = d_y[k] * x[c]."""

    kind: ClassVar[str] = "linear_bwd_weight"

    def check(self, sig: Signature) -> None:
        expect_count(sig, 2)
        expect_float(sig)
        d, x = sig.ins
        expect_shape(sig.outs[0], (d.shape[1], x.shape[1]), "weight gradient")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        return (ins[0].reshape(-1, 1) * ins[1].reshape(1, -1),)

    def macs(self, sig: Signature) -> int:
        return sig.outs[0].count
