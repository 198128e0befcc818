"""Random operators with random operands, small but with every awkward corner."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyengine.ir.tensor import Array, DType, Quant, TensorType
from tinyengine.ops import fixed, tables
from tinyengine.ops.add import Add, GradAdd
from tinyengine.ops.bias_grad import BiasGrad
from tinyengine.ops.borders import Dequantize
from tinyengine.ops.conv2d import Conv2d, Conv2dBwdInput, Conv2dBwdWeight
from tinyengine.ops.depthwise import DepthwiseBwdInput, DepthwiseBwdWeight, DepthwiseConv2d
from tinyengine.ops.layout import Concat, Crop, GatherChannels, Pad, Reshape, Transpose
from tinyengine.ops.linear import Linear, LinearBwdInput, LinearBwdWeight
from tinyengine.ops.loss import SoftmaxXent
from tinyengine.ops.lut import Lut, LutBwd
from tinyengine.ops.mask import Inside, MaskGrad
from tinyengine.ops.mean import Mean, MeanBwd
from tinyengine.ops.mul import Mul, MulBwd
from tinyengine.ops.op import Op, Signature
from tinyengine.ops.pool import AvgPool, AvgPoolBwd, MaxPool, MaxPoolBwd
from tinyengine.ops.row_step import RowStep
from tinyengine.ops.sgd import Accumulate, SgdF32, SgdI8, SgdI32
from tinyengine.ops.softmax import Softmax
from tinyengine.ops.window import Window

Rng = np.random.Generator
CASES = 14  # of each operator


@dataclass(frozen=True)
class Operand:
    """An input: its type and data, or the name of a scalar graph input. A state is updated."""

    type: TensorType
    data: Array | None = None
    scalar: str = ""
    is_state: bool = False


@dataclass(frozen=True)
class Case:
    """One node. outs: types of the outputs, in the order of the states for updates."""

    op: Op
    ins: tuple[Operand, ...]
    outs: tuple[TensorType, ...]

    def signature(self) -> Signature:
        return Signature(tuple(x.type for x in self.ins), self.outs)


LR, SEED, STEP = (
    Operand(TensorType((), dtype), scalar=name)
    for name, dtype in (("lr", DType.F32), ("seed", DType.U32), ("step", DType.U32))
)


def i8(rng: Rng, shape: tuple[int, ...], scale: float | None = None) -> Operand:
    quant = Quant.per_tensor(scale or 2.0 ** rng.uniform(-8, 0), int(rng.integers(-128, 128)))
    data = rng.integers(-128, 128, shape).astype(np.int8)
    if rng.random() < 0.2:
        data[...] = rng.choice([-128, 127])
    return Operand(TensorType(shape, DType.I8, quant), data)


def f32(rng: Rng, shape: tuple[int, ...], quant: Quant | None = None) -> Operand:
    data = rng.normal(0, 1, shape) * 10.0 ** rng.uniform(-6, 4)
    data *= rng.random(shape) > rng.choice([0.0, 0.5, 0.95])  # products of zeros, of both signs
    return Operand(TensorType(shape, DType.F32, quant), data.astype(np.float32))


def out(shape: tuple[int, ...], rng: Rng) -> TensorType:
    return i8(rng, shape).type


def grad(shape: tuple[int, ...]) -> TensorType:
    return TensorType(shape, DType.F32)


def limits(rng: Rng) -> tuple[int, int]:
    lo, hi = sorted(int(v) for v in rng.integers(-128, 128, 2))
    return (lo, hi) if rng.random() < 0.5 else (-128, 127)


def dims(rng: Rng, low: int, high: int, count: int = 2) -> tuple[int, ...]:
    return tuple(int(v) for v in rng.integers(low, high + 1, count))


def window(rng: Rng, size: tuple[int, ...], pool: bool = False) -> Window:
    while True:
        kernel = (1, 1) if rng.random() < 0.3 and not pool else dims(rng, 1, 5)
        dilation = (1, 1) if pool or rng.random() < 0.7 else dims(rng, 1, 3)
        pads = tuple(int(rng.integers(0, k)) for k in np.repeat(kernel, 2))
        made = Window(kernel, dims(rng, 1, 3), pads, dilation)  # type: ignore[arg-type]
        if min(made.out_size(size)) >= 1:  # type: ignore[arg-type]
            return made


def requantisation(rng: Rng, k: int) -> list[Operand]:
    pairs = [fixed.quantise_multiplier(10.0 ** rng.uniform(-5, 1)) for _ in range(k)]
    pairs[0] = fixed.quantise_multiplier(2.0 ** int(rng.integers(-31, 29)))
    bias = rng.integers(-20000, 20000, k)
    bias[rng.random(k) < 0.1] = rng.choice([-(2**31), 2**31 - 1])
    columns = (bias, [m for m, _ in pairs], [s for _, s in pairs])
    type_ = TensorType((k,), DType.I32)
    return [Operand(type_, np.array(column, np.int32)) for column in columns]


def weight(rng: Rng, shape: tuple[int, ...]) -> Operand:
    type_ = TensorType(shape, DType.I8, Quant.per_tensor(0.01))
    return Operand(type_, rng.integers(-128, 128, shape).astype(np.int8))


def split(rng: Rng, w: Operand) -> list[Operand]:
    """The weight whole, or its first channels and the rest."""
    c = w.type.shape[3]
    if c < 2 or rng.random() < 0.5:
        return [w]
    at = int(rng.integers(1, c))
    assert w.data is not None
    return [
        Operand(TensorType(part.shape, DType.I8, w.type.quant), part.copy())
        for part in (w.data[..., :at], w.data[..., at:])
    ]


def conv2d(rng: Rng) -> Iterator[Case]:
    x = i8(rng, (1, *dims(rng, 1, 9), int(rng.integers(1, 40))))
    g, k = window(rng, x.type.shape[1:3]), int(rng.integers(1, 11))
    first, *rest = split(rng, weight(rng, (k, *g.kernel, x.type.shape[3])))
    y = out((1, *g.out_size(x.type.shape[1:3]), k), rng)
    yield Case(Conv2d(g, *limits(rng)), (x, first, *requantisation(rng, k), *rest), (y,))
    d = f32(rng, y.shape)
    d_x = grad(x.type.shape)
    yield Case(Conv2dBwdInput(g), (d, first, f32(rng, (k,)), *rest), (d_x,))
    shape = (k, *g.kernel, x.type.shape[3])
    d_w = TensorType(shape, DType.F32, Quant.per_tensor(x.type.scale))
    yield Case(Conv2dBwdWeight(g), (d, x), (d_w,))
    w, *update = sgd_operands(rng, shape, 0)
    op = sgd(rng, shape, 0, len(update) > 4)
    yield Case(RowStep(Conv2dBwdWeight(g), op), (d, x, w, *update), states(w, *update))


def depthwise(rng: Rng) -> Iterator[Case]:
    x = i8(rng, (1, *dims(rng, 1, 9), int(rng.integers(1, 40))))
    g, many = window(rng, x.type.shape[1:3]), int(rng.choice([1, 1, 2, 3]))
    k = x.type.shape[3] * many
    w = weight(rng, (1, *g.kernel, k))
    y = out((1, *g.out_size(x.type.shape[1:3]), k), rng)
    yield Case(DepthwiseConv2d(g, *limits(rng)), (x, w, *requantisation(rng, k)), (y,))
    d = f32(rng, y.shape)
    yield Case(DepthwiseBwdInput(g), (d, w, f32(rng, (k,))), (grad(x.type.shape),))
    d_w = TensorType(w.type.shape, DType.F32, Quant.per_tensor(x.type.scale))
    yield Case(DepthwiseBwdWeight(g), (d, x), (d_w,))


def binary(rng: Rng) -> Iterator[Case]:
    shape = (1, *dims(rng, 1, 5), int(rng.integers(1, 20)))
    other = [shape, (1, 1, 1, shape[3]), (1,)][int(rng.integers(3))]
    a, b, d = i8(rng, shape), i8(rng, other), f32(rng, shape)
    y = i8(rng, shape, max(a.type.scale, b.type.scale) * rng.uniform(0.5, 2)).type
    yield Case(Add(*limits(rng)), (a, b), (y,))
    yield Case(Mul(*limits(rng)), (a, b), (y,))
    yield Case(MulBwd(), (d, b), (grad(shape),))
    yield Case(GradAdd(), (d, f32(rng, shape)), (grad(shape),))
    yield Case(BiasGrad(), (d,), (grad(shape[-1:]),))


def pools(rng: Rng) -> Iterator[Case]:
    x = i8(rng, (1, *dims(rng, 1, 9), int(rng.integers(1, 40))))
    g = window(rng, x.type.shape[1:3], pool=True)
    y = TensorType((1, *g.out_size(x.type.shape[1:3]), x.type.shape[3]), DType.I8, x.type.quant)
    d = f32(rng, y.shape)
    yield Case(AvgPool(g, *limits(rng)), (x,), (y,))
    yield Case(MaxPool(g, *limits(rng)), (x,), (y,))
    yield Case(AvgPoolBwd(g), (d,), (grad(x.type.shape),))
    yield Case(MaxPoolBwd(g), (d, x), (grad(x.type.shape),))
    ties = np.random.default_rng(0).integers(0, 2, x.type.shape).astype(np.int8)
    yield Case(MaxPoolBwd(g), (d, Operand(x.type, ties)), (grad(x.type.shape),))


def means(rng: Rng) -> Iterator[Case]:
    shape = (1, *dims(rng, 1, 5, 3))
    first = int(rng.integers(0, 4))
    last = int(rng.integers(first, 4))
    kept = (1, *(n for i, n in enumerate(shape) if not first <= i <= last and i))
    x = i8(rng, shape)
    y = i8(rng, kept, x.type.scale * rng.uniform(0.1, 3))
    yield Case(Mean(first, last), (x,), (y.type,))
    yield Case(MeanBwd(first, last), (f32(rng, kept),), (grad(shape),))


def maps(rng: Rng) -> Iterator[Case]:
    shape = (1, *dims(rng, 1, 6), int(rng.integers(1, 12)))
    x, y = i8(rng, shape), out(shape, rng)
    table, slope = tables.logistic_table(x.type)
    lookup = (
        Operand(TensorType((256,), DType.I8), table),
        Operand(TensorType((256,), DType.F32), slope),
    )
    yield Case(Lut("logistic"), (x, *lookup), (y,))
    yield Case(LutBwd(), (f32(rng, shape), x, lookup[1]), (grad(shape),))
    yield Case(Dequantize(), (x,), (grad(shape),))
    bits = TensorType(shape, DType.B1)
    yield Case(Inside(*limits(rng)), (x,), (bits,))
    yield Case(
        MaskGrad(), (f32(rng, shape), Operand(bits, rng.random(shape) < 0.5)), (grad(shape),)
    )
    rows = i8(rng, (1, *dims(rng, 1, 600, 1)))
    probability = TensorType(rows.type.shape, DType.I8, Quant.per_tensor(1 / 256, -128))
    yield Case(Softmax(float(rng.choice([1.0, 0.5]))), (rows,), (probability,))


def layouts(rng: Rng) -> Iterator[Case]:
    shape = (1, *dims(rng, 1, 5), int(rng.integers(1, 9)))
    x = i8(rng, shape) if rng.random() < 0.5 else f32(rng, shape)

    def like(made: tuple[int, ...], of: Operand = x) -> TensorType:
        return TensorType(made, of.type.dtype, of.type.quant)

    yield Case(Reshape(), (x,), (like((1, x.type.count)),))
    order = tuple(int(i) for i in rng.permutation(4))
    yield Case(Transpose(order), (x,), (like(tuple(shape[i] for i in order)),))
    start = tuple(int(rng.integers(0, n)) for n in shape)
    block = tuple(int(rng.integers(1, n - s + 1)) for n, s in zip(shape, start, strict=True))
    yield Case(Crop(start), (x,), (like(block),))  # type: ignore[arg-type]
    channels = tuple(int(c) for c in rng.permutation(shape[3])[: int(rng.integers(1, 9))])
    yield Case(GatherChannels(channels), (x,), (like((*shape[:3], len(channels))),))
    q = i8(rng, shape)
    before, after = (0, *dims(rng, 0, 3, 3)), (0, *dims(rng, 0, 3, 3))
    padded = tuple(n + b + a for n, b, a in zip(shape, before, after, strict=True))
    yield Case(Pad(before, after), (q,), (like(padded, q),))  # type: ignore[arg-type]
    axis, parts = int(rng.integers(1, 4)), []
    for _ in range(int(rng.integers(1, 4))):
        part = [int(rng.integers(1, 6)) if i == axis else n for i, n in enumerate(shape)]
        parts.append(Operand(like(tuple(part), q), rng.integers(-128, 128, part).astype(np.int8)))
    whole = [sum(p.type.shape[i] for p in parts) if i == axis else n for i, n in enumerate(shape)]
    yield Case(Concat(axis), tuple(parts), (like(tuple(whole), q),))


def heads(rng: Rng) -> Iterator[Case]:
    n, c = int(rng.integers(2, 20)), int(rng.integers(1, 70))
    x, w, d = f32(rng, (1, c)), f32(rng, (n, c)), f32(rng, (1, n))
    yield Case(Linear(), (x, w, f32(rng, (n,))), (grad((1, n)),))
    yield Case(LinearBwdInput(), (d, w), (grad((1, c)),))
    yield Case(LinearBwdWeight(), (d, x), (grad((n, c)),))
    logits = rng.normal(0, rng.choice([1, 30, 100]), (1, n)).astype(np.float32)
    row = Operand(grad((1, n)), logits)
    label = Operand(TensorType((), DType.U32), scalar="label")
    yield Case(SoftmaxXent(), (row, label), (grad(()), grad((1, n))))


def ratio(rng: Rng, k: int) -> Operand:
    return Operand(grad((k,)), (10.0 ** rng.uniform(-3, 3, k)).astype(np.float32))


def sgd_operands(rng: Rng, shape: tuple[int, ...], axis: int) -> tuple[Operand, ...]:
    """(w, ratio, lr, seed, step[, fraction])."""
    w, fraction = (
        Operand(
            TensorType(shape, DType.I8),
            rng.integers(-128, 128, shape).astype(np.int8),
            is_state=True,
        )
        for _ in range(2)
    )
    master = (fraction,) if rng.random() < 0.4 else ()
    return w, ratio(rng, shape[axis]), LR, SEED, STEP, *master


def sgd(rng: Rng, shape: tuple[int, ...], axis: int, master: bool) -> SgdI8:
    rounding = "master16" if master else str(rng.choice(["nearest", "stochastic"]))
    c, channels, total = shape[-1], (), 0
    if rng.random() < 0.5:  # a part of a wider tensor, or a part of this one
        total = c + int(rng.integers(1, 5)) if rng.random() < 0.5 else c
        chosen = rng.permutation(total)[: c if total > c else max(1, c // 2)]
        channels = tuple(sorted(int(v) for v in chosen))
    every = int(rng.choice([1, 1, 2]))
    return SgdI8(rounding, axis, int(rng.integers(0, 2**32)), channels, total, every)


def states(*ins: Operand) -> tuple[TensorType, ...]:
    return tuple(x.type for x in ins if x.is_state)


def updates(rng: Rng) -> Iterator[Case]:
    axis = int(rng.choice([0, 3]))
    shape = (1 if axis else int(rng.integers(1, 6)), *dims(rng, 1, 3), int(rng.integers(1, 30)))
    w, *rest = sgd_operands(rng, shape, axis)
    op = sgd(rng, shape, axis, len(rest) > 4)
    yield Case(op, (w, f32(rng, shape), *rest), states(w, *rest))
    n = int(rng.integers(1, 50))
    bias = rng.integers(-(2**31), 2**31, n) if rng.random() < 0.5 else rng.integers(-99, 99, n)
    b = Operand(TensorType((n,), DType.I32), bias.astype(np.int32), is_state=True)
    rounding, key = str(rng.choice(["nearest", "stochastic", "master16"])), int(rng.integers(2**32))
    every, rest = int(rng.choice([1, 2, 3])), [LR, SEED, STEP]
    yield Case(SgdI32(rounding, key, every), (b, f32(rng, (n,)), ratio(rng, n), *rest), (b.type,))
    floats = f32(rng, (n,))
    w = Operand(floats.type, floats.data, is_state=True)
    yield Case(SgdF32(every), (w, f32(rng, (n,)), ratio(rng, 1), *rest), (w.type,))
    yield Case(Accumulate(max(every, 2)), (w, f32(rng, (n,)), STEP), (w.type,))


FAMILIES: tuple[Callable[[Rng], Iterator[Case]], ...] = (
    conv2d,
    depthwise,
    binary,
    pools,
    means,
    maps,
    layouts,
    heads,
    updates,
)


def all_cases(seed: int) -> list[Case]:
    """CASES of every operator, each checked by the operator's own rule."""
    found: list[Case] = []
    for number, family in enumerate(FAMILIES):
        rng = np.random.default_rng([seed, number])
        for _ in range(CASES):
            found += family(rng)
    for case in found:
        case.op.check(case.signature())
    return found


def scalar_values(seed: int) -> dict[str, Any]:
    """Run-time scalars: a label that every loss has, and hyper-parameters."""
    rng = np.random.default_rng([seed, 99])
    return {
        "label": np.uint32(rng.integers(2)),
        "lr": np.float32(10.0 ** rng.uniform(-4, 0)),
        "seed": np.uint32(rng.integers(2**32)),
        "step": np.uint32(rng.choice([0, 1, 5, 2**32 - 1])),
    }
