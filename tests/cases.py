"""The one list of small nets: every operator, odd kernels and strides, branches that meet.

Every link of the test chain (float64 reference, simulator, arena, host C, emulator) runs these.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyengine.importers.net import Net
from tinyengine.importers.tracer import Tensor
from tinyengine.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class Case:
    """A small net. `trainable`: it ends in logits and gradients reach its first layer."""

    name: str
    write: Callable[[Net], Tensor]
    trainable: bool = True

    def graph(self) -> Graph:
        net = Net(self.name, seed=1)
        return net.graph(self.write(net))


def conv(t: Net) -> Tensor:
    x = t.input((6, 5, 3), 1 / 64, 3)
    x = t.conv(x, 8, kernel=3, name="stem")
    return t.dense(t.mean(x), 4, name="classifier")


def conv_stride(t: Net) -> Tensor:
    x = t.input((9, 8, 2), 1 / 100, -128)
    x = t.conv(x, 6, kernel=(3, 2), stride=2, activation="relu", name="stem")
    x = t.conv(x, 7, kernel=(2, 3), stride=(1, 2), padding="valid", activation="relu6", name="next")
    return t.dense(t.flatten(x), 3, name="classifier")


def conv_padding(t: Net) -> Tensor:
    """Padding that TFLite's SAME cannot say (kernel // 2 with stride 2, and lopsided)."""
    x = t.input((8, 8, 3), 1 / 50, -5)
    x = t.conv(x, 4, kernel=5, stride=2, padding=2, activation="relu", name="stem")
    x = t.conv(x, 5, kernel=3, padding=(2, 0, 1, 2), name="lopsided")
    return t.dense(t.mean(x), 4, name="classifier")


def conv_dilated(t: Net) -> Tensor:
    x = t.input((10, 9, 2), 1 / 64, 0)
    x = t.conv(x, 5, kernel=3, dilation=2, name="same")
    x = t.conv(x, 4, kernel=(2, 3), dilation=(3, 1), padding="valid", name="valid")
    return t.dense(t.mean(x), 3, name="classifier")


def conv_per_tensor(t: Net) -> Tensor:
    x = t.input((5, 5, 4), 1 / 64, 7)
    x = t.conv(x, 6, kernel=1, per_channel=False, activation="relu_n1_to_1", name="stem")
    x = t.depthwise(x, kernel=3, per_channel=False, name="mix")
    return t.dense(t.mean(x), 4, name="classifier")


def depthwise(t: Net) -> Tensor:
    x = t.input((7, 6, 5), 1 / 64, -3)
    x = t.depthwise(x, kernel=3, stride=2, activation="relu", name="spread")
    x = t.conv(x, 8, kernel=1, name="mix")
    x = t.depthwise(x, kernel=(5, 4), name="wide")
    return t.dense(t.mean(x), 4, name="classifier")


def depthwise_multiplier(t: Net) -> Tensor:
    x = t.input((6, 6, 3), 1 / 64, 0)
    x = t.depthwise(x, kernel=3, multiplier=2, activation="relu6", name="twice")
    x = t.depthwise(x, kernel=3, multiplier=3, dilation=2, padding=1, name="thrice")
    return t.dense(t.mean(x), 3, name="classifier")


def dense(t: Net) -> Tensor:
    x = t.input((24,), 1 / 64, 1)
    x = t.dense(x, 12, activation="relu", name="hidden")
    return t.dense(x, 5, name="classifier")


def residual(t: Net) -> Tensor:
    """An inverted residual block; the gradient's two branches meet at `expand`'s input."""
    x = t.input((8, 8, 3), 1 / 64, 0)
    x = t.conv(x, 6, kernel=3, stride=2, activation="relu", name="stem")
    y = t.conv(x, 12, kernel=1, activation="relu6", name="expand")
    y = t.depthwise(y, kernel=3, activation="relu6", name="mix")
    y = t.conv(y, 6, kernel=1, name="project")
    x = t.add(y, x, name="join")
    x = t.add(x, x, activation="relu", name="double")
    return t.dense(t.avg_pool(x), 4, name="classifier")


def squeeze_excite(t: Net) -> Tensor:
    """A gate per channel: MUL with a broadcast operand, LOGISTIC, a mean that keeps its axes."""
    x = t.input((6, 6, 4), 1 / 64, 0)
    x = t.conv(x, 8, kernel=3, activation="relu", name="stem")
    s = t.mean(x, keep=True, name="squeeze")
    s = t.conv(s, 3, kernel=1, activation="relu", name="reduce")
    s = t.conv(s, 8, kernel=1, name="expand")
    x = t.mul(x, t.logistic(s, name="gate"), name="excite")
    return t.dense(t.mean(x), 4, name="classifier")


def broadcast(t: Net) -> Tensor:
    """Constant operands: per channel and one value, with ADD and MUL."""
    x = t.input((5, 4, 3), 1 / 64, 0)
    x = t.conv(x, 4, kernel=1, name="stem")
    x = t.mul(x, t.constant(np.linspace(0.5, 2.0, 4).reshape(1, 1, 1, 4)), name="scale")
    x = t.add(x, t.constant(np.linspace(-1.0, 1.0, 4).reshape(1, 1, 1, 4)), name="shift")
    x = t.add(x, t.constant([[[[0.25]]]]), activation="relu", name="offset")
    return t.dense(t.mean(x), 4, name="classifier")


def pools(t: Net) -> Tensor:
    x = t.input((9, 9, 3), 1 / 64, -20)
    x = t.conv(x, 4, kernel=3, name="stem")
    x = t.max_pool(x, 3, stride=2, padding="same", name="largest")
    x = t.avg_pool(x, (3, 2), stride=1, padding="same", activation="relu", name="average")
    x = t.max_pool(x, 2, name="halve")
    return t.dense(t.avg_pool(x), 3, name="classifier")


def concat(t: Net) -> Tensor:
    """Branches of different scales are joined; one is joined twice."""
    x = t.input((6, 6, 2), 1 / 64, 0)
    a = t.conv(x, 3, kernel=1, name="left")
    b = t.conv(x, 4, kernel=3, activation="relu", name="right")
    x = t.concat([a, b, a], name="join")
    x = t.concat([x, x], axis=1, name="stack")
    return t.dense(t.mean(x), 4, name="classifier")


def layout(t: Net) -> Tensor:
    x = t.input((4, 6, 3), 1 / 64, 11)
    x = t.pad(x, (1, 0), (2, 3), name="frame")
    x = t.conv(x, 4, kernel=3, padding="valid", activation="relu", name="stem")
    x = t.transpose(x, (0, 3, 1, 2), name="nchw")
    x = t.mean(x, (3, 3), name="columns")
    x = t.mean(x, (2, 2), name="rows")
    return t.dense(x, 4, name="classifier")


def reshape(t: Net) -> Tensor:
    x = t.input((48,), 1 / 64, 0)
    x = t.reshape(x, (1, 4, 4, 3), name="picture")
    x = t.conv(x, 4, kernel=2, stride=2, name="stem")
    x = t.reshape(x, (1, 1, 4, 4), name="rows")
    x = t.transpose(x, (0, 2, 1, 3), name="turn")
    return t.dense(t.flatten(x), 3, name="classifier")


def activations(t: Net) -> Tensor:
    """Stand-alone activations, a change of scale, a mean with one of its own."""
    x = t.input((4, 4, 3), 1 / 32, -10)
    x = t.conv(x, 6, kernel=1, scale=0.03, zero_point=4, name="stem")
    x = t.relu6(x, name="six")
    x = t.conv(x, 6, kernel=1, scale=0.05, zero_point=-7, name="next")
    x = t.relu(x, scale=0.04, zero_point=-100, name="zero")
    x = t.quantize(x, 0.07, 5, name="rescale")
    x = t.conv(x, 5, kernel=1, name="last")
    x = t.logistic(x, name="gate")
    return t.dense(t.mean(x, scale=0.006, zero_point=-90), 3, name="classifier")


def borders(t: Net) -> Tensor:
    """float32 in and out, softmax at the end."""
    x = t.input((5, 5, 2), 1 / 64, 0, real=True)
    x = t.conv(x, 4, kernel=3, activation="relu", name="stem")
    x = t.dense(t.mean(x), 5, name="classifier")
    return t.dequantize(t.softmax(x, name="softmax"))


def saturated(t: Net) -> Tensor:
    """Scales so tight that many outputs are cut, at both ends and at every kind of layer."""
    x = t.input((5, 5, 3), 1 / 32, 0)
    x = t.conv(x, 6, kernel=3, scale=0.004, zero_point=10, name="stem")
    y = t.depthwise(x, kernel=3, scale=0.002, zero_point=-20, name="mix")
    x = t.add(x, y, scale=0.003, zero_point=0, name="join")
    x = t.mul(x, x, scale=0.002, zero_point=-64, name="square")
    return t.dense(t.mean(x, scale=0.0015, zero_point=-40), 4, name="classifier")


CASES = (
    Case("conv", conv),
    Case("conv_stride", conv_stride),
    Case("conv_padding", conv_padding),
    Case("conv_dilated", conv_dilated),
    Case("conv_per_tensor", conv_per_tensor),
    Case("depthwise", depthwise),
    Case("depthwise_multiplier", depthwise_multiplier),
    Case("dense", dense),
    Case("residual", residual),
    Case("squeeze_excite", squeeze_excite),
    Case("broadcast", broadcast),
    Case("pools", pools),
    Case("concat", concat),
    Case("layout", layout),
    Case("reshape", reshape),
    Case("activations", activations),
    Case("borders", borders),
    Case("saturated", saturated),
)
