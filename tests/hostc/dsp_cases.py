"""Shapes at which the DSP kernels change their way: tails, borders, blocks, splits, extremes."""

import numpy as np

from tests.hostc.integer_cases import (
    FORMATS,
    depthwise_gradients,
    gradient,
    integer_cases,
    pointwise_gradients,
)
from tests.hostc.kernel_cases import (
    Case,
    Operand,
    all_cases,
    f32,
    grad,
    i8,
    requantisation,
    weight,
)
from tests.hostc.weight_cases import WEIGHT_KINDS, channel_sums, weight_gradients
from tinyengine.ir.tensor import Array, DType, Quant, TensorType
from tinyengine.ops import fixed
from tinyengine.ops.add import Add, GradAdd
from tinyengine.ops.conv2d import Conv2d
from tinyengine.ops.depthwise import DepthwiseBwdWeight, DepthwiseConv2d
from tinyengine.ops.exponent import EXPONENT
from tinyengine.ops.mask import Inside, MaskGrad
from tinyengine.ops.pool import AvgPool, AvgPoolBwd, MaxPool, MaxPoolBwd
from tinyengine.ops.rescaled import Rescaled
from tinyengine.ops.window import Window

Rng = np.random.Generator
KINDS = (
    *("conv2d", "depthwise_conv2d", "add", "mul", "avg_pool", "max_pool", "mean", "rescaled"),
    *("inside", "mask_grad", "conv2d_bwd_input", "depthwise_bwd_input", "depthwise_bwd_weight"),
    *WEIGHT_KINDS,
)
REPEATS = 4  # of each shape, so that data is in flash, in RAM, or in both

# kernel, stride, padding, dilation, input (h, w, c), output channels, first channels of a split
CONVOLUTIONS: tuple[tuple[int, int, int, int, tuple[int, int, int], int, int], ...] = (
    *((1, 1, 0, 1, (1, n, 4 + n), 3, 0) for n in range(1, 9)),  # tails of pixels and channels
    *((1, 1, 0, 1, (2, 3, 4 * n), 5, 0) for n in (7, 8, 9, 16, 17, 25)),  # passes of the loop
    *((1, 1, 0, 1, (3, 3, c), 4, first) for c, first in ((9, 4), (16, 4), (21, 16), (72, 36))),
    *((1, 1, 0, 1, (2, 2, c), 4, first) for c, first in ((9, 3), (6, 5))),
    *((1, 2, 0, 1, (5, 4, c), 4, first) for c, first in ((8, 0), (7, 0), (12, 8), (11, 8))),
    *((3, s, 1, 1, (5, 6, c), 4, 0) for s in (1, 2) for c in (1, 2, 3, 4, 5, 8)),
    *((3, 1, 1, 1, (4, 3, c), 4, first) for c, first in ((8, 4), (12, 8), (10, 4))),
    (3, 1, 2, 2, (6, 5, 4), 3, 0),
    (3, 1, 2, 2, (6, 5, 3), 3, 0),
    (5, 1, 4, 2, (3, 3, 8), 2, 4),
    (3, 2, 1, 1, (1, 1, 4), 3, 0),
    (5, 3, 4, 1, (2, 2, 6), 3, 0),
    (1, 1, 0, 1, (1, 1, 640), 8, 0),
    (3, 1, 1, 1, (3, 3, 64), 8, 0),
)


# size, stride, padding (top, bottom, left, right), input (h, w, c)
DEPTHWISE: tuple[tuple[int, int, tuple[int, int, int, int], tuple[int, int, int]], ...] = (
    *((s, t, (s // 2,) * 4, (n, 9 - n, 8)) for s in (3, 5, 7) for t in (1, 2) for n in range(1, 9)),
    *((3, t, (1, 1, 1, 1), (4, 5, c)) for t in (1, 2) for c in (4, 5, 6, 7, 13)),
    *((s, t, (0, 1, 0, 1), (8, 7, 4)) for s in (3, 5, 7) for t in (1, 2)),
    *((s, t, (2, 0, 2, 1), (8, 10, 4)) for s in (3, 5) for t in (1, 2)),
    *((s, t, (s // 2,) * 4, (40, 37, 5)) for s in (3, 5, 7) for t in (1, 2)),  # bands
    (3, 1, (0, 0, 0, 0), (3, 3, 4)),
    (7, 2, (6, 0, 6, 0), (1, 1, 4)),
)


# the same for their input gradients: a map too large for a plane, padding that is too wide
GRADIENTS = (
    *(case for case in DEPTHWISE if case[2][0] < case[0]),
    *((s, 1, (0, 0, 0, 0), (s, s + n, 3)) for s in (3, 5, 7) for n in (0, 1, 6)),
    *((s, 1, (s - 1,) * 4, (1, n, 2)) for s in (3, 5, 7) for n in (1, 4, 5)),
    *((s, 2, (1, 0, p, 0), (7, 11, 3)) for s in (3, 5, 7) for p in range(s)),
    *((s, t, (s // 2,) * 4, (32, 32, 1)) for s in (3, 7) for t in (1, 2)),
    (3, 1, (3, 3, 3, 3), (3, 3, 4)),
)

# input gradients: pixels, input channels, output channels
POINTWISE_GRADIENTS: tuple[tuple[int, int, int], ...] = (
    *((p, 6, k) for p in (3, 4, 8, 11) for k in (7, 8, 15, 16, 17)),  # tiles, passes of the loop
    *((9, c, 24) for c in (2, 3, 5, 8, 16)),
    *((33, 4, k) for k in (150, 257, 300, 515)),  # groups; sums near 2^31, and d' of 15 bits
    (64, 12, 48),
    (1, 1, 1100),
)


def extremes(rng: Rng, k: int) -> list[Operand]:
    """Biases anywhere in int32; factors at the limits of what te_scale takes, and beyond."""
    bias = rng.integers(-(2**31), 2**31, k)
    near = rng.random(k) < 0.4
    bias[near] = (rng.choice([-1, 1], k) * 2**30 + rng.integers(-99, 99, k))[near]
    bias[rng.random(k) < 0.2] = rng.choice([-(2**31), 2**31 - 1])
    shift = rng.choice([-31, -26, -19, -18, -17, -9, -1, 0, 1, 5], k)
    multiplier = rng.choice([2**30, 2**30 + 1, 2**31 - 1, 0], k)
    columns = (bias, multiplier, shift)
    type_ = TensorType((k,), DType.I32)
    return [Operand(type_, np.array(column, np.int32)) for column in columns]


def typical(rng: Rng, k: int) -> list[Operand]:
    """Factors as real layers have them: outputs all over the range."""
    pairs = [fixed.quantise_multiplier(2.0 ** rng.uniform(-12, -4)) for _ in range(k)]
    columns = (rng.integers(-9000, 9000, k), [m for m, _ in pairs], [s for _, s in pairs])
    type_ = TensorType((k,), DType.I32)
    return [Operand(type_, np.array(column, np.int32)) for column in columns]


FACTORS = (typical, extremes, requantisation, typical)


def convolutions(rng: Rng) -> list[Case]:
    """REPEATS of each convolution, with factors of every kind."""
    found = []
    for kernel, stride, pad, dilation, size, k, first in CONVOLUTIONS:
        g = Window((kernel, kernel), (stride, stride), (pad,) * 4, (dilation, dilation))
        for repeat in range(REPEATS):
            x = i8(rng, (1, *size))
            y = i8(rng, (1, *g.out_size(size[:2]), k)).type
            whole = weight(rng, (k, kernel, kernel, size[2]))
            assert whole.data is not None
            cut = first or size[2]
            parts = [_part(whole, whole.data[..., :cut])]
            rest = [_part(whole, whole.data[..., cut:])] if first else []
            factors = FACTORS[(repeat + len(found) // REPEATS) % 4](rng, k)
            found.append(Case(Conv2d(g), (x, *parts, *factors, *rest), (y,)))
    return found


def depthwise(rng: Rng) -> list[Case]:
    """Two of each depthwise shape."""
    found = []
    for size, stride, pads, shape in DEPTHWISE:
        g = Window((size, size), (stride, stride), pads)
        for repeat in range(2):
            x = i8(rng, (1, *shape))
            y = i8(rng, (1, *g.out_size(shape[:2]), shape[2])).type
            w = weight(rng, (1, size, size, shape[2]))
            factors = FACTORS[(repeat + len(found) // 2) % 4](rng, shape[2])
            found.append(Case(DepthwiseConv2d(g), (x, w, *factors), (y,)))
    return found


def sums(rng: Rng) -> list[Case]:
    """Additions large enough for tables, with scales near and far from one another."""
    found = []
    for far in (1.0, 1.3, 0.02, 300.0):
        for out in (0.4, 1.0, 3.0):
            a, b = i8(rng, (1, 9, 9, 7), 0.05), i8(rng, (1, 9, 9, 7), 0.05 * far)
            y = i8(rng, (1, 9, 9, 7), 0.05 * max(far, 1.0) * out).type
            found.append(Case(Add(), (a, b), (y,)))
    return found


def masks(rng: Rng) -> list[Case]:
    """Blocks of 16 and 32 elements and tails; any limits, and gradients of any pattern."""
    found = []
    for count in (1, 15, 16, 17, 31, 32, 33, 64, 95, 96, 200, 1000):
        shape = (1, 1, 1, count)
        for lo, hi in ((-128, 127), (-128, -128), (127, 127), (-1, 0), (-7, 30), (5, 127)):
            bits = TensorType(shape, DType.B1)
            found.append(Case(Inside(lo, hi), (i8(rng, shape),), (bits,)))
            d = gradient(rng, shape, DType.I16)
            mask = Operand(bits, rng.random(shape) < rng.choice([0.0, 0.3, 0.9, 1.0]))
            found.append(Case(MaskGrad(), (d, mask), (d.type,)))
    return found


# exponents of two gradients below that of their sum
APART = ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 1), (2, 2), (3, 0), (-1, 0), (20, 1))


def meetings(rng: Rng) -> list[Case]:
    """Sums of two gradients at every distance of exponents that has a way of its own."""
    found = []
    for number, distances in enumerate(APART * 3):
        shape = (1, 1, 1, (3, 64, 97)[number // len(APART)])
        for dtype in FORMATS:
            terms = tuple(gradient(rng, shape, dtype) for _ in distances)
            es = [Operand(EXPONENT, np.array([-9 - n], np.int32)) for n in distances]
            state = Operand(EXPONENT, np.array([16 * -9 + 3], np.int32), is_state=True)
            outs = (TensorType(shape, dtype), EXPONENT, EXPONENT)
            found.append(Case(Rescaled(GradAdd()), (*terms, *es, state), outs))
    return found


# kernel, stride, input (h, w, c): windows side by side, with gaps, cut off at the end
POOLS = (
    *((2, 2, (6, 6, c)) for c in (3, 4, 9, 16)),
    *(
        (2, 2, (5, 7, 6)),
        (3, 3, (7, 7, 6)),
        (2, 3, (8, 9, 5)),
        (4, 4, (4, 4, 8)),
        (3, 2, (7, 7, 5)),
    ),
)


def pools(rng: Rng) -> list[Case]:
    """Pools both ways; the maximum also among many equals."""
    found: list[Case] = []
    back: list[Case] = []
    for kernel, stride, size in POOLS:
        g = Window((kernel, kernel), (stride, stride))
        x = i8(rng, (1, *size))
        y = TensorType((1, *g.out_size(size[:2]), size[2]), DType.I8, x.type.quant)
        ties = Operand(x.type, rng.integers(0, 2, x.type.shape).astype(np.int8))
        found += [Case(AvgPool(g), (x,), (y,)), Case(MaxPool(g, -3, 90), (x,), (y,))]
        for _ in FORMATS:
            d, d_x = f32(rng, y.shape), grad(x.type.shape)
            back += [Case(AvgPoolBwd(g), (d,), (d_x,)), Case(MaxPoolBwd(g), (d, ties), (d_x,))]
    return found + list(integer_cases(back, rng))


# size, stride, padding, input: gradients that are shifted first, tall and wide maps
DEPTHWISE_WEIGHTS = (
    *((3, 1, 1, size) for size in ((20, 20, 6), (2, 150, 5), (25, 5, 8), (5, 25, 8), (3, 3, 3))),
    (5, 2, 2, (40, 37, 4)),
)


def depthwise_weights(rng: Rng) -> list[Case]:
    """Weight gradients of depthwise convolutions in both formats."""
    found = []
    for size, stride, pad, shape in DEPTHWISE_WEIGHTS:
        g = Window((size, size), (stride, stride), (pad,) * 4)
        x = i8(rng, (1, *shape))
        d_w = TensorType((1, size, size, shape[2]), DType.F32, Quant.per_tensor(x.type.scale))
        d = f32(rng, (1, *g.out_size(shape[:2]), shape[2]))
        found += [Case(DepthwiseBwdWeight(g), (d, x), (d_w,)) for _ in FORMATS]
    return list(integer_cases(found, rng))


def _part(whole: Operand, data: Array) -> Operand:
    return Operand(TensorType(data.shape, DType.I8, whole.type.quant), data.copy())


def dsp_cases(seed: int) -> list[Case]:
    """The shapes above, random ones of the same operators, and a loss, which a model must have."""
    rng = np.random.default_rng([seed, 7])
    found = convolutions(rng) + depthwise(rng) + sums(rng) + masks(rng)
    usual = all_cases(seed)
    found += [case for case in usual if case.op.kind in KINDS]
    integers = [case for case in integer_cases(usual, rng) if case.op.kind in KINDS]
    found += [*integers, *pointwise_gradients(rng), *weight_gradients(rng), *channel_sums(rng)]
    found += depthwise_gradients(rng, GRADIENTS)
    found += [*meetings(rng), *pools(rng), *depthwise_weights(rng)]
    found += pointwise_gradients(rng, POINTWISE_GRADIENTS)
    found.append(next(case for case in usual if case.op.kind == "softmax_xent"))
    for case in found:
        case.op.check(case.signature())
    return found
