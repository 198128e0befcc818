"""Rounding, saturation and requantisation: the one place where integer arithmetic is defined.

C equals this file bit for bit in `firmware/include/te_fixed.h`. Sources: the TFLite 8-bit
quantisation specification; gemmlowp's fixed-point conventions (double rounding).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tinyengine.ir.tensor import Array

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
I64 = NDArray[np.int64]
F32 = NDArray[np.float32]


def saturate_i32(x: Array) -> I64:
    """Clamp to the int32 range; the result stays int64 so that sums cannot wrap."""
    return np.clip(np.asarray(x, np.int64), INT32_MIN, INT32_MAX)


def quantise_multiplier(real: float) -> tuple[int, int]:
    """real ~ multiplier * 2**(shift - 31) with multiplier in [2**30, 2**31), or (0, 0) for tiny.

    >>> quantise_multiplier(0.75)
    (1610612736, 0)
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2.0**31 + 0.5)
    if multiplier == 2**31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        raise ValueError(f"requantisation factor {real:g} exceeds 2**30")
    return multiplier, shift


def high_mul(a: Array, b: Array) -> I64:
    """Saturating rounding doubling high multiply: round(a*b / 2**31), ties upwards.

    a, b: int32 range. Only INT32_MIN * INT32_MIN saturates.
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    # C's division truncates towards zero; a shift alone would floor.
    quotient = np.where(nudged >= 0, nudged >> 31, -((-nudged) >> 31))
    return np.asarray(np.minimum(quotient, INT32_MAX), np.int64)


def rounding_shift_right(x: Array, exponent: Array) -> I64:
    """round(x / 2**exponent), ties away from zero; exponent in 0..31."""
    x = np.asarray(x, np.int64)
    exponent = np.asarray(exponent, np.int64)
    mask = (np.int64(1) << exponent) - 1
    remainder = x & mask
    threshold = (mask >> 1) + (x < 0)
    return np.asarray((x >> exponent) + (remainder > threshold), np.int64)


def requantise(x: Array, multiplier: Array, shift: Array) -> I64:
    """x * multiplier * 2**(shift - 31) with the reference double rounding.

    x: int32 range, any shape; multiplier, shift: broadcast against x. The left shift saturates.
    """
    shift = np.asarray(shift, np.int64)
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    shifted = saturate_i32(np.asarray(x, np.int64) << left)
    return rounding_shift_right(high_mul(shifted, multiplier), right)


def round_half_even(x: Array) -> F32:
    """Nearest integer as float32, ties to even; any magnitude."""
    return np.rint(np.asarray(x, np.float32))


def to_i32(x: Array) -> I64:
    """An integer-valued float32 as int, saturated to int32; NaN becomes 0."""
    x = np.nan_to_num(np.asarray(x, np.float32), nan=0.0, posinf=3e9, neginf=-3e9)
    return saturate_i32(np.clip(x, np.float32(-3e9), np.float32(3e9)).astype(np.float64))


LOG2_E, LN2_HIGH, LN2_LOW, LN2 = (
    np.float32(1.4426950408889634),
    np.float32(0.693359375),  # 355 / 512: n * LN2_HIGH is exact for |n| < 2**15
    np.float32(-2.12194440054690583e-4),
    np.float32(0.6931471805599453),
)
# Taylor coefficients 1/7! ... 1/1!, 1: on |r| <= ln2 / 2 the remainder is below 6e-9.
_EXP = [np.float32(1.0 / math.factorial(n)) for n in range(7, -1, -1)]
# 2 * artanh(s) = 2s * (1 + z/3 + z^2/5 + z^3/7 + z^4/9), z = s^2 <= 0.0295: remainder 2e-9.
_LOG = [np.float32(1.0 / n) for n in (9, 7, 5, 3, 1)]


def exp_f32(x: Array) -> F32:
    """exp(x) for float32 x <= 88, in a written order of float32 operations (relative error 2e-7).

    Below -87 the result is exp(-87): it underflows to nothing in a softmax all the same.
    """
    x = np.clip(np.asarray(x, np.float32), np.float32(-87.0), np.float32(88.0))
    n = np.rint(x * LOG2_E)
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    y = np.full_like(r, _EXP[0])
    for coefficient in _EXP[1:]:
        y = y * r + coefficient
    # numpy 1 would widen a lone int32 beside a Python integer.
    power = ((n.astype(np.int32) + np.int32(127)) << np.int32(23)).view(np.float32)
    return np.asarray(y * power, np.float32)


def log_f32(x: Array) -> F32:
    """log(x) for normal float32 x > 0, in a written order of float32 operations."""
    bits = np.asarray(x, np.float32).view(np.int32)
    exponent = (bits >> 23) - 127
    mantissa = ((bits & np.int32(0x007FFFFF)) | np.int32(0x3F800000)).view(np.float32)
    high = mantissa > np.float32(1.41421356)
    mantissa = np.where(high, mantissa * np.float32(0.5), mantissa)
    exponent = (exponent + high).astype(np.float32)
    s = (mantissa - np.float32(1.0)) / (mantissa + np.float32(1.0))
    z = s * s
    y = np.full_like(z, _LOG[0])
    for coefficient in _LOG[1:]:
        y = y * z + coefficient
    return np.asarray(exponent * LN2 + (s + s) * y, np.float32)


def mix32(x: int | Array) -> NDArray[np.uint32]:
    """A bijective hash of 32 bits ("lowbias32"): the counter-based random generator's core."""
    # numpy 1 lets a Python int turn uint64 scalars into float64: every operand is typed.
    low, wide = np.uint64(0xFFFFFFFF), np.asarray(x).astype(np.uint64)
    wide = wide & low
    wide = wide ^ (wide >> np.uint64(16))
    wide = (wide * np.uint64(0x7FEB352D)) & low
    wide = wide ^ (wide >> np.uint64(15))
    wide = (wide * np.uint64(0x846CA68B)) & low
    return np.asarray(wide ^ (wide >> np.uint64(16))).astype(np.uint32)
