"""Integer gradients: int16 or int8 mantissas, and one power-of-two exponent per tensor.

real = q * 2**e. A producer scales its int32 sums to the exponent e that its state says, saturates,
and keeps the OR of all magnitudes before saturation: its bit length is that of the largest. From
that the exponent of the next step follows (delayed scaling): no second pass over the data.

The state counts sixteenths: e = state >> 4. It grows at once and shrinks by one a step, so that an
exponent drops after 16 steps in a row that did not need it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.ops import fixed
from tinyengine.ops.fixed import I64
from tinyengine.ops.op import Op, Signature, expect

# Largest mantissa; both signs, so that negation never overflows.
LIMITS = MappingProxyType({DType.I16: 32767, DType.I8: 127})
# Magnitude bits that the largest value is given: int16 keeps one bit of headroom for the next
# sample, int8 has none to spare.
TARGET_BITS = MappingProxyType({DType.I16: 14, DType.I8: 7})
STATE_BITS = 4  # the state counts 2**-4 of an exponent
LOWEST, HIGHEST = -100, 30  # 2**e and everything made with it stays a normal float32
SCALE_LIMIT = 32767  # largest int16 factor: weight scales, slopes

EXPONENT = TensorType((1,), DType.I32)


def is_integer(type_: TensorType) -> bool:
    """Whether a gradient of this type has mantissas and an exponent."""
    return type_.dtype in LIMITS


def expect_gradient(type_: TensorType, what: str) -> None:
    """Check for one of the gradient formats."""
    fits = type_.dtype is DType.F32 or is_integer(type_)
    expect(fits, f"{what} must be f32, i16 or i8, is {type_.dtype.value}")


def initial_state(largest: float, dtype: DType) -> int:
    """The state for a tensor whose largest magnitude is expected to be `largest`."""
    if not largest > 0 or not math.isfinite(largest):
        return LOWEST << STATE_BITS
    wanted = math.frexp(largest)[1] - TARGET_BITS[dtype]
    e = min(max(wanted, LOWEST), HIGHEST)
    return (e << STATE_BITS) + (1 << STATE_BITS) - 1


def exponent_of_state(state: Array) -> int:
    """The exponent of this step."""
    return int(np.asarray(state).reshape(-1)[0]) >> STATE_BITS


def next_state(state: int, peak: int, dtype: DType) -> int:
    """The state after a step whose magnitudes, ORed, were `peak`; 0 says nothing."""
    if peak == 0:
        return state
    e = state >> STATE_BITS
    wanted = min(max(e + peak.bit_length() - TARGET_BITS[dtype], LOWEST), HIGHEST)
    if wanted >= e:
        return (wanted << STATE_BITS) + (1 << STATE_BITS) - 1
    return state - 1


def magnitudes(q: Array) -> int:
    """OR of q ^ (q >> 31) over all q (int32 range): as many bits as the largest magnitude needs.

    A negative number counts as one less, as two's complement does.
    """
    wide = np.asarray(q, np.int64).reshape(-1)
    return int(np.bitwise_or.reduce(wide ^ (wide >> 31), initial=0))


@dataclass(frozen=True, slots=True)
class Scaling:
    """Exponents of the incoming gradients and of the outgoing one."""

    ins: tuple[int, ...]
    out: int

    def by(self, total: Array, multiplier: Array | int, shift: Array | int) -> I64:
        """total * multiplier * 2**(shift - 31 + e_in - e_out), as the forward pass requantises.

        total: int32 range. The exponents join the compile-time shift, within [-31, 30].
        """
        moved = np.clip(np.asarray(shift, np.int64) + (self.ins[0] - self.out), -31, 30)
        return fixed.requantise(total, np.asarray(multiplier, np.int64), moved)

    def align(self, total: Array, index: int = 0) -> I64:
        """total * 2**(e_in - e_out), rounded half away from zero or saturated to int32."""
        n = min(max(self.ins[index] - self.out, -31), 31)
        wide = np.asarray(total, np.int64)
        if n < 0:
            return fixed.rounding_shift_right(wide, np.asarray(-n))
        return fixed.saturate_i32(wide << n)


@dataclass(frozen=True, slots=True)
class GradientOp(Op):
    """An operator on gradients that changes their magnitudes: it needs an exponent of its own.

    gradients: how many of its first inputs are integer gradients with an exponent.
    """

    gradients: ClassVar[int] = 1

    def integers(self, sig: Signature, ins: Sequence[Array], scaling: Scaling) -> I64:
        """The output's mantissas before saturation, int32 range. sig, ins: with integer types."""
        raise NotImplementedError

    def check_integers(self, sig: Signature) -> None:
        """What the integer form asks for beyond the shapes of the float32 one."""

    def integer_scratch_bytes(self, sig: Signature) -> int:
        """Bytes of scratch of the integer kernel."""
        return 0


def fixed_scales(scales: Array) -> tuple[Array, float]:
    """Positive real factors as (int16, unit): factor ~ int16 * unit, the largest is exact.

    unit is a float32 value.
    """
    real = np.asarray(scales, np.float64)
    largest = float(np.abs(real).max(initial=0.0))
    unit = float(np.float32(largest / SCALE_LIMIT)) if largest > 0 else 1.0
    whole = np.floor(real / unit + 0.5)
    return np.clip(whole, -SCALE_LIMIT, SCALE_LIMIT).astype(np.int16), unit


def scaled_bits(dtype: DType, products: int) -> int:
    """Right shift r of d' = round(d * m / 2**r), m an int16 factor: how d' meets int8 weights.

    As small as keeps d' in int16 and a sum of `products` terms d' * w in int32.
    """
    r = 15 if dtype is DType.I16 else 7
    while True:
        largest = (LIMITS[dtype] * SCALE_LIMIT + (1 << (r - 1))) >> r
        if largest <= 32767 and largest * 128 * products <= fixed.INT32_MAX:
            return r
        r += 1


def weight_gradient_shift(dtype: DType, outputs: int) -> int:
    """Right shift s of d before a weight gradient's sum over `outputs` pixels, so it fits int32.

    |x - zero| <= 255. 0 up to 257 pixels for int16, and to 66,311 for int8.
    """
    s = 0
    while True:
        largest = LIMITS[dtype] if s == 0 else (LIMITS[dtype] + (1 << (s - 1))) >> s
        if largest * 255 * outputs <= fixed.INT32_MAX:
            return s
        s += 1


def shifted_gradient(d: Array, shift: int) -> I64:
    """round(d / 2**shift), half away from zero."""
    return fixed.rounding_shift_right(d, np.asarray(shift))


def expect_products(dtype: DType, terms: int) -> None:
    """Check that a sum of `terms` products with int8 weights fits int32."""
    most = fixed.INT32_MAX // (LIMITS[dtype] * 128)
    expect(terms <= most, f"{terms} products with {dtype.value} in one sum, int32 holds {most}")


def expect_sum(dtype: DType, terms: int, what: str) -> None:
    """Check that a sum of `terms` mantissas fits int32."""
    most = fixed.INT32_MAX // LIMITS[dtype]
    expect(terms <= most, f"{what} adds {terms} values of {dtype.value}, int32 holds {most}")
