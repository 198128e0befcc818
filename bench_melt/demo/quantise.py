"""Post-training quantisation of the demo's net: float weights and samples in, int8 graph out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench_melt.demo.network import HEAD, LAYERS, Layer, folded_forward
from bench_melt.demo.watch import CHANNELS, INPUT_QUANT, WINDOW
from tinyengine.importers.layers import Kernel, Layers
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array, DType, Quant, TensorType, dequantise
from tinyengine.ops.add import Add
from tinyengine.ops.mean import Mean

TAIL_PERCENT = 0.01  # of the sample's values may lie outside the range
# Ranges are this much wider than the sample: a new wearer moves differently, and weights that
# learn move what they make.
HEADROOM = 1.25


def quantise(folded: Mapping[str, Array], sample: Array) -> Graph:
    """The int8 graph `gestures` of a net.

    folded: weights and biases from `fold_normalisation`. sample: (n, 64, 1, 6) int8 windows from
    which the ranges of all activations are taken.
    """
    outputs = folded_forward(folded, dequantise(INPUT_QUANT, sample[:, :, 0, :]))
    quants = {name: _activation_quant(values) for name, values in outputs.items()}
    layers = Layers("gestures", "demo")
    x = layers.builder.input("x", TensorType((1, WINDOW, 1, CHANNELS), DType.I8, INPUT_QUANT))
    for layer in LAYERS:
        x = _convolution(layers, layer, x, folded, quants[layer.name])
        if layer.adds:
            out = TensorType(layers.type(x).shape, DType.I8, quants[layer.output])
            x = layers.node(Add(), (x, layer.adds), out, layer.output)
    pooled = TensorType((1, HEAD.channels_in), DType.I8, quants["mean"])
    x = layers.node(Mean(1, 2), (x,), pooled, "mean")
    weight = folded[f"{HEAD.name}/weight"][:, None, None, :]
    kernel = _kernel(weight, folded[f"{HEAD.name}/bias"], layers.type(x).scale, depthwise=False)
    layers.builder.outputs = [layers.dense(x, kernel, quants[HEAD.name], (-128, 127), HEAD.name)]
    return layers.builder.build()


def _convolution(
    layers: Layers, layer: Layer, x: str, folded: Mapping[str, Array], out: Quant
) -> str:
    scale, length = layers.type(x).scale, layers.type(x).shape[1]
    weight = folded[f"{layer.name}/weight"][:, :, None, :]
    kernel = _kernel(weight, folded[f"{layer.name}/bias"], scale, layer.depthwise)
    append = layers.depthwise if layer.depthwise else layers.conv
    return append(x, kernel, layer.window(length), out, _span(layer, out), layer.name)


def _span(layer: Layer, out: Quant) -> tuple[int, int]:
    return (out.zero_point if layer.relu else -128), 127


def _kernel(weight: Array, bias: Array, x_scale: float, depthwise: bool) -> Kernel:
    """Symmetric int8 weight per output channel, and the bias in steps of s_x * s_w."""
    axes = (0, 1, 2) if depthwise else (1, 2, 3)
    largest = np.abs(weight).max(axis=axes, keepdims=True)
    scales = np.asarray(np.maximum(largest, 1e-6) / 127.0, np.float32)
    q = np.clip(np.rint(weight / scales), -127, 127).astype(np.int8)
    steps = np.rint(bias / (scales.reshape(-1).astype(np.float64) * x_scale))
    return Kernel(q, scales.reshape(-1), steps.astype(np.int32))


def _activation_quant(values: Array) -> Quant:
    """Asymmetric over nearly all of `values`, with headroom, zero exactly representable."""
    low, high = np.percentile(values, (TAIL_PERCENT, 100.0 - TAIL_PERCENT)) * HEADROOM
    low, high = min(float(low), 0.0), max(float(high), 1e-6)
    scale = float(np.float32((high - low) / 255.0))
    return Quant.per_tensor(scale, int(np.clip(np.rint(-128.0 - low / scale), -128, 127)))
