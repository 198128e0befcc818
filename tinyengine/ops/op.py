"""What an operator is: one frozen dataclass whose fields are its attributes.

An operator file says everything about one operator: which types it accepts (`check`), what it means
in integers (`evaluate`), how gradients pass it (`backward`), what it costs (`macs`) and what memory
it may share (`inplace`, `scratch_bytes`). C kernels equal `evaluate` bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tinyengine.errors import InternalError
from tinyengine.ir.tensor import Array, DType, TensorType

if TYPE_CHECKING:
    from tinyengine.ir.graph import Node
    from tinyengine.passes.backward import Tape


@dataclass(frozen=True, slots=True)
class Signature:
    """Types of a node's inputs and outputs."""

    ins: tuple[TensorType, ...]
    outs: tuple[TensorType, ...]


class TypeRuleError(InternalError):
    """A node's types break its operator's rule; `verify` adds where."""


@dataclass(frozen=True, slots=True)
class Op:
    """Base of all operators. Subclasses are frozen and hold attributes only."""

    kind: ClassVar[str] = ""

    def check(self, sig: Signature) -> None:
        """Raise TypeRuleError where the types do not fit."""
        raise NotImplementedError

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        """The operator's meaning: arrays in, arrays out, exactly the bits of the C kernel."""
        raise NotImplementedError

    def backward(self, tape: Tape, node: Node) -> None:
        """Append the gradient of this node to the tape. Default: nothing passes."""
        raise NotImplementedError(f"operator '{self.kind}' has no gradient")

    def macs(self, sig: Signature) -> int:
        """Multiply-accumulates, the field's measure of work; 0 for cheap element-wise work."""
        return 0

    def inplace(self, sig: Signature) -> tuple[int, ...]:
        """Indices of the inputs whose memory output 0 may take over (same element order)."""
        return ()

    def scratch_bytes(self, sig: Signature) -> int:
        """Bytes of scratch that the C kernel needs while it runs."""
        return 0


def expect(condition: bool, message: str) -> None:
    """Raise TypeRuleError with `message` unless `condition` holds."""
    if not condition:
        raise TypeRuleError(message)


def expect_count(sig: Signature, ins: int, outs: int = 1) -> None:
    """Check the number of inputs and outputs."""
    expect(
        len(sig.ins) == ins and len(sig.outs) == outs,
        f"takes {ins} inputs and {outs} outputs, has {len(sig.ins)} and {len(sig.outs)}",
    )


def expect_dtype(type_: TensorType, dtype: DType, what: str) -> None:
    """Check an element type."""
    expect(type_.dtype is dtype, f"{what} must be {dtype.value}, is {type_.dtype.value}")


def expect_shape(type_: TensorType, shape: tuple[int, ...], what: str) -> None:
    """Check a shape."""
    expect(type_.shape == shape, f"{what} must have shape {shape}, has {type_.shape}")


def expect_factor(real: float, what: str) -> None:
    """Check that a factor fits its fixed-point form, multiplier * 2**(shift - 31)."""
    expect(
        0.0 <= real < 2.0**30,
        f"{what} needs a requantisation factor of {real:g}, not in [0, 2**30)",
    )


def expect_quantised(type_: TensorType, what: str) -> None:
    """Check for int8 with one positive scale."""
    expect_dtype(type_, DType.I8, what)
    quant = type_.quant
    expect(
        quant is not None and quant.axis is None and len(quant.scale) == 1 and quant.scale[0] > 0,
        f"{what} must be quantised with one positive scale",
    )
    expect(-128 <= type_.zero_point <= 127, f"{what} has zero point {type_.zero_point}")
