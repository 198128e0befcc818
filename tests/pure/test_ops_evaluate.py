"""Integer meanings against exact rational arithmetic and against loops anyone can read."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.ops import fixed
from tinyengine.ops.op import Signature
from tinyengine.ops.sgd import (
    Accumulate,
    Rounding,
    SgdF32,
    SgdI8,
    SgdI32,
    integer_step,
    tensor_key,
    uniform,
)

int32 = st.integers(fixed.INT32_MIN, fixed.INT32_MAX)
quick = settings(max_examples=30, deadline=None)
LR, SEED, STEP = np.float32(0.5), np.uint32(9), np.uint32(4)


def half_away(x: Fraction) -> int:
    """Nearest integer, ties away from zero."""
    down = math.floor(abs(x) + Fraction(1, 2))
    return down if x >= 0 else -down


def half_up(x: Fraction) -> int:
    """Nearest integer, ties upwards: what gemmlowp's nudge and truncating division give."""
    return math.floor(x + Fraction(1, 2))


# ---- fixed point ------------------------------------------------------------------------------


@given(int32, int32)
@example(fixed.INT32_MIN, fixed.INT32_MIN)
@example(-1, 1 << 30)
@example(1, 1 << 30)
def test_high_mul(a: int, b: int) -> None:
    exact = Fraction(a * b, 2**31)
    found = int(fixed.high_mul(np.asarray(a), np.asarray(b)))
    assert found == min(half_up(exact), 2**31 - 1)


@given(int32, st.integers(0, 31))
@example(-3, 1)
@example(3, 1)
@example(fixed.INT32_MIN, 31)
def test_rounding_shift_right(x: int, exponent: int) -> None:
    exact = Fraction(x, 2**exponent)
    assert int(fixed.rounding_shift_right(np.asarray(x), np.asarray(exponent))) == half_away(exact)


@given(int32, st.integers(2**30, 2**31 - 1), st.integers(-31, 30))
def test_requantise_is_two_roundings(x: int, multiplier: int, shift: int) -> None:
    shifted = x << max(shift, 0)
    shifted = min(max(shifted, fixed.INT32_MIN), fixed.INT32_MAX)
    product = Fraction(shifted * multiplier, 2**31)
    first = int(fixed.high_mul(np.asarray(shifted), np.asarray(multiplier)))
    assert abs(first - product) <= Fraction(1, 2)
    expected = half_away(Fraction(first, 2 ** max(-shift, 0)))
    found = int(fixed.requantise(*map(np.asarray, (x, multiplier, shift))))
    assert found == expected
    # Both roundings together are at most a step and a bit away from the truth.
    if shifted == x << max(shift, 0):
        assert abs(found - Fraction(x * multiplier) * Fraction(2) ** (shift - 31)) <= 1


def test_requantise_works_by_channel() -> None:
    x = np.array([[1000, -1000, 77], [5, 6, 7]])
    multiplier, shift = np.array([2**30, 2**31 - 1, 2**30 + 5]), np.array([-3, 0, 2])
    found = fixed.requantise(x, multiplier, shift)
    for row, k in itertools.product(range(2), range(3)):
        alone = fixed.requantise(x[row, k], multiplier[k], shift[k])
        assert found[row, k] == alone


@given(st.floats(2.0**-31, 2.0**29))
@example(0.75)
@example(1.0 - 2.0**-40)
def test_quantise_multiplier(real: float) -> None:
    multiplier, shift = fixed.quantise_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    said = Fraction(multiplier) * Fraction(2) ** (shift - 31)
    assert abs(said / Fraction(real) - 1) <= Fraction(1, 2**31)


def test_multipliers_at_the_ends() -> None:
    assert fixed.quantise_multiplier(0.0) == (0, 0)
    assert fixed.quantise_multiplier(2.0**-40) == (0, 0)
    with pytest.raises(ValueError, match=r"factor 1\.07374e\+09 exceeds 2\*\*30"):
        fixed.quantise_multiplier(2.0**30)


@given(st.floats(allow_nan=True, allow_infinity=True, width=32))
def test_to_i32_saturates(x: float) -> None:
    found = int(fixed.to_i32(np.float32(x)))
    if math.isnan(x):
        assert found == 0
    else:
        assert found == min(max(math.trunc(max(min(x, 4e9), -4e9)), -(2**31)), 2**31 - 1)


# ---- exp, log, random numbers -----------------------------------------------------------------


def test_exp_is_close_to_the_truth() -> None:
    x = np.concatenate([np.linspace(-87, 88, 200_001), np.linspace(-1e-3, 1e-3, 2001)])
    x = x.astype(np.float32)
    found = fixed.exp_f32(x).astype(np.float64)
    assert np.abs(found / np.exp(x.astype(np.float64)) - 1).max() < 2e-7
    assert fixed.exp_f32(np.float32(0)) == 1
    assert fixed.exp_f32(np.float32(-1e9)) == fixed.exp_f32(np.float32(-87))


@given(st.floats(2.0**-126, 2.0**127, width=32))
@example(1.0)
def test_log_is_close_to_the_truth(x: float) -> None:
    found, truth = float(fixed.log_f32(np.float32(x))), math.log(x)
    assert abs(found - truth) <= 2e-7 * max(1.0, abs(truth))


def test_log_of_one_is_nothing() -> None:
    assert fixed.log_f32(np.float32(1)) == 0


def test_mix32() -> None:
    """Known values of "lowbias32"; and no two of a million inputs meet."""

    def plain(x: int) -> int:
        x = (x ^ x >> 16) * 0x7FEB352D & 0xFFFFFFFF
        x = (x ^ x >> 15) * 0x846CA68B & 0xFFFFFFFF
        return x ^ x >> 16

    for x in (0, 1, 2, 0xDEADBEEF, 2**32 - 1):
        assert int(fixed.mix32(x)) == plain(x)
    assert len(np.unique(fixed.mix32(np.arange(1_000_000)))) == 1_000_000


def test_uniform_numbers_are_uniform_and_independent() -> None:
    index = np.arange(200_000)
    u = uniform(tensor_key("a/weight"), SEED, STEP, index).astype(np.float64)
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.histogram(u, 64, (0, 1))[0]
    chi = ((counts - len(u) / 64) ** 2 / (len(u) / 64)).sum()
    assert chi < 63 + 5 * math.sqrt(2 * 63)
    others = (
        uniform(tensor_key("a/weight"), SEED, STEP + np.uint32(1), index),
        uniform(tensor_key("a/weight"), SEED + np.uint32(1), STEP, index),
        uniform(tensor_key("b/weight"), SEED, STEP, index),
    )
    for other in others:
        assert abs(np.corrcoef(u, other)[0, 1]) < 0.012  # five standard deviations


# ---- updates ----------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [0.3, -0.3, 0.001, 2.75, -7.5])
def test_stochastic_rounding_has_no_bias(delta: float) -> None:
    u = uniform(1, SEED, STEP, np.arange(200_000))
    step = integer_step(np.full(len(u), np.float32(delta)), Rounding.STOCHASTIC, u)
    fraction = abs(delta) % 1
    spread = math.sqrt(fraction * (1 - fraction) / len(u))
    assert abs(step.mean() + delta) < 5 * spread + 1e-6
    assert set(np.unique(step)) <= {math.floor(-delta), math.ceil(-delta)}


def test_nearest_rounding_ties_to_even() -> None:
    delta = np.array([0.5, 1.5, -0.5, -1.5, 2.5, 0.49, 1e12, np.nan], np.float32)
    step = integer_step(delta, Rounding.NEAREST, delta)
    assert step.tolist() == [0, -2, 0, 2, -2, 0, -(2**31), 0]


def sgd_i8(
    rounding: str,
    w: Array,
    g: Array,
    ratio: Array,
    fraction: Array | None = None,
    step: int = 0,
    **attributes: object,
) -> list[Array]:
    """One update of w (k, 1, 1, c) with lr 0.5."""
    op = SgdI8(rounding, 0, 77, **attributes)
    shapes = [
        (w, DType.I8),
        (g, DType.F32),
        (ratio, DType.F32),
        *((np.zeros(()), t) for t in (DType.F32, DType.U32, DType.U32)),
    ]
    extra = [] if fraction is None else [fraction]
    ins = [TensorType(a.shape, t) for a, t in shapes] + [
        TensorType(f.shape, DType.I8) for f in extra
    ]
    sig = Signature(tuple(ins), tuple(TensorType(w.shape, DType.I8) for _ in range(1 + len(extra))))
    op.check(sig)
    return list(op.evaluate(sig, [w, g, ratio, LR, SEED, np.uint32(step), *extra]))


int8s = st.integers(-128, 127)
deltas = st.floats(-400, 400, width=32)


@given(st.lists(st.tuples(int8s, deltas), min_size=1, max_size=20))
def test_nearest_update_is_exact_and_saturates(pairs: list[tuple[int, float]]) -> None:
    w = np.array([p[0] for p in pairs], np.int8).reshape(1, 1, 1, -1)
    g = np.array([p[1] for p in pairs], np.float32).reshape(w.shape)
    (found,) = sgd_i8("nearest", w, g, np.full(1, 2, np.float32))  # ratio * lr = 1
    for q, d, new in zip(w.ravel().tolist(), g.ravel().tolist(), found.ravel(), strict=True):
        moved = round(Fraction(-d))
        assert new == (q if moved == 0 else min(max(q + moved, -127), 127))


@given(st.lists(st.tuples(int8s, int8s, st.floats(-200, 200, width=32)), min_size=1, max_size=20))
def test_master16_is_exact_in_steps_of_1_256(rows: list[tuple[int, int, float]]) -> None:
    assume(all(w > -128 or f >= 0 for w, f, _ in rows))
    shape = (1, 1, 1, len(rows))
    w, fraction = (np.array([r[i] for r in rows], np.int8).reshape(shape) for i in (0, 1))
    g = np.array([r[2] for r in rows], np.float32).reshape(shape)
    found, rest = sgd_i8("master16", w, g, np.full(1, 2, np.float32), fraction)
    for (q, f, d), new, part in zip(rows, found.ravel(), rest.ravel(), strict=True):
        before = Fraction(256 * q + f)
        moved = round(Fraction(float(np.float32(d) * np.float32(256))))
        expected = before if moved == 0 else min(max(before - moved, -32640), 32639)
        assert 256 * int(new) + int(part) == expected
        assert -128 <= int(part) <= 127


def test_master16_adds_up_what_nearest_loses() -> None:
    w = np.zeros((1, 1, 1, 1), np.int8)
    fraction, g = np.zeros_like(w), np.full(w.shape, -0.02, np.float32)
    plain, ratio = w, np.full(1, 2, np.float32)
    for _ in range(100):
        w, fraction = sgd_i8("master16", w, g, ratio, fraction)
        (plain,) = sgd_i8("nearest", plain, g, ratio)
    assert 256 * int(w.item()) + int(fraction.item()) == 500  # round(0.02 * 256) * 100
    assert plain.item() == 0


@given(st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True), st.integers(0, 99))
def test_a_pruned_update_draws_the_random_numbers_of_the_whole(
    channels: list[int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    w = random.integers(-100, 100, (3, 1, 1, 7)).astype(np.int8)
    g = random.normal(size=w.shape).astype(np.float32) * 2
    ratio = random.uniform(0.5, 2, 3).astype(np.float32)
    (whole,) = sgd_i8("stochastic", w, g, ratio)
    some = {"channels": tuple(channels), "channels_total": 7}
    (alone,) = sgd_i8("stochastic", w[..., channels], g[..., channels], ratio, **some)
    assert (alone == whole[..., channels]).all()


@given(st.lists(st.tuples(int32, st.floats(-(2.0**40), 2.0**40, width=32)), min_size=1, max_size=9))
def test_bias_update_saturates_at_int32(pairs: list[tuple[int, float]]) -> None:
    bias = np.array([p[0] for p in pairs], np.int32)
    g = np.array([p[1] for p in pairs], np.float32)
    ins = [bias, g, np.full(len(bias), 2, np.float32), LR, SEED, STEP]
    (found,) = SgdI32("nearest", 3).evaluate(Signature((), ()), ins)
    for q, d, new in zip(bias.tolist(), g.tolist(), found.tolist(), strict=True):
        moved = min(max(round(Fraction(-d)), -(2**31)), 2**31 - 1)
        assert new == min(max(q + moved, -(2**31)), 2**31 - 1)


def test_accumulated_updates_happen_on_the_last_step_of_a_group() -> None:
    w, g = np.full((1, 1, 1, 1), 10, np.int8), np.full((1, 1, 1, 1), 3, np.float32)
    for step, expected in ((0, 10), (1, 10), (2, 7), (3, 10), (5, 7)):
        (found,) = sgd_i8("nearest", w, g, np.full(1, 2, np.float32), step=step, every=3)
        assert found.item() == expected
    total = np.float32(100)
    for step, expected in ((0, 3), (1, 103), (2, 103), (3, 3)):
        ins = [total, g.reshape(())[()], np.uint32(step)]
        (found,) = Accumulate(3).evaluate(Signature((), ()), ins)
        assert found == expected


def test_float_updates_stay_finite() -> None:
    w, g = np.array([1, 1, 1, 1], np.float32), np.array([1, 1e30, -1e30, np.nan], np.float32)
    ins = [w, g, np.full(1, 1, np.float32), LR, SEED, STEP]
    (found,) = SgdF32().evaluate(Signature((), ()), ins)
    assert found.tolist() == [0.5, -65536, 65536, 1]
