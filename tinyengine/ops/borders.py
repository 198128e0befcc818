"""Where real numbers enter and leave the integer network: quantise and dequantise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.ops.op import (
    Op,
    Signature,
    expect_count,
    expect_dtype,
    expect_quantised,
    expect_shape,
)

if TYPE_CHECKING:
    from tinyengine.ir.graph import Node
    from tinyengine.passes.backward import Tape


def quantise(x: Array, type_: TensorType) -> Array:
    """round(x / scale) + zero point in float32, half away from zero, saturated to int8."""
    scaled = np.asarray(x, np.float32) / np.float32(type_.scale)
    scaled = np.nan_to_num(np.clip(scaled, np.float32(-1e6), np.float32(1e6)))
    # Adding 0.5 before a floor would round 0.5 - 2**-25 up: the sum is not a float32.
    whole = np.trunc(scaled)
    away = np.abs(scaled - whole) >= np.float32(0.5)
    rounded = whole.astype(np.int64) + np.where(away, np.sign(scaled), 0).astype(np.int64)
    return np.asarray(np.clip(rounded + type_.zero_point, -128, 127), np.int8)


@dataclass(frozen=True, slots=True)
class Quantize(Op):
    """float32 -> int8 (TFLite QUANTIZE). Only at the input; the harness does it, not the board."""

    kind: ClassVar[str] = "quantize"

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        expect_dtype(sig.ins[0], DType.F32, "input")
        expect_quantised(sig.outs[0], "output")
        expect_shape(sig.outs[0], sig.ins[0].shape, "output")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        return (quantise(ins[0], sig.outs[0]),)


@dataclass(frozen=True, slots=True)
class Dequantize(Op):
    """int8 -> float32: scale * (q - zero point), one rounding (TFLite DEQUANTIZE)."""

    kind: ClassVar[str] = "dequantize"

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        expect_quantised(sig.ins[0], "input")
        expect_dtype(sig.outs[0], DType.F32, "output")
        expect_shape(sig.outs[0], sig.ins[0].shape, "output")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        centred = ins[0].astype(np.int32) - sig.ins[0].zero_point
        return (centred.astype(np.float32) * np.float32(sig.ins[0].scale),)

    def backward(self, tape: Tape, node: Node) -> None:
        tape.add(node.inputs[0], tape.d(node.outputs[0]))
