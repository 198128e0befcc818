"""Forward operators against loops that anyone can read."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.graphs import Net
from tinyengine.ir.tensor import DType, Quant, TensorType
from tinyengine.ops import fixed
from tinyengine.ops.add import Add
from tinyengine.ops.borders import quantise
from tinyengine.ops.mul import Mul
from tinyengine.ops.op import Signature, TypeRuleError
from tinyengine.ops.pool import AvgPool, MaxPool, rounded_quotient
from tinyengine.ops.window import Window
from tinyengine.sim.run import run

int8s = st.integers(-128, 127)
quick = settings(max_examples=30, deadline=None)


def half_away(x: Fraction) -> int:
    """Nearest integer, ties away from zero."""
    down = math.floor(abs(x) + Fraction(1, 2))
    return down if x >= 0 else -down


# ---- forward operators against plain loops ------------------------------------------------------


def requantised(total: int, multiplier: int, shift: int, zero: int, lo: int, hi: int) -> int:
    total = min(max(total, fixed.INT32_MIN), fixed.INT32_MAX)
    return min(
        max(int(fixed.requantise(*map(np.asarray, (total, multiplier, shift)))) + zero, lo), hi
    )


@quick
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.tuples(*[st.integers(1, 3)] * 4),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.booleans(),
    st.integers(0, 999),
)
def test_convolutions_equal_plain_loops(
    c: int,
    k: int,
    sizes: tuple[int, int, int, int],
    padding: tuple[int, int, int, int],
    depthwise: bool,
    seed: int,
) -> None:
    kh, kw, sy, sx = sizes
    w = Window((kh, kw), (sy, sx), padding, (1 + seed % 2, 1 + seed % 3))
    assume(min(w.out_size((5, 4))) >= 1)
    net = Net(seed)
    x_name = net.input(5, 4, c)
    y_name = (
        net.depthwise(x_name, k, w, 0.03, -100, 90)
        if depthwise
        else net.conv(x_name, k, w, 0.03, -100, 90)
    )
    graph = net.graph(y_name)
    values = run(graph, {"x": net.codes((1, 5, 4, c), -128)})
    x, weight, bias, multiplier, shift = (values[n] for n in graph.nodes[0].inputs)
    zero_x, zero_y = graph.type("x").zero_point, graph.type(y_name).zero_point
    for oy, ox, o in np.ndindex(*values[y_name].shape[1:]):
        total = int(bias[o])
        for ky, kx, i in np.ndindex(kh, kw, 1 if depthwise else c):
            y = oy * sy + ky * w.dilation[0] - padding[0]
            z = ox * sx + kx * w.dilation[1] - padding[2]
            if 0 <= y < 5 and 0 <= z < 4:
                q = int(x[0, y, z, o // k if depthwise else i]) - zero_x
                total += q * int(weight[0, ky, kx, o] if depthwise else weight[o, ky, kx, i])
        expected = requantised(total, multiplier[o], shift[o], zero_y, -100, 90)
        assert values[y_name][0, oy, ox, o] == expected


def test_a_dead_channel_with_the_smallest_bias_saturates() -> None:
    net = Net(0)
    y = net.conv(net.input(2, 2, 3), 2, Window((1, 1)))
    graph = net.graph(y)
    bias = np.array([fixed.INT32_MIN, fixed.INT32_MAX], np.int32)
    values = run(graph, {"x": net.codes((1, 2, 2, 3))}, {"conv1/bias": bias})
    assert (values[y][..., 0] == -128).all()
    assert (values[y][..., 1] == 127).all()


@given(st.integers(-(128 * 64), 127 * 64), st.integers(1, 64))
def test_average_rounds_half_away_from_zero(total: int, count: int) -> None:
    found = int(rounded_quotient(np.asarray(total), np.asarray(count)))
    assert found == half_away(Fraction(total, count))


def test_average_counts_real_pixels_only() -> None:
    type_ = TensorType((1, 2, 2, 1), DType.I8, Quant.per_tensor(0.1, 50))
    w = Window((2, 2), (1, 1), (1, 1, 1, 1))
    sig = Signature((type_,), (TensorType((1, 3, 3, 1), DType.I8, type_.quant),))
    x = np.array([[10, 20], [30, 41]], np.int8).reshape(type_.shape)
    (y,) = AvgPool(w).evaluate(sig, [x])
    assert y[0, :, :, 0].tolist() == [[10, 15, 20], [20, 25, 31], [30, 36, 41]]


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (Window((2, 2), padding=(0, 2, 0, 0)), "must be less than the kernel"),
        (Window((2, 2), padding=(0, 0, 2, 0)), "must be less than the kernel"),
        (Window((2, 2), dilation=(2, 1)), "pools have none"),
    ],
)
def test_pools_whose_windows_see_no_pixel_are_refused(window: Window, said: str) -> None:
    type_ = TensorType((1, 3, 3, 1), DType.I8, Quant.per_tensor(0.1))
    out = TensorType((1, *window.out_size((3, 3)), 1), DType.I8, type_.quant)
    for op in (AvgPool, MaxPool):
        with pytest.raises(TypeRuleError, match=said):
            op(window).check(Signature((type_,), (out,)))


scales = st.floats(2.0**-8, 1.0, width=32)


@given(st.tuples(scales, scales, scales), st.tuples(*[int8s] * 5), st.sampled_from([Add, Mul]))
def test_add_and_mul_are_within_a_step_of_the_real_result(
    three: tuple[float, float, float], codes: tuple[int, ...], op: type[Add | Mul]
) -> None:
    q_a, q_b, *zeros = codes
    types = [
        TensorType((1, 1), DType.I8, Quant.per_tensor(s, z))
        for s, z in zip(three, zeros, strict=True)
    ]
    sig = Signature(tuple(types[:2]), (types[2],))
    op().check(sig)
    (y,) = op().evaluate(sig, [np.full((1, 1), q, np.int8) for q in (q_a, q_b)])
    a, b = (Fraction(three[i]) * (codes[i] - zeros[i]) for i in range(2))
    exact = (a + b if op is Add else a * b) / Fraction(three[2]) + zeros[2]
    assert abs(min(max(exact, -128), 127) - int(y.item())) < Fraction(51, 100) + Fraction(1, 2)


@given(st.floats(-(2.0**30), 2.0**30, width=32), scales, int8s)
@example(0.49999997, 1.0, 0)
@example(-0.49999997, 1.0, 0)
@example(0.5, 1.0, -1)
@example(float("inf"), 0.5, 0)
def test_quantise_rounds_half_away_from_zero(x: float, scale: float, zero: int) -> None:
    type_ = TensorType((1,), DType.I8, Quant.per_tensor(scale, zero))
    found = int(quantise(np.array([x], np.float32), type_)[0])
    quotient = float(np.float32(x) / np.float32(scale))
    nearest = half_away(Fraction(quotient)) if math.isfinite(quotient) else 10**9
    assert found == min(max(nearest + zero, -128), 127)
