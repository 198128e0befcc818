"""Weight gradients at the shapes where the DSP kernels change their way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.hostc.integer_cases import FORMATS, exponent, gradient, integer_cases
from tests.hostc.kernel_cases import Case, Rng, f32, grad, i8, sgd, sgd_operands, states
from tinyengine.ir.tensor import DType
from tinyengine.ops.bias_grad import BiasGrad
from tinyengine.ops.conv2d import Conv2dBwdWeight, weight_gradient_type
from tinyengine.ops.row_step import RowStep
from tinyengine.ops.window import Window

WEIGHT_KINDS = ("conv2d_bwd_weight", "row_step", "bias_grad")

# kernel, stride, padding, input (h, w, c), output channels
SHAPES: tuple[tuple[int, int, int, tuple[int, int, int], int], ...] = (
    *((1, 1, 0, (1, p, c), k) for p in (1, 2, 5) for c in (1, 2, 7, 12) for k in (1, 4, 6)),
    *((1, 1, 0, (1, p, 4), 8) for p in (127, 128, 129, 200, 257, 258)),  # full lists; shifts
    *((1, 1, 0, (20, 20, c), k) for c in (3, 4) for k in (3, 4)),
    *((1, 1, 0, (4, 4, c), k) for c in (160, 300, 640) for k in (7, 8)),  # as many rows as fit
    *((1, 1, 0, (1, 1, c), k) for c in (4, 5, 130, 640) for k in (3, 8)),  # one pixel
    *((1, 2, 0, (5, 4, 6), k) for k in (4, 5)),
    *((3, s, 1, (h, 5, 4), 5) for s in (1, 2) for h in (1, 4, 6)),
    *((5, 1, 2, (3, 3, 5), 4), (3, 1, 1, (20, 20, 2), 4), (3, 3, 0, (9, 9, 3), 6)),
)


def weight_gradients(rng: Rng) -> Iterator[Case]:
    """Each shape in both formats: dense, sparse, and nothing but zeros."""
    for number, (kernel, stride, pad, size, k) in enumerate(SHAPES * len(FORMATS)):
        dtype = FORMATS[number // len(SHAPES)]
        g = Window((kernel, kernel), (stride, stride), (pad,) * 4)
        yield from _both(rng, g, size, k, dtype, number)


def _both(
    rng: Rng, g: Window, size: tuple[int, int, int], k: int, dtype: DType, number: int
) -> Iterator[Case]:
    x = i8(rng, (1, *size))
    d = gradient(rng, (1, *g.out_size(size[:2]), k), dtype)
    assert d.data is not None
    if number % 11 == 0:
        d.data[..., : k // 2 + 1] = 0
    elif number % 5 == 0:
        d.data[rng.random(d.data.shape[:3]) < 0.7] = 0
    elif number % 7 == 0:
        limit = np.iinfo(dtype.numpy).max
        d.data[...] = limit
        assert x.data is not None
        x.data[...] = -128
    shape = (k, *g.kernel, size[2])
    d_w = weight_gradient_type(shape, d.type, x.type)
    yield Case(Conv2dBwdWeight(g), (d, x), (d_w,))
    w, *update = sgd_operands(rng, shape, 0)
    op = sgd(rng, shape, 0, len(update) > 4)
    ins = (d, x, w, *update, exponent(rng))
    yield Case(RowStep(Conv2dBwdWeight(g), op), ins, states(w, *update))


def channel_sums(rng: Rng) -> list[Case]:
    """Sums of few and many rows, of fewer, as many and more channels than fit registers."""
    found = []
    for rows, k in ((r, k) for r in (1, 2, 33) for k in (1, 7, 8, 9, 24, 27)):
        found.append(Case(BiasGrad(), (f32(rng, (1, 1, rows, k)),), (grad((k,)),)))
    return list(integer_cases(found + found[1:], rng))
