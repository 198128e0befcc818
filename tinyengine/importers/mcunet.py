"""MCUNet as `.json` (structure, scales) with its `.npz` (weights) beside it.

The published int8 form (mit-han-lab/tiny-training): a first convolution, inverted residual blocks,
a global average and a 1x1 classifier. NHWC; weights OHWI, depthwise O,H,W,1; padding kernel // 2.
Layer names are the keys of the `.npz`: `first_conv`, `block0/depthwise`, ..., `classifier`.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Annotated

import numpy as np
import pydantic

from tinyengine.errors import ModelError
from tinyengine.importers.layers import Kernel, Layers, make_quant
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array, DType, Quant, TensorType
from tinyengine.ops.add import Add
from tinyengine.ops.pool import AvgPool
from tinyengine.ops.window import Window

FULL = (-128, 127)  # the published net clamps to int8 and nothing tighter
JSON_BYTES_MAX = 4 * 1024 * 1024
ARRAY_BYTES_MAX = 64 * 1024 * 1024

Count = Annotated[int, pydantic.Field(ge=1, le=1 << 16)]
Scale = Annotated[float, pydantic.Field(gt=0, le=1e6)]
Zero = Annotated[int, pydantic.Field(ge=-128, le=127)]
Side = Annotated[int, pydantic.Field(ge=1, le=63)]


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="ignore", frozen=True)


class _Scales(_Part):
    x_scale: Scale
    x_zero: Zero
    y_scale: Scale
    y_zero: Zero


class _Conv(_Scales):
    in_channel: Count
    out_channel: Count
    kernel_size: tuple[Side, Side]
    stride: Annotated[int, pydantic.Field(ge=1, le=16)] = 1
    groups: Count = 1
    depthwise: bool = False
    act: None = None


class _Block(_Part):
    pointwise1: _Conv | None
    depthwise: _Conv
    pointwise2: _Conv
    residual: _Scales | None


class _Input(_Part):
    shape: tuple[Annotated[int, pydantic.Field(ge=1, le=1)], Count, Count, Count]


class _Net(_Part):
    input: _Input
    first_conv: _Conv
    blocks: Annotated[list[_Block], pydantic.Field(max_length=256)]
    feature_mix: _Conv | None = None
    classifier: _Conv


def load_mcunet(path: Path) -> Graph:
    """The graph of `path` (.json) and the `.npz` of the same name.

    Raises:
        ModelError: a file is missing or is not what it should be.
    """
    weights = path.with_suffix(".npz")
    for file in (path, weights):
        if not file.is_file():
            raise ModelError(f"no file '{file}'; an MCUNet model is a .json and its .npz beside it")
    return _Importer(path.stem, _read_json(path), _read_arrays(weights)).graph()


def _read_json(path: Path) -> _Net:
    try:
        if path.stat().st_size > JSON_BYTES_MAX:
            raise ModelError(f"'{path}' is larger than {JSON_BYTES_MAX:,} B: not an MCUNet model")
        return _Net.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read '{path}': {error.strerror}") from None
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelError(
            f"'{path}' is not an MCUNet model: {where}: {first['msg'].lower()} "
            f"({error.error_count()} problem(s) in all)"
        ) from None


def _read_arrays(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        if total > ARRAY_BYTES_MAX:
            raise ModelError(f"'{path}' unpacks to {total:,} B, more than {ARRAY_BYTES_MAX:,} B")
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(f"cannot read '{path}': {error}") from None
    except Exception as error:  # numpy and zipfile raise whatever a broken file makes them raise
        raise ModelError(f"'{path}' is not a valid .npz: {error}") from None


class _Importer:
    def __init__(self, name: str, net: _Net, arrays: dict[str, Array]) -> None:
        self.net, self.arrays = net, arrays
        self.layers = Layers(name, "mcunet")
        self.layers.builder.meta["depthwise_layout"] = "ohw1"

    def graph(self) -> Graph:
        net, b = self.net, self.layers.builder
        quant = _quant(net.first_conv.x_scale, net.first_conv.x_zero, "the input")
        x = b.input("input", TensorType(net.input.shape, DType.I8, quant))
        x = self.conv(x, net.first_conv, "first_conv")
        for index, block in enumerate(net.blocks):
            x = self.block(x, block, f"block{index}")
        if net.feature_mix is not None:
            x = self.conv(x, net.feature_mix, "feature_mix")
        x = self.pool(x)
        x = self.conv(x, net.classifier, "classifier")
        b.outputs.append(x)
        return b.build()

    def block(self, x: str, block: _Block, name: str) -> str:
        y = x
        if block.pointwise1 is not None:
            y = self.conv(y, block.pointwise1, f"{name}/pointwise1")
        y = self.conv(y, block.depthwise, f"{name}/depthwise")
        y = self.conv(y, block.pointwise2, f"{name}/pointwise2")
        if block.residual is None:
            return y
        layer, r = f"{name}/add", block.residual
        self.expect_quant(x, r.x_scale, r.x_zero, layer)
        out = _quant(r.y_scale, r.y_zero, f"layer '{layer}'")
        shape = self.layers.type(x).shape
        return self.layers.node(Add(*FULL), (y, x), TensorType(shape, DType.I8, out), layer)

    def pool(self, x: str) -> str:
        type_ = self.layers.type(x)
        out = TensorType((1, 1, 1, type_.shape[3]), DType.I8, type_.quant)
        op = AvgPool(Window((type_.shape[1], type_.shape[2])))
        return self.layers.node(op, (x,), out, "pool")

    def conv(self, x: str, conv: _Conv, layer: str) -> str:
        self.expect_quant(x, conv.x_scale, conv.x_zero, layer)
        out = _quant(conv.y_scale, conv.y_zero, f"layer '{layer}'")
        kh, kw = conv.kernel_size
        padding = (kh // 2, kh // 2, kw // 2, kw // 2)
        window = Window((kh, kw), (conv.stride, conv.stride), padding)
        if not conv.depthwise:
            kernel = self.kernel(layer, (conv.out_channel, kh, kw, conv.in_channel))
            return self.layers.conv(x, kernel, window, out, FULL, layer)
        kernel = self.kernel(layer, (conv.out_channel, kh, kw, 1))
        flat = np.ascontiguousarray(kernel.weight.transpose(3, 1, 2, 0))
        kernel = Kernel(flat, kernel.scales, kernel.bias)
        return self.layers.depthwise(x, kernel, window, out, FULL, layer)

    def kernel(self, layer: str, shape: tuple[int, ...]) -> Kernel:
        return Kernel(
            self.array(f"{layer}/weight", shape, np.dtype(np.int8)),
            self.array(f"{layer}/weight_scales", shape[:1], np.dtype(np.float32)),
            self.array(f"{layer}/bias", shape[:1], np.dtype(np.int32)),
        )

    def array(self, name: str, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
        array = self.arrays.get(name)
        if array is None:
            raise ModelError(f"the .npz holds no '{name}'; the .json asks for it, shape {shape}")
        if array.shape != shape or array.dtype != dtype:
            raise ModelError(
                f"'{name}' in the .npz is {array.dtype} {array.shape}, the .json asks for {dtype} "
                f"{shape}"
            )
        return array

    def expect_quant(self, x: str, scale: float, zero: int, layer: str) -> None:
        found, wanted = self.layers.type(x).quant, _quant(scale, zero, f"layer '{layer}'")
        if found != wanted:
            raise ModelError(
                f"layer '{layer}' reads scale {scale} from {zero}, but '{x}' has {found}"
            )


def _quant(scale: float, zero: int, what: str) -> Quant:
    return make_quant(scale, zero, what)
