"""What the Python front end chooses when nobody says: seeded weights, and scales from samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tinyengine.errors import ModelError
from tinyengine.importers.layers import make_quant
from tinyengine.ir.tensor import Array, Quant
from tinyengine.ops import fixed
from tinyengine.ops.window import Window

F64 = NDArray[np.float64]
SAMPLES = 8  # pseudo-random pictures that scales are measured on
_LIMITS = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}


def random_int8(key: str, seed: int, shape: tuple[int, ...], low: int = -128) -> Array:
    """Pseudo-random int8 in [low, 127], the same on every machine; `key` names the stream."""
    state = fixed.mix32(seed & 0xFFFFFFFF)
    for byte in key.encode():
        state = fixed.mix32(state.astype(np.uint64) * 31 + byte)
    counter = np.arange(math.prod(shape), dtype=np.uint64) + state.astype(np.uint64)
    values = fixed.mix32(counter).astype(np.int64) % (128 - low) + low
    return values.astype(np.int8).reshape(shape)


def random_weight(
    key: str, seed: int, shape: tuple[int, ...], fan_in: int, axis: int
) -> tuple[Array, Array]:
    """(int8 weight, scale per index of `axis`): uniform within sqrt(6 / fan_in), He's rule.

    Channel scales differ by up to a factor of 3, so that per-channel mistakes show.
    """
    spread = random_int8(f"{key}:scale", seed, (shape[axis],)).astype(np.float64)
    factor = 1.0 + spread / 256.0
    scale = math.sqrt(6.0 / fan_in) / 127.0 * factor
    return random_int8(key, seed, shape, low=-127), scale.astype(np.float32)


def quantise_weight(weight: Array, axis: int, per_channel: bool) -> tuple[Array, Array]:
    """(int8 weight, scales) of a real weight: symmetric, the largest magnitude becomes 127."""
    real = np.asarray(weight, np.float64)
    others = tuple(i for i in range(real.ndim) if i != axis)
    largest = np.abs(real).max(axis=others if per_channel else None).reshape(-1)
    if not np.isfinite(largest).all():
        raise ModelError("a weight is not finite")
    scales = np.where(largest > 0, largest / 127.0, 1.0).astype(np.float32)
    shape = [1] * real.ndim
    shape[axis] = len(scales)
    q = np.rint(real / scales.astype(np.float64).reshape(shape))
    return np.clip(q, -127, 127).astype(np.int8), scales


def quantise_bias(bias: Array, scales: F64) -> Array:
    """int32 bias of a real one at `scales` = input scale * weight scales."""
    real = np.asarray(bias, np.float64)
    if not np.isfinite(real).all():
        raise ModelError("a bias is not finite")
    q = np.rint(real / np.where(scales > 0, scales, 1.0))
    return fixed.saturate_i32(np.clip(q, -3e9, 3e9)).astype(np.int32)


def output_quant(real: F64, activation: str) -> Quant:
    """The int8 range that just holds `real` after its activation, and zero (one int8 value).

    scale = (max - min) / 255; zero point = round(-128 - min / scale).
    """
    low, high = _LIMITS.get(activation, (-math.inf, math.inf))
    clipped = np.clip(real, low, high)
    least, most = min(0.0, float(clipped.min())), max(0.0, float(clipped.max()))
    if most == least:
        return make_quant(1.0 / 128, 0, "an output that is always zero")
    scale = (most - least) / 255.0
    zero = int(np.clip(np.rint(-128 - least / scale), -128, 127))
    return make_quant(scale, zero, "the output")


def accumulate(window: Window, centred: Array, weight: Array, depthwise: bool) -> F64:
    """Integer sums of a convolution, exact in float64: (n, oh, ow, k).

    centred (n, h, w, c): input minus zero point; weight (k, kh, kw, c) or (1, kh, kw, c * m).
    """
    x = centred.astype(np.float64)
    taps = weight.astype(np.float64)
    size = (x.shape[1], x.shape[2])
    channels = weight.shape[3] if depthwise else weight.shape[0]
    total = np.zeros((len(x), *window.out_size(size), channels))
    if depthwise:
        x = np.repeat(x, channels // x.shape[3], axis=3)
    for tap in window.taps(size):
        part = x[(slice(None), *tap.into)]
        if depthwise:
            part = part * taps[0, tap.ky, tap.kx]
        else:
            part = part @ taps[:, tap.ky, tap.kx].T
        total[(slice(None), *tap.out)] += part
    return total
