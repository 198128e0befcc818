"""Requantisation in six instructions: which channels may take it, and the words it reads.

The reference rounds twice: h = round(sum * multiplier / 2^31), then round(h / 2^e), ties away from
zero. `te_scale` (firmware/include/te_dsp.h) gives the clamped result of the same bits if

- 2^30 <= multiplier < 2^31 and the shift is -e with 1 <= e <= 18;
- the sum of products stays below 2^28 in magnitude: at most 8,224 products;
- the output's range is -128..127. The bias may be any int32.

Why. t = 2 (sum + bias), saturated, is exact while |sum + bias| < 2^30; then round(t * m / 2^32) is
h, one SMMULR. Beyond that |h| >= 2^28 on both ways, so that h / 2^e, 1024 or more, is clamped to
the same end. Ties away from zero: floor((h + 2^(e-1) - [h < 0]) / 2^e), and t has the sign of h or
h is 0, where both forms give 0. The zero point z enters before the shift as z * 2^e. So the words
of a channel are multiplier, e, and 2^(e-1) + z 2^e; those of a channel whose output is v whatever
the input is 0, 1, 2 v + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyengine.ir.tensor import Array
from tinyengine.ops import fixed

MAX_EXPONENT = 18
MAX_PRODUCTS = 8224  # times 255 * 128 stays below 2**28


@dataclass(frozen=True, slots=True, eq=False)
class Scales:
    """words (3 k,) int32; exact: channels whose words are multiplier, shift, 0."""

    words: Array
    exact: Array


def scales(multiplier: Array, shift: Array, zero: int, always: Array) -> Scales:
    """Return the words of every channel.

    Args:
        multiplier: (k,) int32.
        shift: (k,) int32.
        zero: The output's zero point.
        always: (k,) the output of channels that have only one, else a value out of int8.
    """
    words = np.zeros((len(multiplier), 3), np.int32)
    exact = []
    for k, (m, s, v) in enumerate(zip(multiplier, shift, always, strict=True)):
        if m == 0:
            words[k] = 0, 1, 2 * zero + 1
        elif m >= 2**30 and 1 <= -s <= MAX_EXPONENT:
            words[k] = m, -s, (2 * zero + 1) << (int(-s) - 1)
        elif -128 <= v <= 127:
            words[k] = 0, 1, 2 * int(v) + 1
        else:
            words[k] = m, s, 0
            exact.append(k)
    return Scales(words.reshape(-1), np.array(exact, np.uint16))


NEVER = 1000  # no int8


def only_outputs(
    rows: Array, bias: Array, multiplier: Array, shift: Array, zeros: tuple[int, int]
) -> Array:
    """Return for each channel the one output that it can have, or NEVER.

    Args:
        rows: (k, products) int8, frozen weights.
        bias: (k,) int32, frozen too.
        multiplier: (k,) int32.
        shift: (k,) int32.
        zeros: Zero points of input and output.
    """
    w = rows.astype(np.int64)
    reach = np.stack([w * (-128 - zeros[0]), w * (127 - zeros[0]), np.zeros_like(w)])
    ends = []
    for extreme in (reach.min(axis=0), reach.max(axis=0)):
        total = fixed.saturate_i32(extreme.sum(axis=1) + bias)
        ends.append(np.clip(fixed.requantise(total, multiplier, shift) + zeros[1], -128, 127))
    # the output grows with the sum
    return np.where(ends[0] == ends[1], ends[0], NEVER)
