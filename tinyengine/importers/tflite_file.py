"""What a .tflite file says, as plain records: read with suspicion, checked before it is believed.

Every offset and length in a flatbuffer comes from the file. Reading past its end raises; what is
left for us to bound is how much a small file can make us do: counts, and bytes read in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite

from tinyengine.errors import ModelError
from tinyengine.importers.layers import RANK_MAX
from tinyengine.ir.tensor import Array

MARK = b"TFL3"
FILE_BYTES_MAX = 64 * 1024 * 1024
COUNT_MAX = 4096  # operators or tensors: each costs time to read
REUSE_MAX = 4  # how often the bytes of the file may be read: buffers may be shared, a little

NUMPY: dict[int, np.dtype[Any]] = {
    tflite.TensorType.FLOAT32: np.dtype("<f4"),
    tflite.TensorType.INT8: np.dtype("i1"),
    tflite.TensorType.INT32: np.dtype("<i4"),
    tflite.TensorType.INT64: np.dtype("<i8"),
}


def _names(schema_enum: type) -> dict[int, str]:
    return {v: k for k, v in vars(schema_enum).items() if isinstance(v, int)}


TYPE_NAMES = _names(tflite.TensorType)
OPERATOR_NAMES = _names(tflite.BuiltinOperator)


@dataclass(frozen=True, slots=True)
class FileTensor:
    """A tensor as the file describes it; `buffer` is an index, 0 where there is no data."""

    index: int
    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    type: int
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int
    buffer: int
    is_special: bool  # sparse, variable, or quantised in a way of its own

    @property
    def type_name(self) -> str:
        """Lower-case element type, as in the schema."""
        return TYPE_NAMES.get(self.type, f"type {self.type}").lower()


@dataclass(frozen=True, slots=True)
class FileOperator:
    """An operator as the file describes it. `options` is a flatbuffer table or None."""

    index: int
    kind: str  # as in the schema: CONV_2D; a custom operator is CUSTOM 'its name'
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options_type: int
    options: Any


@dataclass(frozen=True, slots=True)
class FileModel:
    """The one subgraph of a file."""

    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Reader:
    """Reads one file's bytes; keeps count of how much it was made to read."""

    def __init__(self, data: bytes) -> None:
        if len(data) < 8 or data[4:8] != MARK:
            raise ModelError(
                f"not a valid .tflite: no '{MARK.decode()}' mark in its first 8 of {len(data):,} B"
            )
        if len(data) > FILE_BYTES_MAX:
            raise ModelError(f"it has {len(data):,} B, more than {FILE_BYTES_MAX:,} B")
        self._size = len(data)
        self._budget = REUSE_MAX * len(data)
        self._model = tflite.Model.GetRootAsModel(data, 0)

    def model(self) -> FileModel:
        """The file's only subgraph."""
        count = int(self._model.SubgraphsLength())
        if count != 1:
            raise ModelError(f"it has {count} subgraphs; only files with one are supported")
        graph = self._model.Subgraphs(0)
        codes = self._codes()
        tensors = range(self._count(graph.TensorsLength(), "tensors"))
        operators = range(self._count(graph.OperatorsLength(), "operators"))
        return FileModel(
            tuple(self._tensor(graph.Tensors(i), i) for i in tensors),
            tuple(self._operator(graph.Operators(i), i, codes) for i in operators),
            self._ints(graph.InputsLength(), graph.InputsAsNumpy),
            self._ints(graph.OutputsLength(), graph.OutputsAsNumpy),
        )

    def data(self, tensor: FileTensor) -> Array | None:
        """A constant's elements, or None where the tensor has no data."""
        if not 0 <= tensor.buffer < self._model.BuffersLength():
            raise ModelError(
                f"not a valid .tflite: tensor '{tensor.name}' names buffer {tensor.buffer} of "
                f"{self._model.BuffersLength()}"
            )
        if tensor.buffer == 0:
            return None
        buffer = self._model.Buffers(tensor.buffer)
        length = int(buffer.DataLength())
        if hasattr(buffer, "Offset") and int(buffer.Offset()) > 1:
            raise ModelError("its data lie behind the flatbuffer, as in files over 2 GB")
        if length == 0:
            return None
        self._spend(length)
        dtype = NUMPY.get(tensor.type)
        wanted = int(np.prod(tensor.shape, dtype=np.int64)) * (dtype.itemsize if dtype else 1)
        if dtype is None or length != wanted:
            raise ModelError(
                f"tensor '{tensor.name}' ({tensor.type_name} {tensor.shape}) has {length:,} B of "
                f"data, needs {wanted:,} B"
            )
        return np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype).reshape(tensor.shape)

    def _spend(self, count: int) -> None:
        self._budget -= count
        if count < 0 or self._budget < 0:
            raise ModelError(
                f"not a valid .tflite: its parts add up to more than its {self._size:,} B"
            )

    def _count(self, count: int, what: str) -> int:
        if count > COUNT_MAX:
            raise ModelError(f"it has {count:,} {what}, more than {COUNT_MAX:,}")
        return int(count)

    def _ints(self, length: int, read: Any) -> tuple[int, ...]:
        self._spend(4 * int(length))
        return tuple(int(n) for n in read()) if length else ()

    def _codes(self) -> tuple[str, ...]:
        names = []
        for i in range(self._count(self._model.OperatorCodesLength(), "operator codes")):
            code = self._model.OperatorCodes(i)
            # Files from before schema 3a keep the number in the older, one-byte field.
            number = max(int(code.BuiltinCode()), int(code.DeprecatedBuiltinCode()))
            name = OPERATOR_NAMES.get(number, f"operator {number}")
            if name == "CUSTOM":
                name = f"CUSTOM {_text(code.CustomCode())}"
            names.append(name)
        return tuple(names)

    def _operator(self, op: Any, index: int, codes: tuple[str, ...]) -> FileOperator:
        code = int(op.OpcodeIndex())
        if not 0 <= code < len(codes):
            raise ModelError(
                f"not a valid .tflite: operator {index} names code {code} of {len(codes)}"
            )
        inputs = self._ints(op.InputsLength(), op.InputsAsNumpy)
        outputs = self._ints(op.OutputsLength(), op.OutputsAsNumpy)
        options = op.BuiltinOptions()
        return FileOperator(
            index, codes[code], inputs, outputs, int(op.BuiltinOptionsType()), options
        )

    def _tensor(self, tensor: Any, index: int) -> FileTensor:
        name = _text(tensor.Name()) or f"tensor {index}"
        rank = int(tensor.ShapeLength())
        if rank > RANK_MAX or int(tensor.ShapeSignatureLength()) > RANK_MAX:
            raise ModelError(f"tensor '{name}' has {rank} axes, more than {RANK_MAX}")
        quant = tensor.Quantization()
        scales: tuple[float, ...] = ()
        zeros: tuple[int, ...] = ()
        axis, special = 0, bool(tensor.IsVariable()) or tensor.Sparsity() is not None
        if quant is not None and quant.ScaleLength():
            self._spend(4 * int(quant.ScaleLength()))
            scales = tuple(float(s) for s in quant.ScaleAsNumpy())
            zeros = self._ints(quant.ZeroPointLength(), quant.ZeroPointAsNumpy)
            axis = int(quant.QuantizedDimension())
            special = special or bool(quant.DetailsType())
        return FileTensor(
            index,
            name,
            self._ints(rank, tensor.ShapeAsNumpy),
            self._ints(tensor.ShapeSignatureLength(), tensor.ShapeSignatureAsNumpy),
            int(tensor.Type()),
            scales,
            zeros,
            axis,
            int(tensor.Buffer()),
            special,
        )


def _text(raw: bytes | None) -> str:
    """A name from the file, fit for a message: short, printable, no quotes."""
    text = (raw or b"")[:60].decode("utf-8", "replace")
    return "".join(c if c.isprintable() and c not in "'\"" else "?" for c in text)
