"""Requantisation in six instructions equals the reference wherever codegen/scales.py allows it."""

import numpy as np

from codegen.scales import MAX_EXPONENT, MAX_PRODUCTS, NEVER, only_outputs, scales
from tinyengine.ir.tensor import Array
from tinyengine.ops import fixed


def six(sums: Array, bias: Array, words: Array) -> Array:
    """te_scale of firmware/include/te_dsp.h on int64; asserts that no 32-bit step wraps."""
    m, e, addend = (words[:, i].astype(np.int64) for i in range(3))
    twice = fixed.saturate_i32(fixed.saturate_i32(2 * bias) + fixed.saturate_i32(2 * sums))
    high = (twice * m + (1 << 31)) >> 32
    total = addend + high + (twice >> 31)
    assert np.abs(total).max() < 2**31
    return np.clip(total >> e, -128, 127)


def reference(sums: Array, bias: Array, m: Array, shift: Array, zero: int) -> Array:
    total = fixed.saturate_i32(sums + bias)
    return np.clip(fixed.requantise(total, m, shift) + zero, -128, 127)


def test_six_instructions_are_the_reference() -> None:
    rng, n, most = np.random.default_rng(0), 200_000, MAX_PRODUCTS * 255 * 128
    assert most < 2**28
    for zero in (-128, -1, 0, 127):
        sums = rng.integers(-most, most + 1, n)
        sums[: n // 2] >>= rng.integers(0, 28, n // 2)
        sums[:9] = [most, -most, 0, 1, -1, 2**20, -(2**20), 3, -3]
        bias = rng.integers(-(2**31), 2**31, n) >> rng.integers(0, 31, n)
        near = rng.random(n) < 0.2
        bias[near] = (rng.choice([-1, 1], n) * 2**30 + rng.integers(-9, 9, n))[near]
        bias[rng.random(n) < 0.05] = rng.choice([-(2**31), 2**31 - 1])
        m = rng.integers(2**30, 2**31, n)
        m[rng.random(n) < 0.1] = rng.choice([0, 2**30, 2**31 - 1])
        shift = -rng.integers(1, MAX_EXPONENT + 1, n)
        made = scales(m, shift, zero, np.full(n, NEVER))
        assert not len(made.exact)
        got = six(sums, bias, made.words.reshape(-1, 3))
        assert np.array_equal(got, reference(sums, bias, m, shift, zero))


def test_ties_round_away_from_zero() -> None:
    sums = np.arange(-4000, 4001)
    n = len(sums)
    for e in (1, 2, 5):
        m, shift = np.full(n, 2**30), np.full(n, -e)  # sums / 2**(e + 1)
        made = scales(m, shift, 5, np.full(n, NEVER))
        zeros = np.zeros(n, np.int64)
        got = six(sums, zeros, made.words.reshape(-1, 3))
        assert np.array_equal(got, reference(sums, zeros, m, shift, 5))


def test_other_channels_are_exact_or_constant() -> None:
    m = np.array([2**30, 2**30, 2**30, 2**30 - 1, 2**30])
    shift = np.array([-19, 0, 3, -5, -26])
    made = scales(m, shift, -128, np.array([NEVER, NEVER, NEVER, NEVER, -128]))
    assert made.exact.tolist() == [0, 1, 2, 3]
    words = made.words.reshape(-1, 3)
    assert words[:4].tolist() == [[a, b, 0] for a, b in zip(m[:4], shift[:4], strict=True)]
    sums, bias = np.array([10**8, -(10**8)]), np.array([2**31 - 1, -(2**31)])
    assert six(sums, bias, words[[4, 4]]).tolist() == [-128, -128]


def test_a_dead_channel_has_one_output() -> None:
    rows = np.array([[3, -7, 127], [3, -7, 127]], np.int8)
    bias = np.array([-(2**31), 0])
    m, shift = np.array([2**30, 2**30]), np.array([-28, -3])
    assert only_outputs(rows, bias, m, shift, (-5, -128)).tolist() == [-128, NEVER]
