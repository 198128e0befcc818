"""A weight gradient and its update as one node: the gradient never exists as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tinyengine.ir.tensor import Array
from tinyengine.ops.conv2d import weight_gradient_type
from tinyengine.ops.op import Op, Signature, expect
from tinyengine.ops.sgd import SgdI8


@dataclass(frozen=True, slots=True)
class RowStep(Op):
    """gradient(d, x) one row (one output channel) at a time, each fed to `update` at once.

    Inputs: those of `gradient`, then those of `update` without its gradient. The bits are those of
    the two nodes apart; the scratch is one row, float32 or int32, instead of the whole tensor. Only
    for convolution weights, whose rows are contiguous.
    """

    kind: ClassVar[str] = "row_step"
    gradient: Op
    update: SgdI8

    def check(self, sig: Signature) -> None:
        expect(len(sig.ins) >= 7, "takes at least 7 inputs")
        expect(self.update.axis == 0, "rows must be output channels")
        first, second = self.split(sig)
        self.gradient.check(first)
        self.update.check(second)

    def split(self, sig: Signature) -> tuple[Signature, Signature]:
        """Signatures of the gradient and of the update."""
        d_w = weight_gradient_type(sig.ins[2].shape, *sig.ins[:2])
        update = Signature((sig.ins[2], d_w, *sig.ins[3:]), sig.outs)
        return Signature(sig.ins[:2], (d_w,)), update

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        first, second = self.split(sig)
        (d_w,) = self.gradient.evaluate(first, ins[:2])
        return self.update.evaluate(second, (ins[2], d_w, *ins[3:]))

    def macs(self, sig: Signature) -> int:
        return self.gradient.macs(self.split(sig)[0])

    def scratch_bytes(self, sig: Signature) -> int:
        weight = sig.ins[2]
        return 4 * (weight.count // weight.shape[0])
