"""What each forward operator means on real numbers, for the float64 oracle.

Written apart from the operators on purpose: padding, strides and broadcasts are done another way,
so that a mistake in one is not repeated in the other. All functions are differentiable by
`autograd`, which is imported where it is used because nothing else in `tinyengine` needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import numpy as onp

from tinyengine.errors import InternalError
from tinyengine.ir.tensor import Array
from tinyengine.ops.add import Add
from tinyengine.ops.borders import Dequantize
from tinyengine.ops.conv2d import Conv2d
from tinyengine.ops.depthwise import DepthwiseConv2d
from tinyengine.ops.layout import Concat, Crop, GatherChannels, Pad, Reshape, Transpose
from tinyengine.ops.linear import Linear
from tinyengine.ops.lut import Lut
from tinyengine.ops.mean import Mean
from tinyengine.ops.mul import Mul
from tinyengine.ops.op import Op, Signature
from tinyengine.ops.pool import AvgPool, MaxPool
from tinyengine.ops.window import Window

BIAS = 2  # index of the bias among a convolution's inputs
Bounds = tuple[int, int]
Rule = Callable[[Any, Signature, Sequence[Any], Sequence[Array]], Any]


def forward(op: Op, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    """The operator on real operands `ins`, before rounding and clamping.

    stored: the same operands as the simulator holds them (which pixel is a maximum).

    Raises:
        InternalError: the operator has no real meaning here.
    """
    rule = _RULES.get(type(op))
    if rule is None:
        raise InternalError(f"gradcheck has no real meaning for operator '{op.kind}'")
    return rule(op, sig, ins, stored)


def cut(op: Op, sig: Signature) -> Bounds | None:
    """The open range outside which the output is saturated; None where it cannot be."""
    if isinstance(op, Conv2d | DepthwiseConv2d | Add | Mul):
        return op.lo, op.hi
    if isinstance(op, AvgPool | MaxPool):
        # No requantisation: only a fused activation cuts.
        return (op.lo, op.hi) if (op.lo, op.hi) != (-128, 127) else None
    if isinstance(op, Mean):
        return None if sig.ins[0].quant == sig.outs[0].quant else (-128, 127)
    if isinstance(op, Lut):
        return _function(op)[1](sig)
    return None


def _tap(window: Window, ky: int, kx: int, size: tuple[int, ...]) -> tuple[slice, ...]:
    """What kernel position (ky, kx) reads of the padded input, for an output of `size`."""
    rows, columns = (
        slice(k * d, k * d + (n - 1) * s + 1, s)
        for k, d, n, s in zip((ky, kx), window.dilation, size, window.stride, strict=True)
    )
    return slice(None), rows, columns, slice(None)


def _taps(window: Window, x: Any, size: tuple[int, ...], fill: float = 0.0) -> list[Any]:
    """x (1, h, w, c) as seen by every kernel position in raster order: (1, oh, ow, c) each."""
    import autograd.numpy as np

    top, bottom, left, right = window.padding
    if any(window.padding):
        widths = ((0, 0), (top, bottom), (left, right), (0, 0))
        x = np.pad(x, widths, "constant", constant_values=fill)
    positions = [(ky, kx) for ky in range(window.kernel[0]) for kx in range(window.kernel[1])]
    return [_block(x, _tap(window, ky, kx, size)) for ky, kx in positions]


def _block(x: Any, where: tuple[slice, ...]) -> Any:
    """x[where] for slices; autograd's own rule scatters element by element, 20 times slower."""
    from autograd.extend import defvjp, primitive

    def scatter(ans: Any, whole: Any) -> Callable[[Any], Any]:
        def back(d: Any) -> Any:
            d_whole = onp.zeros(whole.shape)
            d_whole[where] = d
            return d_whole

        return back

    block = primitive(lambda whole: whole[where])
    defvjp(block, scatter)
    return block(x)


def _conv2d(op: Conv2d, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    import autograd.numpy as np

    x, weight, bias = ins[0], ins[1], ins[BIAS]
    if len(ins) > 5:
        weight = np.concatenate([weight, ins[5]], axis=3)
    taps = _taps(op.window, x, sig.outs[0].shape[1:3])
    flat = np.reshape(np.transpose(weight, (1, 2, 3, 0)), (len(taps), weight.shape[3], -1))
    y = bias
    for index, seen in enumerate(taps):
        y = y + np.dot(seen, flat[index])
    return y


def _depthwise(
    op: DepthwiseConv2d, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]
) -> Any:
    import autograd.numpy as np

    x, weight, bias = ins[0], ins[1], ins[BIAS]
    many = weight.shape[3] // x.shape[3]
    if many > 1:
        x = np.reshape(np.stack([x] * many, axis=-1), (*x.shape[:3], -1))
    taps = _taps(op.window, x, sig.outs[0].shape[1:3])
    flat = np.reshape(weight, (len(taps), -1))
    y = bias
    for index, seen in enumerate(taps):
        y = y + seen * flat[index]
    return y


def _beside(x: Any, other: Any) -> Any:
    """`other` shaped to broadcast along the channels of x."""
    import autograd.numpy as np

    return other if other.shape == x.shape else np.reshape(other, (-1,))


def _add(op: Add, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    return ins[0] + _beside(*ins)


def _mul(op: Mul, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    return ins[0] * _beside(*ins)


def _avg_pool(op: AvgPool, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    size = sig.outs[0].shape[1:3]
    count = sum(_taps(op.window, onp.ones(sig.ins[0].shape), size))
    return sum(_taps(op.window, ins[0], size)) / count


def _max_pool(op: MaxPool, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    size = sig.outs[0].shape[1:3]
    codes = onp.stack(_taps(op.window, stored[0].astype(onp.float64), size, fill=-1e9))
    first = codes.argmax(axis=0)  # ties: the first in raster order
    taps = _taps(op.window, ins[0], size)
    return sum((first == index) * seen for index, seen in enumerate(taps))


def _mean(op: Mean, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    import autograd.numpy as np

    y = np.mean(ins[0], axis=tuple(range(op.first, op.last + 1)))
    return np.reshape(y, sig.outs[0].shape)


def _lut(op: Lut, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    return _function(op)[0](ins[0])


def _logistic(x: Any) -> Any:
    import autograd.numpy as np

    return 1.0 / (1.0 + np.exp(-x))


def _identity(x: Any) -> Any:
    return x


def _full(sig: Signature) -> Bounds:
    return -128, 127


def _clamped(sig: Signature, lo: float | None, hi: float | None) -> Bounds:
    """Quantised ends of the real range [lo, hi]."""
    out = sig.outs[0]
    ends = [
        limit if end is None else min(127, max(-128, out.zero_point + _half_away(end / out.scale)))
        for end, limit in ((lo, -128), (hi, 127))
    ]
    return ends[0], ends[1]


def _half_away(x: float) -> int:
    return int(onp.copysign(onp.floor(abs(x) + 0.5), x))


# name of a table -> (its real function between the cuts, where it is cut)
_FUNCTIONS: MappingProxyType[str, tuple[Callable[[Any], Any], Callable[[Signature], Bounds]]] = (
    MappingProxyType(
        {
            "logistic": (_logistic, _full),
            "requantise": (_identity, _full),
            "relu": (_identity, lambda sig: _clamped(sig, 0.0, None)),
            "relu6": (_identity, lambda sig: _clamped(sig, 0.0, 6.0)),
            "relu_n1_to_1": (_identity, lambda sig: _clamped(sig, -1.0, 1.0)),
        }
    )
)


def _function(op: Lut) -> tuple[Callable[[Any], Any], Callable[[Signature], Bounds]]:
    if op.function not in _FUNCTIONS:
        raise InternalError(f"gradcheck has no real meaning for the table of '{op.function}'")
    return _FUNCTIONS[op.function]


def _pad(op: Pad, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    import autograd.numpy as np

    return np.pad(ins[0], tuple(zip(op.before, op.after, strict=True)), "constant")


def _crop(op: Crop, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    ends = zip(op.start, sig.outs[0].shape, strict=True)
    return _block(ins[0], tuple(slice(s, s + n) for s, n in ends))


def _concat(op: Concat, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    import autograd.numpy as np

    return np.concatenate(list(ins), axis=op.axis)


def _reshape(op: Reshape, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    import autograd.numpy as np

    return np.reshape(ins[0], sig.outs[0].shape)


def _transpose(op: Transpose, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    import autograd.numpy as np

    return np.transpose(ins[0], op.order)


def _gather(op: GatherChannels, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    return ins[0][..., list(op.channels)]


def _dequantize(op: Dequantize, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    return ins[0]  # real values are what the oracle computes with


def _linear(op: Linear, sig: Signature, ins: Sequence[Any], stored: Sequence[Array]) -> Any:
    import autograd.numpy as np

    return np.dot(ins[0], ins[1].T) + ins[BIAS]


_RULES: MappingProxyType[type[Op], Rule] = MappingProxyType(
    {
        Conv2d: _conv2d,
        DepthwiseConv2d: _depthwise,
        Add: _add,
        Mul: _mul,
        AvgPool: _avg_pool,
        MaxPool: _max_pool,
        Mean: _mean,
        Lut: _lut,
        Pad: _pad,
        Crop: _crop,
        Concat: _concat,
        Reshape: _reshape,
        Transpose: _transpose,
        GatherChannels: _gather,
        Dequantize: _dequantize,
        Linear: _linear,
    }
)
