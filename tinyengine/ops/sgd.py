"""Stochastic gradient descent on the real values, written in integers.

With w = s_w * q the step q <- q - lr * dL/dw / s_w moves the real value by lr * dL/dw whatever the
scale: Quantisation-Aware Scaling (arXiv 2206.15472 section 2.1) stated plainly. The gradient
arrives in units of its own scale s_g (the input's scale for weights), so each element moves by
delta = g * (ratio * lr), ratio = s_g / s_w, both products rounded to float32.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType
from tinyengine.ops import fixed
from tinyengine.ops.exponent import EXPONENT
from tinyengine.ops.op import Op, Signature, expect, expect_count, expect_dtype, expect_shape

W, G, RATIO, LR, SEED, STEP, FRACTION = range(7)
FLOAT_LIMIT = np.float32(65536.0)  # keeps a diverging float head finite


class Rounding(enum.Enum):
    """How a real step becomes an integer one."""

    NEAREST = "nearest"  # ties to even
    STOCHASTIC = "stochastic"  # up with the probability of the fraction
    MASTER16 = "master16"  # int8 weights keep one more byte, 1/256 steps; biases round to nearest


def tensor_key(name: str) -> int:
    """FNV-1a of the tensor's name: its own stream of random numbers."""
    key = 0x811C9DC5
    for byte in name.encode():
        key = ((key ^ byte) * 0x01000193) & 0xFFFFFFFF
    return key


def random_bits(key: int, seed: Array, step: Array, index: Array) -> Array:
    """uint32, one per index: the same on every target, whatever the order of work."""
    stream = fixed.mix32(fixed.mix32((int(seed) + key) & 0xFFFFFFFF) ^ np.uint32(int(step)))
    return fixed.mix32(np.asarray(index, np.uint64) + np.uint64(int(stream)))


def uniform(key: int, seed: Array, step: Array, index: Array) -> Array:
    """float32 in [0, 1), one per index."""
    return unit(random_bits(key, seed, step, index))


def unit(bits: Array) -> Array:
    """uint32 as float32 in [0, 1): the upper 24 bits."""
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def exact_step(
    g: Array, rate: Array, e: int, rounding: Rounding, random: Array | None = None
) -> Array:
    """-g * rate * 2**e as an integer, from the exact product, saturated to int32.

    g: int32; rate: float32, seen as its 24-bit integer mantissa and a power of two, so that the
    product has at most 55 bits; random: uint32 per element. Rounds half away from zero; stochastic:
    floor(product + random), random in [0, 1) of the integer step. A rate that is not finite, or
    below the normal float32 numbers, is 0.
    """
    bits = np.asarray(rate, np.float32).view(np.int32).astype(np.int64)
    power = (bits >> 23) & 255
    mantissa = (bits & 0x7FFFFF) | 0x800000
    mantissa = np.where((power == 0) | (power == 255), 0, np.where(bits < 0, -mantissa, mantissa))
    product = -(np.asarray(g, np.int64) * mantissa)
    right = np.broadcast_to(150 - power - e, product.shape)
    left = fixed.saturate_i32(product) << np.clip(-right, 0, 31)
    over = np.clip(right - 62, 0, 63)
    s = np.clip(right, 1, 62)
    if rounding is Rounding.STOCHASTIC:
        assert random is not None
        wide = np.asarray(random).astype(np.int64)
        added = np.where(s <= 32, wide >> np.maximum(32 - s, 0), wide << np.maximum(s - 32, 0))
        down = ((product >> over) + added) >> s
    else:
        down = fixed.rounding_shift_right(product >> over, s)
    return fixed.saturate_i32(np.where(right <= 0, left, down))


def integer_step(delta: Array, rounding: Rounding, u: Array) -> Array:
    """-delta as an integer, saturated to int32."""
    step = -delta
    if rounding is not Rounding.STOCHASTIC:
        return fixed.to_i32(fixed.round_half_even(step))
    floor = np.floor(step)
    return fixed.to_i32(np.where(step - floor > u, floor + np.float32(1), floor))


@dataclass(frozen=True, slots=True)
class SgdI8(Op):
    """Update an int8 weight: (w, g, ratio, lr, seed, step[, fraction][, e]) -> (w[, fraction]).

    g f32 like w, or i32 with its exponent as the last input. ratio has one entry per index of
    `axis` of w. Elements whose step rounds to 0 are not touched; others saturate to [-127, 127],
    TFLite's range for weights.

    `channels` (indices into the last axis of the unpruned tensor, `channels_total` wide) says which
    channels learn. Where w holds just those, they number its elements as the unpruned tensor does,
    so that a pruned update draws the same random numbers; where w is whole, the others stay.
    Applied on steps with step % every == every - 1, else w stays.
    """

    kind: ClassVar[str] = "sgd_i8"
    rounding: str
    axis: int
    key: int
    channels: tuple[int, ...] = ()
    channels_total: int = 0
    every: int = 1

    def check(self, sig: Signature) -> None:
        master = self.rounding == Rounding.MASTER16.value
        exponents = int(sig.ins[G].dtype is DType.I32)
        expect_count(sig, 6 + master + exponents, 2 if master else 1)
        check_sgd(sig, DType.I8)
        w, g = sig.ins[W], sig.ins[G]
        expect_shape(sig.ins[RATIO], (w.shape[self.axis],), "ratio")
        expect_shape(g, w.shape, "gradient")
        held = (w.shape[-1],) if not self.channels else (len(self.channels), self.channels_total)
        expect(w.shape[-1] in held, "channels do not fit the weight")
        if master:
            expect_dtype(sig.ins[FRACTION], DType.I8, "fraction")
            expect_shape(sig.ins[FRACTION], w.shape, "fraction")
            expect_shape(sig.outs[1], w.shape, "fraction")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        if int(ins[STEP]) % self.every != self.every - 1:
            return tuple(ins[i].copy() for i in (W, FRACTION)[: len(sig.outs)])
        shape = [1] * ins[W].ndim
        shape[self.axis] = -1
        rate = (ins[RATIO] * ins[LR]).reshape(shape)
        learns = self._learns(ins[W].shape)
        if self.rounding == Rounding.MASTER16.value:
            w16 = ins[W].astype(np.int64) * 256 + ins[FRACTION]
            step = _step(ins, rate, Rounding.MASTER16, None, 8)
            moved = _move(w16, np.where(learns, step, 0), -32640, 32639)
            whole = (moved + 128) >> 8
            return whole.astype(np.int8), (moved - whole * 256).astype(np.int8)
        random = random_bits(self.key, ins[SEED], ins[STEP], self._index(ins[W].shape))
        step = _step(ins, rate, Rounding(self.rounding), random)
        moved = _move(ins[W].astype(np.int64), np.where(learns, step, 0), -127, 127)
        return (moved.astype(np.int8),)

    def _narrow(self, shape: tuple[int, ...]) -> bool:
        return bool(self.channels) and shape[-1] == len(self.channels)

    def _learns(self, shape: tuple[int, ...]) -> Array:
        """Which channels of w move, bool (channels,)."""
        if not self.channels or self._narrow(shape):
            return np.ones(shape[-1], np.bool_)
        return np.isin(np.arange(shape[-1]), self.channels)

    def _index(self, shape: tuple[int, ...]) -> Array:
        """Element numbers in the unpruned tensor, shaped like w."""
        narrow = self._narrow(shape)
        channels = np.array(self.channels if narrow else range(shape[-1]), np.int64)
        total = self.channels_total if narrow else shape[-1]
        rows = np.arange(int(np.prod(shape[:-1])), dtype=np.int64)
        return (rows[:, None] * total + channels).reshape(shape)


def _step(
    ins: Sequence[Array], rate: Array, rounding: Rounding, random: Array | None, more: int = 0
) -> Array:
    """The step of an integer tensor, in units of 2**-more, from a float32 or an int32 gradient."""
    if ins[G].dtype == np.int32:
        return exact_step(ins[G], rate, int(ins[-1][0]) + more, rounding, random)
    delta = ins[G] * rate
    if more:
        delta = delta * np.float32(1 << more)
    return integer_step(delta, rounding, delta if random is None else unit(random))


def _move(value: Array, step: Array, lo: int, hi: int) -> Array:
    """value + step saturated to [lo, hi]; a value that does not move may lie outside."""
    return np.where(step == 0, value, np.clip(value + step, lo, hi))


@dataclass(frozen=True, slots=True)
class SgdI32(Op):
    """Update an int32 bias: (b, g, ratio, lr, seed, step[, e]) -> b, saturating.

    ratio = 1 / s_b; g f32, or i32 with its exponent.
    """

    kind: ClassVar[str] = "sgd_i32"
    rounding: str
    key: int
    every: int = 1

    def check(self, sig: Signature) -> None:
        expect_count(sig, 6 + (sig.ins[G].dtype is DType.I32))
        check_sgd(sig, DType.I32)
        expect_shape(sig.ins[G], sig.ins[W].shape, "gradient")
        expect_shape(sig.ins[RATIO], sig.ins[W].shape, "ratio")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        if int(ins[STEP]) % self.every != self.every - 1:
            return (np.array(ins[W]),)
        random = random_bits(self.key, ins[SEED], ins[STEP], np.arange(len(ins[G])))
        step = _step(ins, ins[RATIO] * ins[LR], Rounding(self.rounding), random)
        return (fixed.saturate_i32(ins[W].astype(np.int64) + step).astype(np.int32),)


@dataclass(frozen=True, slots=True)
class SgdF32(Op):
    """Update a float32 tensor: w - g * (ratio * lr), within +-65536; ratio has one entry."""

    kind: ClassVar[str] = "sgd_f32"
    every: int = 1

    def check(self, sig: Signature) -> None:
        expect_count(sig, 6)
        check_sgd(sig, DType.F32)
        expect_shape(sig.ins[G], sig.ins[W].shape, "gradient")
        expect_shape(sig.ins[RATIO], (1,), "ratio")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        if int(ins[STEP]) % self.every != self.every - 1:
            return (np.array(ins[W]),)
        moved = ins[W] - ins[G] * (ins[RATIO] * ins[LR])
        kept = np.where(np.isnan(moved), ins[W], moved)
        return (np.clip(kept, -FLOAT_LIMIT, FLOAT_LIMIT),)


@dataclass(frozen=True, slots=True)
class Accumulate(Op):
    """Sum gradients over `every` steps: (sum, g, step) -> g on the first of them, else sum + g.

    The sum is f32. An integer gradient, (sum, g, step, e) with g i32, is added as float(g) * 2**e:
    its exponent may change from step to step.
    """

    kind: ClassVar[str] = "accumulate"
    every: int

    def check(self, sig: Signature) -> None:
        expect(self.every >= 2, "accumulation takes at least 2 steps")
        expect_count(sig, 3 + (sig.ins[1].dtype is DType.I32))
        _check_gradient(sig, 1)
        for type_ in (sig.ins[0], *sig.outs):
            expect_dtype(type_, DType.F32, "sum")
            expect_shape(type_, sig.ins[1].shape, "sum")
        expect_dtype(sig.ins[2], DType.U32, "step")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        g = ins[1]
        if g.dtype == np.int32:
            g = g.astype(np.float32) * np.float32(2.0 ** int(ins[3][0]))
        return (np.array(g) if int(ins[2]) % self.every == 0 else ins[0] + g,)


def _check_gradient(sig: Signature, index: int) -> None:
    """A gradient is f32, or i32 with its exponent as the last input."""
    if sig.ins[index].dtype is DType.I32:
        expect(sig.ins[-1] == EXPONENT, "the last input must be the gradient's exponent")
    else:
        expect_dtype(sig.ins[index], DType.F32, "gradient")


def check_sgd(sig: Signature, dtype: DType) -> None:
    """What all updates share: dtypes of weight, gradient, ratio and the run-time scalars."""
    expect_dtype(sig.ins[W], dtype, "parameter")
    _check_gradient(sig, G)
    expect_dtype(sig.ins[RATIO], DType.F32, "ratio")
    scalars = ((LR, DType.F32, "lr"), (SEED, DType.U32, "seed"), (STEP, DType.U32, "step"))
    for index, scalar, what in scalars:
        expect_dtype(sig.ins[index], scalar, what)
        expect_shape(sig.ins[index], (), what)
    expect_dtype(sig.outs[0], dtype, "next parameter")
    expect_shape(sig.outs[0], sig.ins[W].shape, "next parameter")
