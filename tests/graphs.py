"""Small random graphs, built node by node: what the gradient and verify tests are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tinyengine.ir.graph import Builder, Graph
from tinyengine.ir.tensor import Array, DType, Quant, Role, TensorType
from tinyengine.ops import tables
from tinyengine.ops.add import Add
from tinyengine.ops.borders import Dequantize
from tinyengine.ops.conv2d import Conv2d, requantisation
from tinyengine.ops.depthwise import DepthwiseConv2d
from tinyengine.ops.layout import Concat, GatherChannels, Pad, Reshape, Transpose
from tinyengine.ops.linear import Linear
from tinyengine.ops.lut import Lut
from tinyengine.ops.mean import Mean
from tinyengine.ops.mul import Mul
from tinyengine.ops.op import Op
from tinyengine.ops.pool import AvgPool, MaxPool
from tinyengine.ops.window import Window


def window(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Window:
    """A square window."""
    return Window((kernel,) * 2, (stride,) * 2, (padding,) * 4, (dilation,) * 2)


@dataclass
class Net:
    """A Builder with one method per operator; scales are fixed, zero points are not 0.

    learns: whether convolution weights and biases get role TRAINABLE.
    """

    seed: int = 0
    learns: bool = True
    b: Builder = field(default_factory=lambda: Builder("net"))
    count: int = 0

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def name(self, kind: str) -> str:
        """`conv1`, `conv2`, ..."""
        self.count += 1
        return f"{kind}{self.count}"

    def act(self, shape: tuple[int, ...], scale: float, zero: int | None = None) -> TensorType:
        """An int8 activation type."""
        zero = int(self.random.integers(-20, 20)) if zero is None else zero
        return TensorType(shape, DType.I8, Quant.per_tensor(scale, zero))

    def input(self, *shape: int, scale: float = 0.04, zero: int | None = None) -> str:
        """The input picture, (1, *shape)."""
        return self.b.input("x", self.act((1, *shape), scale, zero))

    def codes(self, shape: tuple[int, ...], lo: int = -127) -> Array:
        """Random int8 values."""
        return self.random.integers(lo, 128, shape).astype(np.int8)

    def parameters(
        self, x: str, layer: str, shape: tuple[int, ...], axis: int, out: TensorType
    ) -> list[str]:
        """Weight, bias, multiplier and shift constants of a convolution."""
        b, k = self.b, shape[axis]
        role = Role.TRAINABLE if self.learns else Role.CONSTANT
        scales = self.random.uniform(0.005, 0.015, k).astype(np.float32)
        quant = Quant.per_axis(scales, axis)
        x_scale = b.type(x).scale
        bias = self.random.integers(-800, 800, k).astype(np.int32)
        multiplier, shift = requantisation(x_scale, scales, out.scale)
        return [
            b.constant(f"{layer}/weight", self.codes(shape), DType.I8, quant, role),
            b.constant(
                f"{layer}/bias",
                bias,
                DType.I32,
                Quant.per_axis(scales * np.float32(x_scale), 0),
                role,
            ),
            b.constant(f"{layer}/multiplier", multiplier, DType.I32),
            b.constant(f"{layer}/shift", shift, DType.I32),
        ]

    def conv(
        self, x: str, k: int, w: Window, scale: float = 0.05, lo: int = -128, hi: int = 127
    ) -> str:
        """A convolution with k output channels."""
        layer, (n, h, width, c) = self.name("conv"), self.b.type(x).shape
        out = self.act((n, *w.out_size((h, width)), k), scale)
        parameters = self.parameters(x, layer, (k, *w.kernel, c), 0, out)
        return self.b.node(Conv2d(w, lo, hi), (x, *parameters), [(layer, out)], layer)[0]

    def depthwise(
        self, x: str, many: int, w: Window, scale: float = 0.05, lo: int = -128, hi: int = 127
    ) -> str:
        """A depthwise convolution of multiplicity `many`."""
        layer, (n, h, width, c) = self.name("depthwise"), self.b.type(x).shape
        out = self.act((n, *w.out_size((h, width)), c * many), scale)
        parameters = self.parameters(x, layer, (1, *w.kernel, c * many), 3, out)
        op = DepthwiseConv2d(w, lo, hi)
        return self.b.node(op, (x, *parameters), [(layer, out)], layer)[0]

    def apply(self, op: Op, inputs: tuple[str, ...], out: TensorType) -> str:
        """Any other operator."""
        layer = self.name(op.kind)
        return self.b.node(op, inputs, [(layer, out)], layer)[0]

    def add(self, x: str, y: str, scale: float = 0.06, lo: int = -128, hi: int = 127) -> str:
        """x + y; y may be broadcast."""
        return self.apply(Add(lo, hi), (x, y), self.act(self.b.type(x).shape, scale))

    def mul(self, x: str, y: str, scale: float = 0.06, lo: int = -128, hi: int = 127) -> str:
        """x * y; y may be broadcast."""
        return self.apply(Mul(lo, hi), (x, y), self.act(self.b.type(x).shape, scale))

    def pool(
        self, x: str, op: type[AvgPool | MaxPool], w: Window, lo: int = -128, hi: int = 127
    ) -> str:
        """Average or maximum pooling."""
        n, h, width, c = self.b.type(x).shape
        out = TensorType((n, *w.out_size((h, width)), c), DType.I8, self.b.type(x).quant)
        return self.apply(op(w, lo, hi), (x,), out)

    def mean(self, x: str, scale: float | None = None) -> str:
        """Mean over height and width, (1, c); without `scale` the quantisation stays."""
        type_ = self.b.type(x)
        shape = (1, type_.shape[3])
        out = TensorType(shape, DType.I8, type_.quant) if scale is None else self.act(shape, scale)
        return self.apply(Mean(1, 2), (x,), out)

    def lut(self, x: str, function: str) -> str:
        """`logistic`, `relu` or `requantise`, each with its own output scale."""
        shape, x_type = self.b.type(x).shape, self.b.type(x)
        if function == "logistic":
            out = TensorType(shape, DType.I8, Quant.per_tensor(1 / 256, -128))
            table, slope = tables.logistic_table(x_type)
        else:
            out = self.act(shape, 0.03)
            lo = out.zero_point if function == "relu" else -128
            table, slope = tables.requantise_table(x_type, out, lo)
        constants = (
            self.b.constant(f"{function}/table", table, DType.I8),
            self.b.constant(f"{function}/slope", slope, DType.F32),
        )
        return self.apply(Lut(function), (x, *constants), out)

    def move(
        self, op: Reshape | Transpose | Pad | GatherChannels, x: str, shape: tuple[int, ...]
    ) -> str:
        """An operator that keeps the quantisation."""
        return self.apply(op, (x,), TensorType(shape, DType.I8, self.b.type(x).quant))

    def concat(self, axis: int, *parts: str) -> str:
        """Join along `axis`."""
        first = self.b.type(parts[0])
        shape = list(first.shape)
        shape[axis] = sum(self.b.type(p).shape[axis] for p in parts)
        return self.apply(Concat(axis), parts, TensorType(tuple(shape), DType.I8, first.quant))

    def linear(self, x: str, classes: int) -> str:
        """Dequantise and a float32 head; x has shape (1, c)."""
        layer, width = self.name("linear"), self.b.type(x).shape[1]
        real = self.apply(Dequantize(), (x,), TensorType((1, width), DType.F32))
        weight = self.random.normal(size=(classes, width)) * 0.3
        role = Role.TRAINABLE if self.learns else Role.CONSTANT
        parameters = (
            self.b.constant(f"{layer}/{name}", data, DType.F32, role=role)
            for name, data in (("weight", weight), ("bias", self.random.normal(size=classes)))
        )
        out = TensorType((1, classes), DType.F32)
        return self.b.node(Linear(), (real, *parameters), [(layer, out)], layer)[0]

    def graph(self, output: str) -> Graph:
        """The forward graph that ends in `output`."""
        self.b.outputs = [output]
        return self.b.build()


def residual_net(seed: int = 0) -> Graph:
    """stem -> depthwise -> pointwise, added to the stem -> mean -> int8 head of 5 classes."""
    net = Net(seed)
    stem = net.conv(net.input(9, 8, 3), 6, window(3, 2, 1), lo=-100, hi=110)
    inner = net.depthwise(stem, 1, window(3, 1, 1), lo=-110, hi=120)
    joined = net.add(stem, net.conv(inner, 6, window(1)))
    return net.graph(net.conv(net.move(Reshape(), net.mean(joined), (1, 1, 1, 6)), 5, window(1)))
