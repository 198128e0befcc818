"""Any function of one int8 value as a table of 256: logistic, ReLU, a change of scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.ops import fixed
from tinyengine.ops.exponent import GradientOp, Scaling
from tinyengine.ops.fixed import I64
from tinyengine.ops.op import (
    Band,
    Op,
    Signature,
    expect,
    expect_count,
    expect_dtype,
    expect_quantised,
    expect_shape,
)

if TYPE_CHECKING:
    from tinyengine.ir.graph import Node
    from tinyengine.passes.backward import Tape

TABLE = 256


@dataclass(frozen=True, slots=True)
class Lut(Op):
    """y = table[x + 128]. `function` names what the table holds (see `tables.py`).

    x i8 any shape; table (256,) i8; slope (256,) f32: dy/dx on real values, 0 where y is saturated.
    """

    kind: ClassVar[str] = "lut"
    function: str

    def check(self, sig: Signature) -> None:
        expect_count(sig, 3)
        x, table, slope = sig.ins
        expect_quantised(x, "input")
        expect_quantised(sig.outs[0], "output")
        expect_shape(sig.outs[0], x.shape, "output")
        expect_dtype(table, DType.I8, "table")
        expect_shape(table, (TABLE,), "table")
        expect_dtype(slope, DType.F32, "slope")
        expect_shape(slope, (TABLE,), "slope")
        expect(bool(self.function), "the function must have a name")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        return (ins[1][ins[0].astype(np.int64) + 128],)

    def band(self, sig: Signature, row: int, count: int = 1) -> Band | None:
        out = sig.outs[0].shape
        rows = ((row, row + count), None, None)
        return Band(self, rows, count) if len(out) == 4 and out[0] == 1 else None

    def backward(self, tape: Tape, node: Node) -> None:
        x, _, slope = node.inputs
        d = tape.d(node.outputs[0])
        d_type = TensorType(tape.type(x).shape, DType.F32)
        tape.add(x, tape.emit(LutBwd(), (d, x, slope), d_type, f"d_{x}", node))

    def inplace(self, sig: Signature) -> tuple[int, ...]:
        return (0,)


@dataclass(frozen=True, slots=True)
class LutBwd(GradientOp):
    """d_x = d_y * slope[x + 128]. In integers the slopes are i16 times the scale of their type."""

    kind: ClassVar[str] = "lut_bwd"

    def check(self, sig: Signature) -> None:
        expect_count(sig, 3)
        d, x, slope = sig.ins
        expect_dtype(d, DType.F32, "output gradient")
        expect_quantised(x, "input")
        expect_shape(x, d.shape, "input")
        expect_shape(slope, (TABLE,), "slope")
        expect_dtype(sig.outs[0], DType.F32, "input gradient")
        expect_shape(sig.outs[0], d.shape, "input gradient")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        d, x, slope = ins
        return (d * slope[x.astype(np.int64) + 128],)

    def integers(self, sig: Signature, ins: Sequence[Array], scaling: Scaling) -> I64:
        d, x, slope = ins
        product = d.astype(np.int64) * slope[x.astype(np.int64) + 128]
        return scaling.by(product, *fixed.quantise_multiplier(sig.ins[2].scale))

    def inplace(self, sig: Signature) -> tuple[int, ...]:
        return (0,)

    def check_integers(self, sig: Signature) -> None:
        expect_dtype(sig.ins[2], DType.I16, "slope")
