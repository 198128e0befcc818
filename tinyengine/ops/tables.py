"""Tables of one-input functions: what `Lut` looks up, and the slope that its gradient uses."""

from __future__ import annotations

import math

import numpy as np

from tinyengine.ir.tensor import Array, TensorType
from tinyengine.ops import fixed

Q31_ONE = (1 << 31) - 1


def codes() -> Array:
    """Every int8 value in table order, as int64."""
    return np.arange(-128, 128, dtype=np.int64)


def real_inputs(x: TensorType) -> Array:
    """Every int8 value as a real number, float64."""
    return (codes() - x.zero_point) * x.scale


def with_slope(table: Array, derivative: Array, lo: int, hi: int) -> tuple[Array, Array]:
    """The int8 table and its float32 slope, cut where the output is not strictly inside."""
    inside = (table > lo) & (table < hi)
    return table.astype(np.int8), np.where(inside, derivative, 0.0).astype(np.float32)


def requantise_table(
    x: TensorType, y: TensorType, lo: int = -128, hi: int = 127
) -> tuple[Array, Array]:
    """A change of scale, clamped to [lo, hi]: QUANTIZE int8 -> int8, RELU, RELU6 (TFLite)."""
    multiplier, shift = fixed.quantise_multiplier(x.scale / y.scale)
    scaled = fixed.requantise(codes() - x.zero_point, np.asarray(multiplier), np.asarray(shift))
    table = np.clip(scaled + y.zero_point, lo, hi)
    return with_slope(table, np.ones(256), lo, hi)


def logistic_table(x: TensorType) -> tuple[Array, Array]:
    """1 / (1 + exp(-x)) at scale 1/256, zero point -128, as TFLite's integer kernel computes it."""
    integer_bits = 4
    centred = codes() - x.zero_point
    q, radius = to_fixed_point(centred, x.scale * 2.0 ** (31 - integer_bits), integer_bits)
    y = fixed.rounding_shift_right(logistic_q31(q, integer_bits), np.asarray(31 - 8)) - 128
    table = np.clip(y, -128, 127)
    table = np.where(centred <= -radius, -128, np.where(centred >= radius, 127, table))
    # Beyond 700 a double's exp overflows; the slope is 0 long before.
    s = np.array([1.0 / (1.0 + math.exp(min(-v, 700.0))) for v in real_inputs(x).tolist()])
    return with_slope(table, s * (1.0 - s), -128, 127)


def to_fixed_point(values: Array, factor: float, integer_bits: int) -> tuple[Array, int]:
    """(values * factor as fixed point with `integer_bits`, radius).

    The radius is the largest |value| that the format can hold (TFLite CalculateInputRadius); what
    lies beyond means nothing.
    """
    shift = math.frexp(factor)[1]
    largest = ((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits) / 2.0**shift
    radius = int(min(largest, 2.0**31))
    if shift > 30:
        return np.zeros_like(values), radius  # one step leaves the format: only 0 can be held
    multiplier, shift = fixed.quantise_multiplier(factor)
    return fixed.requantise(values, np.asarray(multiplier), np.asarray(shift)), radius


def exp_on_negative_q31(q: Array, integer_bits: int) -> Array:
    """exp(a) for a = q / 2**(31 - integer_bits) <= 0, as Q0.31 (gemmlowp's barrel shifter).

    A degree-4 polynomial on [-1/4, 0), then one factor exp(-2**k) for each set bit of the rest.
    """
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    q = np.asarray(q, np.int64)
    low = (q & (quarter - 1)) - quarter
    result = _exp_quarter(low << integer_bits)
    remainder = low - q
    factors = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
    for exponent, factor in zip(range(-2, 5), factors, strict=True):
        if exponent < integer_bits:
            bit = 1 << (fraction_bits + exponent)
            result = np.where(remainder & bit, fixed.high_mul(result, np.asarray(factor)), result)
    if integer_bits > 5:
        result = np.where(q < -(1 << (fraction_bits + 5)), 0, result)
    return np.where(q == 0, Q31_ONE, result)


def _exp_quarter(a: Array) -> Array:
    """exp(a) for a in [-1/4, 0), both Q0.31: Taylor around -1/8."""
    constant, third = np.asarray(1895147668), np.asarray(715827883)  # exp(-1/8), 1/3
    x = a + (1 << 28)
    x2 = fixed.high_mul(x, x)
    x3 = fixed.high_mul(x2, x)
    x4 = fixed.high_mul(x2, x2)
    x4_over_4 = fixed.rounding_shift_right(x4, np.asarray(2))
    inner = fixed.high_mul(fixed.saturate_i32(x4_over_4 + x3), third) + x2
    poly = fixed.rounding_shift_right(fixed.saturate_i32(inner), np.asarray(1))
    return fixed.saturate_i32(constant + fixed.high_mul(constant, fixed.saturate_i32(x + poly)))


def logistic_q31(q: Array, integer_bits: int) -> Array:
    """Logistic of a fixed-point input as Q0.31 (gemmlowp: 1 / (1 + exp(-|a|)), mirrored)."""
    negative = -np.abs(np.asarray(q, np.int64))
    half = one_over_one_plus_q31(exp_on_negative_q31(negative, integer_bits))
    result = np.where(np.asarray(q) > 0, half, Q31_ONE - half)
    return np.where(np.asarray(q) == 0, 1 << 30, result)


def one_over_one_plus_q31(a: Array) -> Array:
    """1 / (1 + a) for a in [0, 1], Q0.31: three Newton-Raphson steps in Q2.29."""
    a = np.asarray(a, np.int64)
    total = a + Q31_ONE
    half_denominator = (total + np.where(total >= 0, 1, -1)) >> 1
    x = 1515870810 + fixed.high_mul(half_denominator, np.asarray(-1010580540))  # 48/17, -32/17
    for _ in range(3):
        error = (1 << 29) - fixed.high_mul(half_denominator, x)
        x = fixed.saturate_i32(x + fixed.saturate_i32(fixed.high_mul(x, error) << 2))
    return fixed.saturate_i32(x << 1)
