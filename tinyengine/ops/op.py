"""What an operator is: one frozen dataclass whose fields are its attributes.

An operator file says everything about one operator: which types it accepts (`check`), what it means
in integers (`evaluate`), how gradients pass it (`backward`), what it costs (`macs`) and what memory
it may share (`inplace`, `scratch_bytes`). C kernels equal `evaluate` bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class Band:
    """What makes `count` rows of an output from a few rows of the inputs.

    op: the operator on those rows alone. rows: (first, end) of each input; None: all of it, which
    only an input that is no map of rows may ask for (weights, tables, broadcast operands).
    """

    op: Op
    rows: tuple[tuple[int, int] | None, ...]
    count: int

    def signature(self, sig: Signature) -> Signature:
        """Types of the rows: those of the whole maps with fewer rows."""
        ins = tuple(
            type_ if rows is None else _rows_of(type_, rows[1] - rows[0])
            for type_, rows in zip(sig.ins, self.rows, strict=True)
        )
        return Signature(ins, tuple(_rows_of(type_, self.count) for type_ in sig.outs))


def _rows_of(type_: TensorType, count: int) -> TensorType:
    return replace(type_, shape=(type_.shape[0], count, *type_.shape[2:]))


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

    def lead_bytes(self, sig: Signature) -> int | None:
        """How many bytes before input 0 output 0 must begin to be written over it; None: never.

        A promise of every kernel of the operator that does not go by channels: output rows are made
        in order, and a row is written only where input rows lie that no later output row needs.
        """
        return None

    def band(self, sig: Signature, row: int, count: int = 1) -> Band | None:
        """How `count` output rows from `row` on are made from rows of the inputs.

        None: only as a whole. Maps are (1, h, w, c) and rows run along h; a later row never needs
        earlier input rows, and several rows need those from the first of the first one's to the
        last of the last one's.
        """
        return None

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
