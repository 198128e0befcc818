"""What a C call is made of: literal arguments, parameter structs, constant tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyengine.errors import InternalError
from tinyengine.ir.graph import Node
from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.ops.op import Signature

C_TYPES = {
    DType.I8: "int8_t",
    DType.I16: "int16_t",
    DType.I32: "int32_t",
    DType.U32: "uint32_t",
    DType.F32: "float",
    DType.B1: "uint8_t",
}
_TABLE_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "float32": "float",
}
PER_LINE = 20  # values of a constant array on one line
NULL = "NULL"


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A constant array that a kernel reads besides the graph's own constants; rank 1."""

    data: Array


@dataclass(frozen=True, slots=True)
class Struct:
    """A constant parameter struct: its C type, and (field, value) with C text or a table."""

    ctype: str
    fields: tuple[tuple[str, str | Table], ...]


Argument = str | Struct | Table


@dataclass(frozen=True, slots=True)
class Call:
    """One C statement `function(args);`."""

    function: str
    args: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class RowLoop:
    """Calls that run for every `step` rows; `k` is the first of them in their arguments."""

    rows: int
    body: tuple[Call, ...]
    step: int = 1


@dataclass(frozen=True, slots=True)
class Operands:
    """A node with the C expressions of its operands: pointers, or values for scalar inputs."""

    node: Node
    sig: Signature
    ins: tuple[str, ...]
    outs: tuple[str, ...]
    scratch: str
    hyper: str  # pointer to lr, seed and step
    data: tuple[Array | None, ...] = ()  # of the inputs that lie in flash, else None

    def at(self, index: int) -> str:
        """Input `index`, or NULL where the node has fewer."""
        return self.ins[index] if index < len(self.ins) else NULL


def struct(ctype: str, **fields: object) -> Struct:
    """Return a parameter struct; numbers become C literals, strings and tables stay."""
    return Struct(ctype, tuple((name, _field(value)) for name, value in fields.items()))


def _field(value: object) -> str | Table:
    if isinstance(value, Table | str):
        return value
    if isinstance(value, bool | int | np.integer):
        return integer(int(value))
    if isinstance(value, float | np.floating):
        return real(float(value))
    raise InternalError(f"no C literal for {value!r}")


def integer(value: int) -> str:
    """Return a C literal of any int32 or uint32 value."""
    if value == -(2**31):
        return "INT32_MIN"
    return f"{value}u" if value >= 2**31 else str(value)


def real(value: float) -> str:
    """Return a float32 as the shortest decimal that reads back to the same bits.

    Raises:
        InternalError: the value is not finite.
    """
    if not np.isfinite(value):
        raise InternalError(f"{value} has no C literal")
    return f"{np.float32(value)!s}f"


def table_type(table: Table) -> str:
    """Return the C element type of a table."""
    return _TABLE_TYPES[table.data.dtype.name]


def values_text(data: Array) -> str:
    """Return the values of an array as C literals, PER_LINE to a line."""
    flat = data.reshape(-1)
    if flat.dtype == np.float32:
        if not np.isfinite(flat).all():
            raise InternalError("a constant array holds values that are not finite")
        words = [f"{text}f" for text in flat.astype(str).tolist()]
    else:
        words = list(map(str, flat.tolist()))
        if flat.dtype == np.int32 and (flat == -(2**31)).any():
            words = [integer(int(value)) for value in flat]
        elif flat.dtype == np.uint32:
            words = [f"{word}u" for word in words]
    lines = (", ".join(words[i : i + PER_LINE]) for i in range(0, len(words), PER_LINE))
    return ",\n    ".join(lines)


def ctype(type_: TensorType) -> str:
    """Return the C element type of a tensor; bits are packed into bytes."""
    return C_TYPES[type_.dtype]
