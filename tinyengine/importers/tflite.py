"""Int8 .tflite files: full-integer models, per tensor or per channel.

Layers are called after their operator and its index in the file: `conv2d_0`, `add_3`. So is the
value that each makes: operator i's output tensor is the value of that name.
"""

from __future__ import annotations

import struct
from pathlib import Path

import tflite

from tinyengine.errors import ModelError, UserError
from tinyengine.importers.layers import Layers, make_quant, sound_shape
from tinyengine.importers.tflite_context import Context
from tinyengine.importers.tflite_file import FileModel, FileOperator, FileTensor, Reader
from tinyengine.importers.tflite_ops import HANDLERS
from tinyengine.ir.graph import Graph, retain
from tinyengine.ir.tensor import DType, TensorType

_HOW_TO_QUANTISE = (
    "convert it with full-integer post-training quantisation: a representative data set, "
    "supported_ops TFLITE_BUILTINS_INT8, inference types int8"
)
_MESSAGE_MAX = 2000


def load_tflite(path: Path) -> Graph:
    """The graph of a .tflite file.

    Raises:
        ModelError: missing, unreadable, broken or unsupported; the message says which.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"no file '{path}'") from None
    except OSError as error:
        raise ModelError(f"cannot read '{path}': {error.strerror}") from None
    try:
        return parse_tflite(data, path.stem)
    except UserError as error:
        raise type(error)(f"'{path}': {error}") from None


def parse_tflite(data: bytes, name: str) -> Graph:
    """The graph in the bytes of a .tflite file.

    Raises:
        ModelError: broken or unsupported.
    """
    try:
        reader = Reader(data)
        model = reader.model()
        _check(model)
        return _build(reader, model, name)
    except (
        struct.error,
        IndexError,
        ValueError,
        TypeError,
        OverflowError,
        KeyError,
        AttributeError,
        MemoryError,
    ) as error:
        # What the flatbuffer reader raises depends on which byte is wrong.
        raise ModelError(
            f"not a valid .tflite: {type(error).__name__}: {error}"[:_MESSAGE_MAX]
        ) from error
    except ModelError as error:
        raise ModelError(str(error)[:_MESSAGE_MAX]) from None


def _check(model: FileModel) -> None:
    """Everything that concerns the whole file, the most helpful message first."""
    _check_indices(model)
    made = [model.tensors[t] for op in model.operators for t in op.outputs]
    int8 = [t for t in made if t.type == tflite.TensorType.INT8]
    floats = [t for t in made if t.type in (tflite.TensorType.FLOAT32, tflite.TensorType.FLOAT16)]
    if floats and not int8:
        raise ModelError(
            f"this is a float model (tensor '{floats[0].name}' is {floats[0].type_name}); "
            f"{_HOW_TO_QUANTISE}"
        )
    _check_known(model)
    _check_types(model)
    for what, ends in (("input", model.inputs), ("output", model.outputs)):
        if len(ends) != 1:
            raise ModelError(f"it has {len(ends)} {what}s; a model with one {what} is supported")
    _check_static(model.tensors[model.inputs[0]])


def _check_indices(model: FileModel) -> None:
    count = len(model.tensors)
    for op in model.operators:
        # -1 stands for an operand that was left out; only inputs may be.
        if any(not -1 <= t < count for t in op.inputs) or any(
            not 0 <= t < count for t in op.outputs
        ):
            raise ModelError(f"operator {op.index} ('{op.kind}') names tensors beyond {count}")
        if len(op.outputs) != 1 and op.kind in HANDLERS:
            raise ModelError(f"operator {op.index} ('{op.kind}') has {len(op.outputs)} outputs")
    if any(not 0 <= t < count for t in (*model.inputs, *model.outputs)):
        raise ModelError(f"the model's inputs and outputs name tensors beyond {count}")


def _check_known(model: FileModel) -> None:
    unknown: dict[str, list[str]] = {}
    for op in model.operators:
        if op.kind not in HANDLERS:
            name = model.tensors[op.outputs[0]].name if op.outputs else "no output"
            unknown.setdefault(op.kind, []).append(f"{op.index} ({name})")
    if unknown:
        listed = "; ".join(f"'{kind}' at {', '.join(at)}" for kind, at in unknown.items())
        raise ModelError(
            f"operators that are not supported, with their index (and output tensor): {listed}. "
            f"Supported are {', '.join(HANDLERS)}"
        )


def _check_types(model: FileModel) -> None:
    layout = {"QUANTIZE", "DEQUANTIZE", "RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS"}
    for op in model.operators:
        for index in (*op.inputs[:1], *op.outputs):
            tensor = model.tensors[index]
            where = f"operator {op.index} ('{op.kind}') works on '{tensor.name}'"
            if tensor.type in (tflite.TensorType.UINT8, tflite.TensorType.INT16):
                raise ModelError(
                    f"{where}, which is {tensor.type_name}; only int8 is supported: "
                    f"{_HOW_TO_QUANTISE}"
                )
            is_float = tensor.type in (tflite.TensorType.FLOAT32, tflite.TensorType.FLOAT16)
            if is_float and op.kind not in layout:
                raise ModelError(
                    f"{where}, which is {tensor.type_name}: a float model, or one of which only "
                    f"the weights are quantised; {_HOW_TO_QUANTISE}"
                )


def _check_static(tensor: FileTensor) -> None:
    shape = tensor.signature or tensor.shape
    dynamic = any(n < 1 for n in tensor.shape) or any(n < 0 for n in shape[1:])
    if dynamic or not tensor.shape:
        raise ModelError(
            f"input '{tensor.name}' has a dynamic shape {shape}; convert the model with a fixed "
            "input shape"
        )
    if tensor.shape[0] != 1:
        raise ModelError(
            f"input '{tensor.name}' has shape {tensor.shape}: a batch of {tensor.shape[0]}; "
            "convert the model with batch 1"
        )


def _build(reader: Reader, model: FileModel, name: str) -> Graph:
    layers = Layers(name, "tflite")
    context = Context(reader, model, layers)
    entry = model.tensors[model.inputs[0]]
    context.values[entry.index] = layers.builder.input("input", _input_type(entry))
    for op in model.operators:
        _append(context, op)
    exit_ = model.outputs[0]
    if all(exit_ not in op.outputs for op in model.operators):
        raise ModelError(f"no operator makes the output '{model.tensors[exit_].name}'")
    layers.builder.outputs.append(context.values[exit_])
    return retain(layers.builder.build(), layers.builder.outputs)


def _input_type(tensor: FileTensor) -> TensorType:
    shape = sound_shape(tensor.shape, f"input '{tensor.name}'")
    if tensor.type == tflite.TensorType.FLOAT32:
        return TensorType(shape, DType.F32)
    if tensor.type != tflite.TensorType.INT8 or len(tensor.scales) != 1:
        raise ModelError(
            f"input '{tensor.name}' is {tensor.type_name} with {len(tensor.scales)} scales; it "
            "must be float32, or int8 with one scale"
        )
    zero = tensor.zero_points[0] if tensor.zero_points else 0
    return TensorType(shape, DType.I8, make_quant(tensor.scales[0], zero, f"'{tensor.name}'"))


def _append(context: Context, op: FileOperator) -> None:
    kind, handler = HANDLERS[op.kind]
    layer = f"{kind}_{op.index}"
    out = op.outputs[0]
    if out in context.values:
        raise ModelError(
            f"operator {op.index} ('{op.kind}') writes tensor '{context.model.tensors[out].name}', "
            "which something else made before"
        )
    value = handler(context, op, layer)
    declared, made = context.model.tensors[out], context.layers.type(value)
    if declared.shape != made.shape or (declared.type == tflite.TensorType.INT8) != (
        made.dtype is DType.I8
    ):
        raise ModelError(
            f"operator {op.index} ('{op.kind}') makes {made.dtype.value} {made.shape}, but the "
            f"file says {declared.type_name} {declared.shape}"
        )
    context.values[out] = value
