"""The pencil with which a person writes a quantised network in Python.

    def net(t):
        x = t.input((32, 32, 3), scale=1 / 128)
        x = t.conv(x, 16, kernel=3, stride=2, activation="relu", name="stem")
        x = t.add(x, t.depthwise(x, kernel=3, name="mix"))
        return t.dense(t.mean(x), 10, name="classifier")

Weights are arrays (real numbers, or int8 with their scale) or, when not given, made from a seed.
Output scales are given or measured: the tracer runs samples through every layer as it is written
(`Net.input(samples=...)`, else 8 pseudo-random pictures) and takes the range that just holds
them (`choose.output_quant`): post-training quantisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyengine.errors import ModelError
from tinyengine.importers import choose
from tinyengine.importers.layers import Kernel, make_quant, sound_shape
from tinyengine.importers.tracer import Padding, Pair, Parameters, Tensor, Tracer
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array, DType, Quant, TensorType, dequantise
from tinyengine.ops.add import Add
from tinyengine.ops.borders import Dequantize, Quantize, quantise
from tinyengine.ops.layout import Concat, Pad, Transpose
from tinyengine.ops.mean import Mean
from tinyengine.ops.mul import Mul
from tinyengine.ops.pool import AvgPool, MaxPool
from tinyengine.ops.softmax import Softmax
from tinyengine.ops.window import Window


class Net(Tracer):
    """Traces layer calls into a graph. Every layer takes `name` and output `scale`, `zero_point`.

    Raises:
        ModelError: from any method, where arguments do not fit; it names the layer.
    """

    def input(
        self,
        shape: Sequence[int],
        scale: float = 1 / 128,
        zero_point: int = 0,
        *,
        samples: Array | None = None,
        real: bool = False,
    ) -> Tensor:
        """The picture that comes in: `shape` without the batch.

        samples: real-valued pictures (n, *shape) that scales are measured on. real: the input is
        float32 and quantised inside the net.
        """
        if self.layers.builder.inputs:
            raise ModelError("a net has one input; input() was called twice")
        full = sound_shape((1, *shape), "the input")
        type_ = TensorType(full, DType.I8, make_quant(scale, zero_point, "the input"))
        if samples is None:
            data = choose.random_int8("samples", self.seed, (choose.SAMPLES, *full[1:]))
        else:
            data = quantise(np.asarray(samples), type_)
            if data.shape[1:] != full[1:] or not len(data):
                raise ModelError(f"samples have shape {data.shape}, expected (n, *{full[1:]})")
        if not real:
            name = self.layers.builder.input("input", type_)
            self.samples[name] = data
            return Tensor(name, type_)
        name = self.layers.builder.input("input", TensorType(full, DType.F32))
        self.samples[name] = dequantise(type_.quant, data).astype(np.float32)
        return self.finish(self.layers.node(Quantize(), (name,), type_, "quantize"))

    def conv(
        self,
        x: Tensor,
        channels: int | None = None,
        *,
        kernel: int | Pair = 3,
        stride: int | Pair = 1,
        padding: Padding = "same",
        dilation: int | Pair = 1,
        activation: str = "none",
        weight: Any = None,
        weight_scale: Any = None,
        bias: Any = None,
        per_channel: bool = True,
        scale: float | None = None,
        zero_point: int = 0,
        name: str | None = None,
    ) -> Tensor:
        """Convolution. weight: (channels, kh, kw, c), real or int8 with weight_scale."""
        layer = self.layer(name, "conv2d")
        self.rank4(x, layer)
        if weight is not None:
            sizes = np.shape(weight)
            if len(sizes) != 4:
                raise ModelError(f"layer '{layer}': weight {sizes} must have rank 4 (OHWI)")
            channels, kernel = sizes[0], (sizes[1], sizes[2])
        window = self.window(x, kernel, stride, padding, dilation, layer)
        shape = (self.channels(channels, layer), *window.kernel, x.shape[3])
        self.layers.room(layer, shape, (*window.out_size((x.shape[1], x.shape[2])), shape[0]))
        given = Parameters(weight, weight_scale, bias, per_channel, activation, scale, zero_point)
        q, scales = self.weight(layer, shape, 0, given)
        total = choose.accumulate(window, self.centred(x), q, depthwise=False)
        made, out, span = self.kernel(x, q, scales, total, given, layer)
        return self.finish(self.layers.conv(x.name, made, window, out, span, layer))

    def depthwise(
        self,
        x: Tensor,
        *,
        multiplier: int = 1,
        kernel: int | Pair = 3,
        stride: int | Pair = 1,
        padding: Padding = "same",
        dilation: int | Pair = 1,
        activation: str = "none",
        weight: Any = None,
        weight_scale: Any = None,
        bias: Any = None,
        per_channel: bool = True,
        scale: float | None = None,
        zero_point: int = 0,
        name: str | None = None,
    ) -> Tensor:
        """Depthwise convolution. weight: (1, kh, kw, c * multiplier)."""
        layer = self.layer(name, "depthwise")
        self.rank4(x, layer)
        if weight is not None:
            sizes = np.shape(weight)
            if len(sizes) != 4 or sizes[0] != 1 or sizes[3] % x.shape[3]:
                raise ModelError(f"layer '{layer}': weight {sizes} must be (1, kh, kw, c*m)")
            multiplier, kernel = sizes[3] // x.shape[3], (sizes[1], sizes[2])
        window = self.window(x, kernel, stride, padding, dilation, layer)
        shape = (1, *window.kernel, self.channels(x.shape[3] * multiplier, layer))
        self.layers.room(layer, shape, (*window.out_size((x.shape[1], x.shape[2])), shape[3]))
        given = Parameters(weight, weight_scale, bias, per_channel, activation, scale, zero_point)
        q, scales = self.weight(layer, shape, 3, given)
        total = choose.accumulate(window, self.centred(x), q, depthwise=True)
        made, out, span = self.kernel(x, q, scales, total, given, layer)
        return self.finish(self.layers.depthwise(x.name, made, window, out, span, layer))

    def dense(
        self,
        x: Tensor,
        units: int | None = None,
        *,
        activation: str = "none",
        weight: Any = None,
        weight_scale: Any = None,
        bias: Any = None,
        scale: float | None = None,
        zero_point: int = 0,
        name: str | None = None,
    ) -> Tensor:
        """Fully connected over the last axis; (rows, units) comes out. weight: (units, c)."""
        layer = self.layer(name, "dense")
        if weight is not None:
            units = (*np.shape(weight), 0)[0]
        shape = (self.channels(units, layer), x.shape[-1])
        self.layers.room(layer, shape, (x.type.count // shape[1], shape[0]))
        given = Parameters(weight, weight_scale, bias, False, activation, scale, zero_point)
        q, scales = self.weight(layer, shape, 0, given)
        q = q.reshape(shape[0], 1, 1, shape[1])
        centred = self.centred(x).reshape(-1, 1, 1, shape[1])
        total = choose.accumulate(Window((1, 1)), centred, q, depthwise=False)
        made, out, span = self.kernel(x, q, scales, total, given, layer)
        made = Kernel(made.weight, made.scales, made.bias, product_f32=scales.shape == (1,))
        return self.finish(self.layers.dense(x.name, made, out, span, layer))

    def add(
        self,
        a: Tensor,
        b: Tensor,
        *,
        activation: str = "none",
        scale: float | None = None,
        zero_point: int = 0,
        name: str | None = None,
    ) -> Tensor:
        """a + b; b may have one value per channel, or one value."""
        layer = self.layer(name, "add")
        return self.binary(Add, a, b, activation, scale, zero_point, layer)

    def mul(
        self,
        a: Tensor,
        b: Tensor,
        *,
        activation: str = "none",
        scale: float | None = None,
        zero_point: int = 0,
        name: str | None = None,
    ) -> Tensor:
        """a * b; b may have one value per channel (squeeze-and-excite), or one value."""
        layer = self.layer(name, "mul")
        return self.binary(Mul, a, b, activation, scale, zero_point, layer)

    def constant(
        self,
        values: Any,
        *,
        scale: float | None = None,
        zero_point: int = 0,
        name: str | None = None,
    ) -> Tensor:
        """A fixed operand of add or mul: real values, shape with the leading 1."""
        layer = self.layer(name, "constant")
        real = np.asarray(values, np.float64)
        shape = sound_shape(real.shape, f"constant '{layer}'")
        quant = self.out(real, "none", scale, zero_point, layer)
        type_ = TensorType(shape, DType.I8, quant)
        made = self.layers.constant(layer, quantise(real, type_), DType.I8, quant)
        self.samples[made] = self.layers.builder.values[made].require_data()
        return Tensor(made, type_)

    def concat(
        self,
        parts: Sequence[Tensor],
        *,
        axis: int = 3,
        scale: float | None = None,
        zero_point: int = 0,
        name: str | None = None,
    ) -> Tensor:
        """Join along `axis`. Parts of another quantisation are brought to one first."""
        layer = self.layer(name, "concat")
        if not parts or not 0 <= axis < len(parts[0].shape):
            raise ModelError(f"layer '{layer}': needs parts of rank 4 and an axis within them")
        out = parts[0].type.quant
        if scale is not None or any(p.type.quant != out for p in parts):
            real = np.concatenate([self.real(p).reshape(-1) for p in parts])
            out = self.out(real, "none", scale, zero_point, layer)
        assert out is not None
        names = [self._at(p, out, f"{layer}/in{i}") for i, p in enumerate(parts)]
        shape = list(parts[0].shape)
        shape[axis] = sum(p.shape[axis] for p in parts)
        type_ = TensorType(tuple(shape), DType.I8, out)
        return self.finish(self.layers.node(Concat(axis), names, type_, layer))

    def _at(self, x: Tensor, quant: Quant, layer: str) -> str:
        if x.type.quant == quant:
            return x.name
        self.layer(layer, "")
        return self.rescale(x, "requantise", quant.scale[0], quant.zero_point, layer).name

    def max_pool(
        self,
        x: Tensor,
        kernel: int | Pair = 2,
        *,
        stride: int | Pair | None = None,
        padding: Padding = "valid",
        activation: str = "none",
        name: str | None = None,
    ) -> Tensor:
        """Largest value of each window; the stride is the kernel unless given."""
        layer = self.layer(name, "max_pool")
        window = self.window(x, kernel, kernel if stride is None else stride, padding, 1, layer)
        return self.pool(MaxPool, x, window, activation, layer)

    def avg_pool(
        self,
        x: Tensor,
        kernel: int | Pair | None = None,
        *,
        stride: int | Pair | None = None,
        padding: Padding = "valid",
        activation: str = "none",
        name: str | None = None,
    ) -> Tensor:
        """Mean of each window's real pixels; over the whole picture unless a kernel is given."""
        layer = self.layer(name, "avg_pool")
        self.rank4(x, layer)
        over = (x.shape[1], x.shape[2]) if kernel is None else kernel
        window = self.window(x, over, over if stride is None else stride, padding, 1, layer)
        return self.pool(AvgPool, x, window, activation, layer)

    def mean(
        self,
        x: Tensor,
        axes: tuple[int, int] = (1, 2),
        *,
        keep: bool = False,
        scale: float | None = None,
        zero_point: int = 0,
        name: str | None = None,
    ) -> Tensor:
        """Mean over axes first..last (neighbours); the input's quantisation unless given."""
        layer = self.layer(name, "mean")
        first, last = axes
        if not 0 < first <= last < len(x.shape):
            raise ModelError(f"layer '{layer}': axes {axes} do not fit shape {x.shape}")
        middle = (1,) * (last - first + 1) if keep else ()
        shape = x.shape[:first] + middle + x.shape[last + 1 :]
        quant = x.type.quant if scale is None else make_quant(scale, zero_point, layer)
        type_ = TensorType(shape, DType.I8, quant)
        return self.finish(self.layers.node(Mean(first, last), (x.name,), type_, layer))

    def pad(self, x: Tensor, before: Pair, after: Pair, *, name: str | None = None) -> Tensor:
        """Real zeros around the picture: (top, left) before and (bottom, right) after."""
        layer = self.layer(name, "pad")
        self.rank4(x, layer)
        op = Pad((0, before[0], before[1], 0), (0, after[0], after[1], 0))
        h, w = x.shape[1] + before[0] + after[0], x.shape[2] + before[1] + after[1]
        type_ = TensorType((1, h, w, x.shape[3]), DType.I8, x.type.quant)
        return self.finish(self.layers.node(op, (x.name,), type_, layer))

    def reshape(self, x: Tensor, shape: Sequence[int], *, name: str | None = None) -> Tensor:
        """The same elements under another shape (with the leading 1)."""
        layer = self.layer(name, "reshape")
        full = sound_shape(shape, f"layer '{layer}'")
        return self.finish(self.layers.reshape(x.name, full, layer))

    def flatten(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """One row (1, n)."""
        return self.reshape(x, (1, x.type.count), name=name)

    def transpose(self, x: Tensor, order: Sequence[int], *, name: str | None = None) -> Tensor:
        """shape[i] = x.shape[order[i]]."""
        layer = self.layer(name, "transpose")
        op = Transpose(tuple(int(i) for i in order))
        if sorted(op.order) != list(range(len(x.shape))):
            raise ModelError(f"layer '{layer}': order {op.order} does not fit shape {x.shape}")
        shape = tuple(x.shape[i] for i in op.order)
        type_ = TensorType(shape, x.type.dtype, x.type.quant)
        return self.finish(self.layers.node(op, (x.name,), type_, layer))

    def relu(
        self, x: Tensor, *, scale: float | None = None, zero_point: int = 0, name: str | None = None
    ) -> Tensor:
        """max(x, 0); the input's quantisation unless given."""
        return self.rescale(x, "relu", scale, zero_point, self.layer(name, "relu"))

    def relu6(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """min(max(x, 0), 6) at the input's quantisation."""
        return self.rescale(x, "relu6", None, 0, self.layer(name, "relu6"))

    def quantize(
        self, x: Tensor, scale: float, zero_point: int = 0, *, name: str | None = None
    ) -> Tensor:
        """The same real values at another scale."""
        return self.rescale(x, "requantise", scale, zero_point, self.layer(name, "quantize"))

    def logistic(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """1 / (1 + exp(-x)) at scale 1/256 from -128."""
        return self.finish(self.layers.logistic(x.name, self.layer(name, "logistic")))

    def softmax(self, x: Tensor, *, beta: float = 1.0, name: str | None = None) -> Tensor:
        """Softmax over the last axis at scale 1/256 from -128."""
        layer = self.layer(name, "softmax")
        type_ = TensorType(x.shape, DType.I8, Quant.per_tensor(1 / 256, -128))
        return self.finish(self.layers.node(Softmax(beta), (x.name,), type_, layer))

    def dequantize(self, x: Tensor, *, name: str | None = None) -> Tensor:
        """float32 values, as the net's output."""
        layer = self.layer(name, "dequantize")
        type_ = TensorType(x.shape, DType.F32)
        return self.finish(self.layers.node(Dequantize(), (x.name,), type_, layer))

    def graph(self, output: Tensor) -> Graph:
        """The finished graph with one output."""
        builder = self.layers.builder
        if not builder.inputs:
            raise ModelError("the net has no input; call t.input(shape) first")
        if not isinstance(output, Tensor) or output.name not in builder.values:
            raise ModelError("the function must return the tensor that its last layer gave")
        builder.outputs.append(output.name)
        return builder.build()
