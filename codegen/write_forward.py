"""C calls of the operators that run in a forward pass. One short function per operator."""

# ruff: noqa: D103 - each function writes the call of the operator whose name it has
from __future__ import annotations

import math

import numpy as np

from codegen.calls import Call, Operands, Struct, Table, integer, real, struct
from tinyengine.errors import InternalError, UserError
from tinyengine.ir.tensor import TensorType
from tinyengine.ops.add import Add, add_parameters
from tinyengine.ops.borders import Dequantize
from tinyengine.ops.conv2d import BIAS, FROZEN, MULTIPLIER, SHIFT, WEIGHT, Conv2d, X
from tinyengine.ops.depthwise import DepthwiseConv2d
from tinyengine.ops.layout import Concat, Crop, GatherChannels, Pad, Reshape, Transpose
from tinyengine.ops.linear import Linear
from tinyengine.ops.lut import Lut
from tinyengine.ops.mask import Inside
from tinyengine.ops.mean import Mean, mean_parameters, reduction
from tinyengine.ops.mul import Mul, mul_parameters
from tinyengine.ops.pool import AvgPool, MaxPool
from tinyengine.ops.softmax import Softmax, exp_table
from tinyengine.ops.window import Window

Calls = tuple[Call, ...]
MAX_PRODUCTS = (2**31 - 1) // (255 * 128)  # of int8 differences and weights in one int32 sum
MAX_CLASSES = 8191  # sums of softmax exponentials, each up to 2**19, stay below 2**32


def window_text(window: Window, x: TensorType, y: TensorType) -> str:
    """Return the initialiser of a te_window; x and y are (1, h, w, c)."""
    fields = (
        *x.shape[1:3],
        *y.shape[1:3],
        *window.kernel,
        *window.stride,
        window.padding[0],
        window.padding[2],
        *window.dilation,
    )
    return "{" + ", ".join(map(str, fields)) + "}"


def convolution(
    window: Window,
    x: TensorType,
    y: TensorType,
    learned: int,
    zeros: tuple[int, int] = (0, 0),
    limits: tuple[int, int] = (-128, 127),
) -> Struct:
    """Return a te_conv2d for maps of types x and y; zeros: of the input and the output."""
    return struct(
        "te_conv2d",
        window=window_text(window, x, y),
        in_c=x.shape[3],
        learn_c=learned,
        out_c=y.shape[3],
        in_zero=zeros[0],
        out_zero=zeros[1],
        lo=limits[0],
        hi=limits[1],
    )


def conv2d(op: Conv2d, o: Operands) -> Calls:
    x, weight, y = o.sig.ins[X], o.sig.ins[WEIGHT], o.sig.outs[0]
    products = math.prod(weight.shape[1:3]) * x.shape[3]
    if products > MAX_PRODUCTS:
        raise UserError(
            f"layer '{o.node.layer}': {products} products in one sum; the kernels' 32-bit sums "
            f"hold {MAX_PRODUCTS}. Split the layer into smaller ones"
        )
    zeros = (x.zero_point, y.zero_point)
    p = convolution(op.window, x, y, weight.shape[3], zeros, (op.lo, op.hi))
    order = (X, WEIGHT, BIAS, MULTIPLIER, SHIFT, FROZEN)
    return (Call("te_conv2d_s8", (p, *(o.at(i) for i in order), o.outs[0])),)


def depthwise_conv2d(op: DepthwiseConv2d, o: Operands) -> Calls:
    x, y = o.sig.ins[0], o.sig.outs[0]
    zeros = (x.zero_point, y.zero_point)
    p = convolution(op.window, x, y, x.shape[3], zeros, (op.lo, op.hi))
    return (Call("te_depthwise_conv2d_s8", (p, *o.ins, o.outs[0])),)


def _factor(pair: tuple[int, int]) -> str:
    return f"{{{pair[0]}, {pair[1]}}}"


def _binary(op: Add | Mul, o: Operands, factors: dict[str, str]) -> Struct:
    a, b, y = o.sig.ins[0], o.sig.ins[1], o.sig.outs[0]
    return struct(
        "te_binary",
        count=a.count,
        b_count=b.count,
        a_zero=a.zero_point,
        b_zero=b.zero_point,
        out_zero=y.zero_point,
        lo=op.lo,
        hi=op.hi,
        **factors,
    )


def add(op: Add, o: Operands) -> Calls:
    p = add_parameters(o.sig)
    factors = {"a": _factor(p.a), "b": _factor(p.b), "out": _factor(p.out)}
    return (Call("te_add_s8", (_binary(op, o, factors), *o.ins, o.outs[0])),)


def mul(op: Mul, o: Operands) -> Calls:
    factors = {"a": "{0, 0}", "b": "{0, 0}", "out": _factor(mul_parameters(o.sig))}
    return (Call("te_mul_s8", (_binary(op, o, factors), *o.ins, o.outs[0])),)


def pool(
    window: Window, x: TensorType, y: TensorType, limits: tuple[int, int] = (-128, 127)
) -> Struct:
    """Return a te_pool for maps of types x and y."""
    return struct(
        "te_pool",
        window=window_text(window, x, y),
        channels=x.shape[3],
        lo=limits[0],
        hi=limits[1],
    )


def avg_pool(op: AvgPool, o: Operands) -> Calls:
    p = pool(op.window, o.sig.ins[0], o.sig.outs[0], (op.lo, op.hi))
    return (Call("te_avg_pool_s8", (p, o.ins[0], o.outs[0])),)


def max_pool(op: MaxPool, o: Operands) -> Calls:
    p = pool(op.window, o.sig.ins[0], o.sig.outs[0], (op.lo, op.hi))
    return (Call("te_max_pool_s8", (p, o.ins[0], o.outs[0])),)


def mean(op: Mean, o: Operands) -> Calls:
    x, y = o.sig.ins[0], o.sig.outs[0]
    r = reduction(x.shape, op.first, op.last)
    p = struct(
        "te_mean",
        outer=r.outer,
        reduced=r.reduced,
        inner=r.inner,
        in_zero=x.zero_point,
        out_zero=y.zero_point,
        factor=_factor(mean_parameters(o.sig, r.reduced)),
    )
    return (Call("te_mean_s8", (p, o.ins[0], o.outs[0])),)


def lut(op: Lut, o: Operands) -> Calls:
    return (Call("te_lut_s8", (integer(o.sig.ins[0].count), o.ins[0], o.ins[1], o.outs[0])),)


def softmax(op: Softmax, o: Operands) -> Calls:
    x = o.sig.ins[0]
    n = x.shape[-1]
    if n > MAX_CLASSES:
        raise UserError(
            f"layer '{o.node.layer}': softmax over {n} values; at most {MAX_CLASSES} are supported"
        )
    table = Table(exp_table(x.scale, op.beta))
    sizes = (integer(x.count // n), integer(n))
    return (Call("te_softmax_s8", (*sizes, table, o.ins[0], o.outs[0])),)


def dequantize(op: Dequantize, o: Operands) -> Calls:
    x = o.sig.ins[0]
    numbers = (integer(x.count), integer(x.zero_point), real(x.scale))
    return (Call("te_dequantize_s8", (*numbers, o.ins[0], o.outs[0])),)


def inside(op: Inside, o: Operands) -> Calls:
    numbers = (integer(o.sig.ins[0].count), integer(op.lo), integer(op.hi))
    return (Call("te_inside_s8", (*numbers, o.ins[0], o.outs[0])),)


def linear(op: Linear, o: Operands) -> Calls:
    out_c, in_c = o.sig.ins[1].shape
    return (Call("te_linear_f32", (integer(in_c), integer(out_c), *o.ins, o.outs[0])),)


def _element_bytes(type_: TensorType) -> int:
    size = type_.nbytes // type_.count
    if size * type_.count != type_.nbytes:
        raise InternalError(f"{type_.dtype.value} elements are packed and cannot be moved singly")
    return size


def _steps(type_: TensorType) -> list[int]:
    """Bytes from one index to the next, per axis."""
    size = _element_bytes(type_)
    return [math.prod(type_.shape[i + 1 :]) * size for i in range(len(type_.shape))]


def _block(
    x: TensorType,
    y: TensorType,
    shape: tuple[int, ...],
    start: tuple[int, ...],
    end: tuple[int, ...],
) -> Struct:
    """Copy the block of `shape` at `start` of x to `end` of y, in the longest runs there are."""
    from_step, to_step = _steps(x), _steps(y)
    offsets = [
        sum(a * s for a, s in zip(at, step, strict=True))
        for at, step in ((start, from_step), (end, to_step))
    ]
    axis = 3  # the first axis of a run
    run = shape[3] * from_step[3]
    while axis > 0 and run == from_step[axis - 1] == to_step[axis - 1]:
        axis -= 1
        run *= shape[axis]
    count = [n if i < axis else 1 for i, n in enumerate(shape[:3])]
    return struct(
        "te_block",
        count=_list(count),
        run=run,
        **{"from": offsets[0]},
        from_step=_list(from_step[:3]),
        to=offsets[1],
        to_step=_list(to_step[:3]),
    )


def _list(values: list[int]) -> str:
    return "{" + ", ".join(map(str, values)) + "}"


def crop(op: Crop, o: Operands) -> Calls:
    x, y = o.sig.ins[0], o.sig.outs[0]
    p = _block(x, y, y.shape, op.start, (0, 0, 0, 0))
    return (Call("te_copy_block", (p, o.ins[0], o.outs[0])),)


def pad(op: Pad, o: Operands) -> Calls:
    x, y = o.sig.ins[0], o.sig.outs[0]
    p = _block(x, y, x.shape, (0, 0, 0, 0), op.before)
    fill = Call("te_fill_s8", (integer(y.count), integer(x.zero_point), o.outs[0]))
    return fill, Call("te_copy_block", (p, o.ins[0], o.outs[0]))


def concat(op: Concat, o: Operands) -> Calls:
    y, at, calls = o.sig.outs[0], 0, []
    for x, source in zip(o.sig.ins, o.ins, strict=True):
        end = tuple(at if axis == op.axis else 0 for axis in range(4))
        p = _block(x, y, x.shape, (0, 0, 0, 0), end)
        calls.append(Call("te_copy_block", (p, source, o.outs[0])))
        at += x.shape[op.axis]
    return tuple(calls)


def reshape(op: Reshape, o: Operands) -> Calls:
    if o.ins[0] == o.outs[0]:
        return ()
    return (Call("memcpy", (o.outs[0], o.ins[0], f"{o.sig.outs[0].nbytes}u")),)


def _moved(type_: TensorType) -> str:
    """The suffix of kernels that move elements of this size."""
    return f"x{8 * _element_bytes(type_)}"


def transpose(op: Transpose, o: Operands) -> Calls:
    x, y = o.sig.ins[0], o.sig.outs[0]
    steps = [s // _element_bytes(x) for s in _steps(x)]
    fill = 4 - len(y.shape)
    p = struct(
        "te_transpose",
        count=_list([1] * fill + list(y.shape)),
        step=_list([0] * fill + [steps[i] for i in op.order]),
    )
    return (Call(f"te_transpose_{_moved(x)}", (p, o.ins[0], o.outs[0])),)


def gather_channels(op: GatherChannels, o: Operands) -> Calls:
    x = o.sig.ins[0]
    in_c = x.shape[-1]
    sizes = (integer(x.count // in_c), integer(in_c), integer(len(op.channels)))
    table = Table(np.array(op.channels, np.uint16))
    return (Call(f"te_gather_channels_{_moved(x)}", (*sizes, table, o.ins[0], o.outs[0])),)
