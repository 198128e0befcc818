"""Cases for Helium's gradient and update kernels: all sizes around a register's, odd rates, and
numbers that Helium's own arithmetic would flush to 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from tests.hostc import kernel_cases as cases
from tests.hostc.integer_cases import exponent, integer_cases
from tests.hostc.kernel_cases import LR, SEED, STEP, Case, Operand, Rng
from tinyengine.ir.tensor import Array, DType, Quant, TensorType
from tinyengine.ops.conv2d import Conv2dBwdInput, Conv2dBwdWeight
from tinyengine.ops.op import Op
from tinyengine.ops.row_step import RowStep
from tinyengine.ops.sgd import SgdI8, SgdI32
from tinyengine.ops.window import Window

POINTWISE = Window((1, 1))
SIZES = (*range(1, 14), 16, 17, 24, 31, 32, 40, 48)


def gradient_cases(rng: Rng) -> list[Case]:
    """Integer gradients and updates in both formats, checked by the operators' rules."""
    floats = [*inputs(rng), *weights(rng)]
    found = [*integer_cases(floats, rng), *integer_cases(floats[:1] + floats, rng)]
    found += [*row_steps(rng), *bias_steps(rng)]
    for case in found:
        case.op.check(case.signature())
    return found


def inputs(rng: Rng) -> Iterator[Case]:
    """Input gradients of 1x1 convolutions, whole and split."""
    for c, k in product(SIZES[::2], SIZES[::3]):
        yield pointwise_input(rng, (1, int(rng.integers(1, 10))), c, k)
    for c, k in product((2, 6, 12, 24), (8, 16, 24, 32, 48)):
        yield pointwise_input(rng, (1, int(rng.integers(1, 10))), c, k)
    for pixels in (*range(1, 10), 16):
        yield pointwise_input(rng, (pixels, 1), 20, 48)
    yield pointwise_input(rng, (1, 3), 11, 600)
    yield pointwise_input(rng, (2, 2), 70, 12)


def pointwise_input(rng: Rng, size: tuple[int, int], c: int, k: int) -> Case:
    first, *rest = cases.split(rng, cases.weight(rng, (k, 1, 1, c)))
    ins = (cases.f32(rng, (1, *size, k)), first, cases.f32(rng, (k,)), *rest)
    return Case(Conv2dBwdInput(POINTWISE), ins, (cases.grad((1, *size, c)),))


def weights(rng: Rng) -> Iterator[Case]:
    """Weight gradients: every count of pixels and channels, long runs, and windows."""
    for pixels in (*range(1, 18), 64, 127, 128, 129, 300):
        yield weight(rng, POINTWISE, (1, pixels), int(rng.integers(1, 30)))
    for c in SIZES:
        yield weight(rng, POINTWISE, (3, int(rng.integers(1, 7))), c)
    for stride, c in product((1, 2), (1, 5, 6, 13)):
        three = Window((3, 3), (stride, stride), (1, 1, 1, 1), (1, 1))
        yield weight(rng, three, (4, int(rng.integers(3, 12))), c)
    yield weight(rng, Window((3, 3), (1, 1), (1, 1, 1, 1), (1, 1)), (1, 150), 2)


def weight(rng: Rng, g: Window, size: tuple[int, int], c: int) -> Case:
    x, k = cases.i8(rng, (1, *size, c)), int(rng.integers(1, 6))
    d_w = TensorType((k, *g.kernel, c), DType.F32, Quant.per_tensor(x.type.scale))
    return Case(Conv2dBwdWeight(g), (cases.f32(rng, (1, *g.out_size(size), k)), x), (d_w,))


def row_steps(rng: Rng) -> Iterator[Case]:
    """Rows of every length with rates from those that move nothing to those that saturate."""
    for c, every in product(SIZES, (1, 2)):
        x, k = cases.i8(rng, (1, 2, 3, c)), 3
        d = next(iter(integer_cases([weight(rng, POINTWISE, (2, 3), c)], rng))).ins[0]
        d = replace(d, type=replace(d.type, shape=(1, 2, 3, k)))
        d = replace(d, data=rng.integers(-127, 128, (1, 2, 3, k)).astype(d.type.dtype.numpy))
        w = Operand(
            TensorType((k, 1, 1, c), DType.I8),
            rng.integers(-128, 128, (k, 1, 1, c)).astype(np.int8),
            is_state=True,
        )
        numbers = tuple(sorted(int(v) for v in rng.permutation(c + 3)[:c]))
        some = (numbers, c + 3) if rng.random() < 0.5 else ((), 0)
        op = RowStep(
            Conv2dBwdWeight(POINTWISE),
            SgdI8("stochastic", 0, int(rng.integers(2**32)), *some, every),
        )
        ins = (d, x, w, rates(rng, k), LR, SEED, STEP, exponent(rng))
        yield Case(op, ins, (w.type,))


def bias_steps(rng: Rng) -> Iterator[Case]:
    """Biases near their ends, and rates that are no ordinary numbers."""
    for n in (*SIZES, *SIZES):
        b = rng.integers(-(2**31), 2**31, n) if rng.random() < 0.5 else rng.integers(-99, 99, n)
        state = Operand(TensorType((n,), DType.I32), b.astype(np.int32), is_state=True)
        g = rng.integers(-(2**31), 2**31, n) >> rng.integers(0, 31, n)
        sums = Operand(TensorType((n,), DType.I32), g.astype(np.int32))
        op = SgdI32("stochastic", int(rng.integers(2**32)), int(rng.choice([1, 1, 2])))
        yield Case(op, (state, sums, rates(rng, n), LR, SEED, STEP, exponent(rng)), (state.type,))


def rates(rng: Rng, n: int) -> Operand:
    """Ratios over all of float32, now and then 0, subnormal or negative."""
    made = 10.0 ** rng.uniform(*((-3, 3) if rng.random() < 0.6 else (-44, 30)), n)
    odd = rng.choice([0.0, 1e-40, -2.0, 2.0**-126, 2.0**-149], n)
    made = np.where(rng.random(n) < 0.1, odd, made).astype(np.float32)
    return Operand(cases.grad((n,)), made)


def subnormal_cases(found: Sequence[Case], rng: Rng, most: int = 12) -> Iterator[Case]:
    """Some of the cases with float32 operands, at most `most` of each operator, with operands,
    products or sums that are subnormal."""
    seen: Counter[type[Op]] = Counter()
    for case in found:
        if any(map(_is_float, case.ins)) and seen[type(case.op)] < most:
            kind = seen[type(case.op)] % 3
            seen[type(case.op)] += 1
            ins = (_tiny(rng, x, kind) if _is_float(x) else x for x in case.ins)
            yield replace(case, ins=tuple(ins))


def _is_float(x: Operand) -> bool:
    return x.type.dtype is DType.F32 and x.data is not None


def _tiny(rng: Rng, x: Operand, kind: int) -> Operand:
    assert x.data is not None
    shape = x.data.shape
    sizes: tuple[Array, ...] = (
        10.0 ** rng.uniform(-45, -38, shape),  # subnormal themselves
        10.0 ** rng.uniform(-23, -18, shape),  # products of two
        2.0**-126 * rng.uniform(1, 2, shape),  # differences of two
    )
    data = sizes[kind] * rng.choice([-1.0, 1.0], shape)
    return replace(x, data=data.astype(np.float32))
