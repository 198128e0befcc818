"""The demo's net in float32: inverted residual blocks over time, batch normalisation between.

Activations are (batch, time, channels): pictures of width 1 without the 1. Only `make_model.py`
uses this; it differentiates with `autograd`, so that making the model takes no other framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import autograd.numpy as anp
import numpy as np

from tinyengine.ir.tensor import Array
from tinyengine.ops.window import Window

GESTURES = 7
EPSILON = 1e-5
Parameters = dict[str, Any]  # arrays, or autograd's boxes around them while it differentiates


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution over time. `adds`: the layer whose output is added behind it."""

    name: str
    channels_in: int
    channels_out: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    relu: bool = True
    adds: str | None = None

    @property
    def weight_shape(self) -> tuple[int, int, int]:
        """(out, kernel, in); depthwise (1, kernel, channels)."""
        if self.depthwise:
            return 1, self.kernel, self.channels_out
        return self.channels_out, self.kernel, self.channels_in

    @property
    def output(self) -> str:
        """Name of what the next layer reads."""
        return f"{self.name.split('/')[0]}/add" if self.adds else self.name

    def window(self, length: int) -> Window:
        """The layer's window over an input of this many time steps, padded as TFLite's SAME."""
        return Window.same((self.kernel, 1), (self.stride, 1), (length, 1))


def _block(index: int, c: int, mid: int, out: int, stride: int, adds: str | None) -> list[Layer]:
    name = f"block{index}"
    return [
        Layer(f"{name}/pointwise1", c, mid),
        Layer(f"{name}/depthwise", mid, mid, kernel=5, stride=stride, depthwise=True),
        Layer(f"{name}/pointwise2", mid, out, relu=False, adds=adds),
    ]


LAYERS: tuple[Layer, ...] = (
    Layer("stem", 6, 16, kernel=5, stride=2),
    *_block(1, 16, 32, 24, 2, None),
    *_block(2, 24, 48, 24, 1, "block1/pointwise2"),
    *_block(3, 24, 48, 40, 2, None),
    *_block(4, 40, 80, 40, 1, "block3/pointwise2"),
)
HEAD = Layer("classifier", 40, GESTURES, relu=False)


def initial(seed: int) -> tuple[Parameters, dict[str, Array]]:
    """Fresh parameters, and the running mean and variance of every normalisation."""
    rng = np.random.default_rng(seed)
    parameters: Parameters = {}
    running: dict[str, Array] = {}
    for layer in LAYERS:
        shape = layer.weight_shape
        fan_in = shape[1] if layer.depthwise else shape[1] * shape[2]
        weight = rng.normal(0.0, np.sqrt(2.0 / fan_in), shape)
        parameters[f"{layer.name}/weight"] = weight.astype(np.float32)
        parameters[f"{layer.name}/gamma"] = np.ones(layer.channels_out, np.float32)
        parameters[f"{layer.name}/bias"] = np.zeros(layer.channels_out, np.float32)
        running[f"{layer.name}/mean"] = np.zeros(layer.channels_out, np.float32)
        running[f"{layer.name}/variance"] = np.ones(layer.channels_out, np.float32)
    weight = rng.normal(0.0, np.sqrt(1.0 / HEAD.channels_in), (GESTURES, HEAD.channels_in))
    parameters["classifier/weight"] = weight.astype(np.float32)
    parameters["classifier/bias"] = np.zeros(GESTURES, np.float32)
    return parameters, running


def convolve(layer: Layer, x: Any, weight: Any) -> Any:
    """x (n, t, c) -> (n, ceil(t / stride), out)."""
    window = layer.window(x.shape[1])
    steps = window.out_size((x.shape[1], 1))[0]
    edges = ((0, 0), window.padding[:2], (0, 0))
    padded = anp.pad(x, edges, "constant") if layer.kernel > 1 else x
    last = (steps - 1) * layer.stride + 1
    total: Any = 0.0
    for tap in range(layer.kernel):
        seen = padded[:, tap : tap + last : layer.stride, :]
        total = total + (seen * weight[0, tap] if layer.depthwise else seen @ weight[:, tap].T)
    return total


def train_forward(parameters: Parameters, x: Array) -> tuple[Any, dict[str, Any]]:
    """Logits (n, 7) of x (n, 64, 6) with the batch's own statistics, and those statistics."""
    statistics: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    y: Any = x
    for layer in LAYERS:
        y = convolve(layer, y, parameters[f"{layer.name}/weight"])
        mean = anp.mean(y, axis=(0, 1))
        variance = anp.mean((y - mean) ** 2, axis=(0, 1))
        statistics[f"{layer.name}/mean"], statistics[f"{layer.name}/variance"] = mean, variance
        y = (y - mean) / anp.sqrt(variance + EPSILON) * parameters[f"{layer.name}/gamma"]
        y = y + parameters[f"{layer.name}/bias"]
        y = _finish(layer, y, outputs)
    return _classify(parameters, y), statistics


def folded_forward(folded: Mapping[str, Array], x: Array) -> dict[str, Array]:
    """Every layer's output, by name, of the net without normalisation (`fold_normalisation`)."""
    outputs: dict[str, Array] = {"x": x}
    y: Array = x
    for layer in LAYERS:
        y = convolve(layer, y, folded[f"{layer.name}/weight"]) + folded[f"{layer.name}/bias"]
        y = _finish(layer, y, outputs)
    outputs["mean"] = y.mean(axis=1)
    outputs[HEAD.name] = _classify(dict(folded), y)
    return outputs


def _finish(layer: Layer, y: Any, outputs: dict[str, Any]) -> Any:
    if layer.relu:
        y = anp.maximum(y, 0.0)
    outputs[layer.name] = y
    if layer.adds:
        y = y + outputs[layer.adds]
        outputs[layer.output] = y
    return y


def _classify(parameters: Parameters, y: Any) -> Any:
    logits = anp.mean(y, axis=1) @ parameters["classifier/weight"].T
    return logits + parameters["classifier/bias"]


def fold_normalisation(
    parameters: Mapping[str, Array], running: Mapping[str, Array]
) -> dict[str, Array]:
    """Weight and bias of every layer with its normalisation folded in, float64."""
    folded: dict[str, Array] = {}
    for layer in LAYERS:
        weight = np.asarray(parameters[f"{layer.name}/weight"], np.float64)
        deviation = np.sqrt(np.asarray(running[f"{layer.name}/variance"], np.float64) + EPSILON)
        factor = parameters[f"{layer.name}/gamma"] / deviation
        by_channel = factor if layer.depthwise else factor[:, None, None]
        folded[f"{layer.name}/weight"] = weight * by_channel
        mean = running[f"{layer.name}/mean"]
        folded[f"{layer.name}/bias"] = parameters[f"{layer.name}/bias"] - mean * factor
    for name in ("classifier/weight", "classifier/bias"):
        folded[name] = np.asarray(parameters[name], np.float64)
    return folded
