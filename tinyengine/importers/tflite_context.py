"""Where the walk over a .tflite file's operators stands, and what each may ask of it."""

from __future__ import annotations

from typing import Any

import tflite

from tinyengine.errors import ModelError
from tinyengine.importers.layers import Layers, activation_range, make_quant, sound_shape
from tinyengine.importers.tflite_file import FileModel, FileOperator, FileTensor, Reader
from tinyengine.ir.graph import Node
from tinyengine.ir.tensor import Array, DType, Quant, TensorType

ACTIVATIONS = {
    tflite.ActivationFunctionType.NONE: "none",
    tflite.ActivationFunctionType.RELU: "relu",
    tflite.ActivationFunctionType.RELU6: "relu6",
    tflite.ActivationFunctionType.RELU_N1_TO_1: "relu_n1_to_1",
}


class Context:
    """The file, the layers made of it so far, and which tensor is which value."""

    def __init__(self, reader: Reader, model: FileModel, layers: Layers) -> None:
        self.reader, self.model, self.layers = reader, model, layers
        self.values: dict[int, str] = {}

    def tensor(self, op: FileOperator, position: int) -> FileTensor:
        """An operand's description."""
        if position >= len(op.inputs) or op.inputs[position] < 0:
            raise ModelError(f"operator {op.index} ('{op.kind}') lacks operand {position}")
        return self.model.tensors[op.inputs[position]]

    def value(self, op: FileOperator, position: int) -> str:
        """An operand that was computed before, or a constant of int8."""
        tensor = self.tensor(op, position)
        if tensor.index in self.values:
            return self.values[tensor.index]
        data = self.reader.data(tensor)
        if data is None or tensor.type != tflite.TensorType.INT8:
            raise ModelError(
                f"operator {op.index} ('{op.kind}') reads '{tensor.name}' before anything made it"
            )
        name = f"constant_{tensor.index}"
        self.values[tensor.index] = self.layers.constant(name, data, DType.I8, quant(tensor))
        return self.values[tensor.index]

    def producer(self, value: str) -> Node | None:
        """The node that makes a value; None for the model's input and for constants."""
        nodes = self.layers.builder.nodes
        return next((node for node in reversed(nodes) if value in node.outputs), None)

    def constant(self, op: FileOperator, position: int, *types: int) -> Array:
        """An operand that must be known now, of one of `types`."""
        tensor = self.tensor(op, position)
        data = None if tensor.index in self.values else self.reader.data(tensor)
        if data is None or tensor.type not in types:
            raise ModelError(
                f"operator {op.index} ('{op.kind}'): operand {position}, '{tensor.name}' "
                f"({tensor.type_name}), must be a constant of another type or must be constant"
            )
        return data

    def out(self, op: FileOperator) -> FileTensor:
        """The output's description."""
        return self.model.tensors[op.outputs[0]]

    def out_type(self, op: FileOperator, x: str | None = None) -> TensorType:
        """The output's type as the file says; with `x`, its element type and quantisation."""
        tensor = self.out(op)
        shape = sound_shape(tensor.shape, f"tensor '{tensor.name}'")
        if x is not None:
            type_ = self.layers.type(x)
            if type_.dtype is DType.I8 and quant(tensor) != type_.quant:
                raise ModelError(
                    f"operator {op.index} ('{op.kind}') moves '{x}' with {type_.quant} to "
                    f"'{tensor.name}' with {quant(tensor)}; the two must be equal"
                )
            return TensorType(shape, type_.dtype, type_.quant)
        return TensorType(shape, DType.I8, quant(tensor))

    def options(self, op: FileOperator, name: str) -> Any:
        """The operator's options table, `name` without 'Options'; defaults where there is none."""
        table = getattr(tflite, f"{name}Options")()
        wanted = getattr(tflite.BuiltinOptions, f"{name}Options")
        if op.options is None or op.options_type != wanted:
            raise ModelError(f"operator {op.index} ('{op.kind}') lacks its {name}Options")
        table.Init(op.options.Bytes, op.options.Pos)
        return table

    def span(self, op: FileOperator, activation: int, out: Quant) -> tuple[int, int]:
        """The range of a fused activation."""
        name = ACTIVATIONS.get(activation)
        if name is None:
            raise ModelError(
                f"operator {op.index} ('{op.kind}') has fused activation {activation}; supported "
                f"are {', '.join(ACTIVATIONS.values())}"
            )
        return activation_range(name, out)


def quant(tensor: FileTensor) -> Quant:
    """A per-tensor int8 quantisation."""
    what = f"tensor '{tensor.name}'"
    if tensor.is_special or tensor.type != tflite.TensorType.INT8:
        raise ModelError(f"{what} ({tensor.type_name}) must be a plain int8 tensor")
    if len(tensor.scales) != 1 or len(tensor.zero_points) > 1:
        raise ModelError(f"{what} has {len(tensor.scales)} scales; it must have one")
    return make_quant(tensor.scales[0], (*tensor.zero_points, 0)[0], what)
