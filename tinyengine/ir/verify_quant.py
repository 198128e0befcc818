"""What must hold of quantisation: of one type alone, and of a convolution's constants."""

from __future__ import annotations

import math

import numpy as np

from tinyengine.ir.graph import Graph, Node
from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.ops.conv2d import BIAS, FROZEN, MULTIPLIER, SHIFT, WEIGHT, Conv2d, X
from tinyengine.ops.depthwise import DepthwiseConv2d

_ZERO_POINTS = {DType.I8: (-128, 127)}  # all other types are symmetric
# Scales are float32 and the factor is their quotient: three roundings of 6e-8 each.
_FACTOR_TOLERANCE = 1e-6
_SMALLEST_FACTOR = 2.0**-32  # smaller ones have no multiplier: the output is the zero point
_BIAS_TOLERANCE = 1e-3  # converters store the product as float32; TFLite itself allows more


def fault_of_type(type_: TensorType) -> str | None:
    """What is wrong with a type's quantisation, or None."""
    quant = type_.quant
    if quant is None:
        return None
    if quant.axis is not None and not 0 <= quant.axis < len(type_.shape):
        return f"quantisation axis {quant.axis} does not exist in shape {type_.shape}"
    count = 1 if quant.axis is None else type_.shape[quant.axis]
    if len(quant.scale) != count:
        return f"it has {len(quant.scale)} scales where {count} are expected"
    # min and max alone let a NaN through
    if not (all(map(math.isfinite, quant.scale)) and min(quant.scale) > 0):
        bad = next(s for s in quant.scale if not (math.isfinite(s) and s > 0))
        return f"scale {bad:g} is not a positive finite number"
    lo, hi = _ZERO_POINTS.get(type_.dtype, (0, 0)) if quant.axis is None else (0, 0)
    if not lo <= quant.zero_point <= hi:
        return f"zero point {quant.zero_point} is outside [{lo}, {hi}]"
    return None


def fault_of_convolution(graph: Graph, node: Node) -> str | None:
    """Where multiplier, shift or the bias scale contradict the scales of x, weight and y."""
    if not isinstance(node.op, Conv2d | DepthwiseConv2d):
        return None
    weight = graph.type(node.inputs[WEIGHT])
    if len(node.inputs) > FROZEN and graph.type(node.inputs[FROZEN]).quant != weight.quant:
        return f"the two parts of weight '{node.inputs[WEIGHT]}' differ in their scales"
    # Scales of a broken file may be so small that products vanish: that is a fault, no warning.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        return _fault_of_scales(graph, node)


def _fault_of_scales(graph: Graph, node: Node) -> str | None:
    weight, bias, out = (graph.type(n) for n in (*node.inputs[WEIGHT : BIAS + 1], node.outputs[0]))
    assert weight.quant is not None
    accumulator = graph.type(node.inputs[X]).scale * np.asarray(weight.quant.scale, np.float64)
    if bias.quant is not None:
        off = np.abs(np.asarray(bias.quant.scale) / accumulator - 1)
        if not off.max() <= _BIAS_TOLERANCE:  # not a number is a fault too
            k = int(off.argmax())
            return f"bias '{node.inputs[BIAS]}' has a scale {off[k]:.2g} off input x weight at {k}"
    multiplier = graph.values[node.inputs[MULTIPLIER]].data
    shift = graph.values[node.inputs[SHIFT]].data
    if multiplier is None or shift is None:
        return None
    return _fault_of_factors(accumulator / out.scale, multiplier, shift)


def _fault_of_factors(factor: Array, multiplier: Array, shift: Array) -> str | None:
    if shift.min() < -31 or shift.max() > 30:
        return f"shifts reach from {shift.min()} to {shift.max()}, beyond [-31, 30]"
    said = multiplier.astype(np.float64) * 2.0 ** (shift.astype(np.float64) - 31)
    wrong = np.abs(said / factor - 1) > _FACTOR_TOLERANCE
    wrong &= ~((multiplier == 0) & (factor < _SMALLEST_FACTOR))
    if not wrong.any():
        return None
    k = int(wrong.argmax())
    factors = np.broadcast_to(factor, said.shape)
    return f"channel {k} is multiplied by {said[k]:.9g}, the scales say {factors[k]:.9g}"
