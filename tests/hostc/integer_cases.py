"""Cases of kernels with int16 and int8 gradients, made from those with float32 gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from tests.hostc.kernel_cases import Case, Operand, Rng, f32, grad, split, weight
from tinyengine.ir.tensor import DType, Quant, TensorType
from tinyengine.ops import fixed
from tinyengine.ops.bias_grad import BiasGrad
from tinyengine.ops.conv2d import Conv2dBwdInput, Conv2dBwdWeight, weight_gradient_type
from tinyengine.ops.depthwise import DepthwiseBwdInput, DepthwiseBwdWeight
from tinyengine.ops.exponent import EXPONENT, LIMITS, GradientOp, fixed_scales
from tinyengine.ops.layout import Crop, GatherChannels, Reshape, Transpose
from tinyengine.ops.lut import LutBwd
from tinyengine.ops.mask import MaskGrad
from tinyengine.ops.op import Op
from tinyengine.ops.registry import OPS
from tinyengine.ops.rescaled import QuantizeGrad, Rescaled
from tinyengine.ops.row_step import RowStep
from tinyengine.ops.sgd import Accumulate, G, SgdI8, SgdI32
from tinyengine.ops.window import Window

FORMATS = (DType.I16, DType.I8)
Shape = tuple[int, int, tuple[int, int, int, int], tuple[int, int, int]]
MOVES = (Reshape, Transpose, Crop, GatherChannels, MaskGrad)


def integer_cases(cases: Sequence[Case], rng: Rng) -> Iterator[Case]:
    """The integer forms of the cases that have one, in both formats by turns."""
    seen: Counter[type[Op]] = Counter()
    for case in cases:
        seen[type(case.op)] += 1
        yield from _case(case, FORMATS[seen[type(case.op)] % 2], rng)


POINTWISE = tuple((p, c, k) for p in (1, 2, 5) for c in (1, 4, 7, 21) for k in (1, 2, 9))


def pointwise_gradients(rng: Rng, shapes: Sequence[tuple[int, int, int]] = POINTWISE) -> list[Case]:
    """Input gradients of 1x1 convolutions: odd and even pixels and channels, whole and split.

    shapes: pixels, input channels, output channels; by turns in both formats, and once more.
    """
    found = []
    for pixels, c, k in shapes:
        d = f32(rng, (1, 1, pixels, k))
        parts = split(rng, weight(rng, (k, 1, 1, c)))
        ins = (d, parts[0], f32(rng, (k,)), *parts[1:])
        found.append(Case(Conv2dBwdInput(Window((1, 1))), ins, (grad((1, 1, pixels, c)),)))
    return list(integer_cases(found + found[1:], rng))


def depthwise_gradients(rng: Rng, shapes: Sequence[Shape]) -> list[Case]:
    """Input gradients of depthwise convolutions: (size, stride, padding, input (h, w, c)) each."""
    found = []
    for size, stride, pads, (h, w, c) in shapes:
        g = Window((size, size), (stride, stride), pads)
        d = f32(rng, (1, *g.out_size((h, w)), c))
        ins = (d, weight(rng, (1, size, size, c)), f32(rng, (c,)))
        found.append(Case(DepthwiseBwdInput(g), ins, (grad((1, h, w, c)),)))
    return list(integer_cases(found + found[1:], rng))


def _case(case: Case, dtype: DType, rng: Rng) -> Iterator[Case]:
    op, first = case.op, case.ins[0].type
    if isinstance(op, GradientOp):
        yield _rescaled(op, case, dtype, rng)
    if isinstance(op, BiasGrad):
        total = TensorType(case.outs[0].shape, DType.I32)
        yield Case(op, (gradient(rng, first.shape, dtype),), (total,))
    if isinstance(op, Conv2dBwdWeight | DepthwiseBwdWeight):
        d = gradient(rng, first.shape, dtype)
        out = weight_gradient_type(case.outs[0].shape, d.type, case.ins[1].type)
        yield Case(op, (d, case.ins[1]), (out,))
    if isinstance(op, MOVES) and first.dtype is DType.F32:
        d = gradient(rng, first.shape, dtype)
        yield Case(op, (d, *case.ins[1:]), (replace(case.outs[0], dtype=dtype),))
        if isinstance(op, MaskGrad):
            yield Case(
                Rescaled(QuantizeGrad()),
                (case.ins[0], state(rng, _size(case.ins[0]))),
                (TensorType(first.shape, dtype), EXPONENT, EXPONENT),
            )
    if isinstance(op, RowStep):
        d = gradient(rng, first.shape, dtype)
        yield Case(op, (d, *case.ins[1:], exponent(rng)), case.outs)
    if isinstance(op, SgdI8 | SgdI32 | Accumulate):
        g = _sums(rng, case.ins[G].type)
        yield Case(op, (case.ins[0], g, *case.ins[2:], exponent(rng)), case.outs)


def _size(operand: Operand) -> int:
    assert operand.data is not None
    largest = float(np.abs(operand.data).max())
    return int(np.frexp(largest)[1]) if largest else 0


def _rescaled(op: GradientOp, case: Case, dtype: DType, rng: Rng) -> Case:
    incoming = tuple(gradient(rng, x.type.shape, dtype) for x in case.ins[: op.gradients])
    exponents = tuple(exponent(rng) for _ in incoming)
    assert exponents[0].data is not None
    others = _constants(op, case.ins[op.gradients :])
    near = int(exponents[0].data[0])
    if isinstance(op, Conv2dBwdInput | DepthwiseBwdInput | LutBwd):
        near += int(rng.integers(0, 15))
    ins = (*incoming, *others, *exponents, state(rng, near))
    return Case(Rescaled(op), ins, (replace(case.outs[0], dtype=dtype), EXPONENT, EXPONENT))


def _constants(op: GradientOp, others: tuple[Operand, ...]) -> tuple[Operand, ...]:
    if isinstance(op, DepthwiseBwdInput):
        weight, scale = others
        assert scale.data is not None
        pairs = [fixed.quantise_multiplier(abs(float(s))) for s in scale.data]
        columns = np.array(pairs, np.int32).T.copy()
        return weight, *(Operand(TensorType((len(c),), DType.I32), c) for c in columns)
    if isinstance(op, Conv2dBwdInput | LutBwd):
        table = others[1]
        assert table.data is not None
        data, unit = fixed_scales(np.abs(table.data))
        type_ = TensorType(table.type.shape, DType.I16, Quant.per_tensor(unit))
        return others[0], Operand(type_, data), *others[2:]
    return others


def gradient(rng: Rng, shape: tuple[int, ...], dtype: DType) -> Operand:
    """Mantissas: small ones, all ones, or nothing but the limits."""
    limit = LIMITS[dtype]
    data = rng.integers(-limit, limit + 1, shape) >> int(rng.integers(0, 7))
    if rng.random() < 0.15:
        data = rng.choice([-limit, limit], shape)
    data = np.where(rng.random(shape) > rng.choice([0.0, 0.5, 0.95]), data, 0)
    return Operand(TensorType(shape, dtype), data.astype(dtype.numpy))


def exponent(rng: Rng) -> Operand:
    return Operand(EXPONENT, rng.integers(-25, 6, 1).astype(np.int32))


def state(rng: Rng, near: int) -> Operand:
    """An exponent state: now and then far off."""
    e = near + int(rng.integers(-8, 9) if rng.random() < 0.8 else rng.integers(-70, 20))
    data = np.array([16 * min(max(e, -100), 30) + rng.integers(16)], np.int32)
    return Operand(EXPONENT, data, is_state=True)


def _sums(rng: Rng, like: TensorType) -> Operand:
    data = rng.integers(-(2**31), 2**31, like.shape) >> rng.integers(0, 31, like.shape)
    return Operand(replace(like, dtype=DType.I32), data.astype(np.int32))


def integer_ops() -> tuple[type[Op], ...]:
    """Operators inside `Rescaled` that need a case."""
    return tuple(op for op in OPS.values() if issubclass(op, GradientOp))
