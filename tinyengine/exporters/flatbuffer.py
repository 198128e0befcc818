"""Writes the tables of a .tflite file. Knows the schema, nothing of graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
import tflite

from tinyengine.ir.tensor import Array, DType, Quant

DATA_ALIGNMENT = 16  # the schema's `force_align` of buffers
SCHEMA_VERSION = 3

_TYPES = {
    DType.I8: tflite.TensorType.INT8,
    DType.I32: tflite.TensorType.INT32,
    DType.F32: tflite.TensorType.FLOAT32,
}


@dataclass(frozen=True, slots=True)
class Options:
    """An options table: its name in the schema without 'Options', and its scalar fields."""

    name: str
    fields: Mapping[str, int | float | bool] = field(default_factory=dict)


class Writer:
    """Collects tensors and operators, then lays them out."""

    def __init__(self) -> None:
        self._b = flatbuffers.Builder(1 << 16)
        self._tensors: list[int] = []
        self._buffers: list[int] = [self._table("Buffer", {})]  # 0: for tensors without data
        self._operators: list[int] = []
        self._codes: list[tuple[int, int]] = []

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: DType,
        quant: Quant | None,
        data: Array | None = None,
    ) -> int:
        """Add a tensor; returns its index."""
        fields = {
            "Name": self._b.CreateString(name),
            "Shape": self._b.CreateNumpyVector(np.array(shape, np.int32)),
            "Quantization": self._quantisation(quant),
        }
        buffer = 0 if data is None else self._buffer(data)
        self._tensors.append(
            self._table("Tensor", {**fields, "Type": _TYPES[dtype], "Buffer": buffer})
        )
        return len(self._tensors) - 1

    def operator(
        self,
        kind: str,
        version: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Options | None,
    ) -> None:
        """Add an operator; `kind` as in the schema: CONV_2D."""
        code = (int(getattr(tflite.BuiltinOperator, kind)), version)
        if code not in self._codes:
            self._codes.append(code)
        fields: dict[str, int | None] = {
            "OpcodeIndex": self._codes.index(code),
            "Inputs": self._b.CreateNumpyVector(np.array(inputs, np.int32)),
            "Outputs": self._b.CreateNumpyVector(np.array(outputs, np.int32)),
        }
        if options is not None:
            fields["BuiltinOptions"] = self._table(f"{options.name}Options", options.fields)
            fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, f"{options.name}Options")
        self._operators.append(self._table("Operator", fields))

    def finish(self, name: str, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file."""
        graph = self._table(
            "SubGraph",
            {
                "Name": self._b.CreateString(name),
                "Tensors": self._offsets(self._tensors),
                "Inputs": self._b.CreateNumpyVector(np.array(inputs, np.int32)),
                "Outputs": self._b.CreateNumpyVector(np.array(outputs, np.int32)),
                "Operators": self._offsets(self._operators),
            },
        )
        codes = [
            # The first field holds only numbers up to 127; readers take the larger of the two.
            self._table(
                "OperatorCode",
                {
                    "DeprecatedBuiltinCode": min(code, 127),
                    "BuiltinCode": code,
                    "Version": version,
                },
            )
            for code, version in self._codes
        ]
        model = self._table(
            "Model",
            {
                "Version": SCHEMA_VERSION,
                "OperatorCodes": self._offsets(codes),
                "Subgraphs": self._offsets([graph]),
                "Description": self._b.CreateString("tinyengine"),
                "Buffers": self._offsets(self._buffers),
            },
        )
        self._b.Finish(model, b"TFL3")
        return bytes(self._b.Output())

    def _table(self, name: str, fields: Mapping[str, int | float | bool | None]) -> int:
        getattr(tflite, f"{name}Start")(self._b)
        for key, value in fields.items():
            if value is not None:
                getattr(tflite, f"{name}Add{key}")(self._b, value)
        return int(getattr(tflite, f"{name}End")(self._b))

    def _offsets(self, offsets: Sequence[int]) -> int:
        self._b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._b.PrependUOffsetTRelative(offset)
        return int(self._b.EndVector())

    def _buffer(self, data: Array) -> int:
        little = np.ascontiguousarray(data).astype(data.dtype.newbyteorder("<"), copy=False)
        raw = little.tobytes()
        self._b.StartVector(1, len(raw), DATA_ALIGNMENT)
        start = self._b.Head() - len(raw)
        self._b.head = start
        self._b.Bytes[start : start + len(raw)] = raw
        self._buffers.append(self._table("Buffer", {"Data": int(self._b.EndVector())}))
        return len(self._buffers) - 1

    def _quantisation(self, quant: Quant | None) -> int | None:
        if quant is None:
            return None
        zeros = np.full(len(quant.scale), quant.zero_point, np.int64)
        return self._table(
            "QuantizationParameters",
            {
                "Scale": self._b.CreateNumpyVector(np.array(quant.scale, np.float32)),
                "ZeroPoint": self._b.CreateNumpyVector(zeros),
                "QuantizedDimension": quant.axis or 0,
            },
        )
