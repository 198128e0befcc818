"""C calls of the loss, the gradients and the updates. One short function per operator.

Gradients whose format shows only in their type are here too; see `write_integer.py` for the rest.
"""

# ruff: noqa: D103 - each function writes the call of the operator whose name it has
from __future__ import annotations

import numpy as np

from codegen.calls import Argument, Call, Operands, RowLoop, Struct, Table, integer, struct
from codegen.write_forward import convolution, pool
from codegen.write_integer import suffix
from tinyengine.errors import InternalError
from tinyengine.ir.tensor import TensorType
from tinyengine.ops.add import GradAdd
from tinyengine.ops.bias_grad import BiasGrad
from tinyengine.ops.conv2d import Conv2dBwdInput, Conv2dBwdWeight, gradient_shift
from tinyengine.ops.depthwise import DepthwiseBwdInput, DepthwiseBwdWeight
from tinyengine.ops.exponent import is_integer
from tinyengine.ops.linear import LinearBwdInput, LinearBwdWeight
from tinyengine.ops.loss import SoftmaxXent
from tinyengine.ops.lut import LutBwd
from tinyengine.ops.mask import MaskGrad
from tinyengine.ops.mean import MeanBwd, reduction
from tinyengine.ops.mul import MulBwd
from tinyengine.ops.pool import AvgPoolBwd, MaxPoolBwd
from tinyengine.ops.row_step import RowStep
from tinyengine.ops.sgd import FRACTION, RATIO, Accumulate, G, Rounding, SgdF32, SgdI8, SgdI32, W

Calls = tuple[Call, ...]
_CHANNELS = 1 << 16  # channel numbers are uint16_t


def _count(o: Operands) -> str:
    return integer(o.sig.outs[0].count)


def softmax_xent(op: SoftmaxXent, o: Operands) -> Calls:
    n = integer(o.sig.ins[0].count)
    return (Call("te_softmax_xent_f32", (n, *o.ins, *o.outs)),)


def mask_grad(op: MaskGrad, o: Operands) -> Calls:
    function = f"te_mask_grad_{suffix(o.sig.outs[0])}"
    return (Call(function, (_count(o), *o.ins, o.outs[0])),)


def grad_add(op: GradAdd, o: Operands) -> Calls:
    return (Call("te_grad_add_f32", (_count(o), *o.ins, o.outs[0])),)


def bias_grad(op: BiasGrad, o: Operands) -> Calls:
    d = o.sig.ins[0]
    sizes = (integer(d.count // d.shape[-1]), integer(d.shape[-1]))
    return (Call(f"te_bias_grad_{suffix(d)}", (*sizes, o.ins[0], o.outs[0])),)


def conv2d_bwd_input(op: Conv2dBwdInput, o: Operands) -> Calls:
    p = convolution(op.window, o.sig.outs[0], o.sig.ins[0], o.sig.ins[1].shape[3])
    args = (o.ins[0], o.ins[1], o.ins[2], o.at(3), o.outs[0])
    return (Call("te_conv2d_s8_bwd_input_f32", (p, *args)),)


def _weight_gradient(op: Conv2dBwdWeight | DepthwiseBwdWeight, o: Operands) -> Struct:
    d, x = o.sig.ins[:2]
    return convolution(op.window, x, d, x.shape[3], (x.zero_point, 0))


def _shift(d: TensorType) -> tuple[str, ...]:
    """How far an integer gradient is shifted before it is summed; float32 has no such argument."""
    return (integer(gradient_shift(d)),) if is_integer(d) else ()


def weight_rows(op: Conv2dBwdWeight, o: Operands, rows: tuple[str, str], out: str) -> Call:
    """Rows (first, end) of a weight's gradient into `out`."""
    d = o.sig.ins[0]
    args: tuple[Argument, ...] = (_weight_gradient(op, o), *_shift(d), *o.ins[:2], *rows, out)
    return Call(f"te_conv2d_s8_bwd_weight_{suffix(d)}", args)


def conv2d_bwd_weight(op: Conv2dBwdWeight, o: Operands) -> Calls:
    return (weight_rows(op, o, ("0", integer(o.sig.ins[0].shape[3])), o.outs[0]),)


def depthwise_bwd_input(op: DepthwiseBwdInput, o: Operands) -> Calls:
    x = o.sig.outs[0]
    p = convolution(op.window, x, o.sig.ins[0], x.shape[3])
    return (Call("te_depthwise_s8_bwd_input_f32", (p, *o.ins, o.outs[0])),)


def depthwise_bwd_weight(op: DepthwiseBwdWeight, o: Operands) -> Calls:
    d = o.sig.ins[0]
    args: tuple[Argument, ...] = (_weight_gradient(op, o), *_shift(d), *o.ins, o.outs[0])
    return (Call(f"te_depthwise_s8_bwd_weight_{suffix(d)}", args),)


def mul_bwd(op: MulBwd, o: Operands) -> Calls:
    d, other = o.sig.ins
    p = struct(
        "te_mul_bwd",
        count=d.count,
        other_count=other.count,
        zero=other.zero_point,
        scale=float(other.scale),
    )
    return (Call("te_mul_s8_bwd_f32", (p, *o.ins, o.outs[0])),)


def avg_pool_bwd(op: AvgPoolBwd, o: Operands) -> Calls:
    p = pool(op.window, o.sig.outs[0], o.sig.ins[0])
    return (Call("te_avg_pool_bwd_f32", (p, o.ins[0], o.outs[0])),)


def max_pool_bwd(op: MaxPoolBwd, o: Operands) -> Calls:
    p = pool(op.window, o.sig.outs[0], o.sig.ins[0])
    return (Call("te_max_pool_s8_bwd_f32", (p, *o.ins, o.outs[0])),)


def mean_bwd(op: MeanBwd, o: Operands) -> Calls:
    r = reduction(o.sig.outs[0].shape, op.first, op.last)
    return (Call("te_mean_bwd_f32", (*map(integer, r), o.ins[0], o.outs[0])),)


def lut_bwd(op: LutBwd, o: Operands) -> Calls:
    return (Call("te_lut_s8_bwd_f32", (_count(o), *o.ins, o.outs[0])),)


def linear_bwd_input(op: LinearBwdInput, o: Operands) -> Calls:
    out_c, in_c = o.sig.ins[1].shape
    return (Call("te_linear_f32_bwd_input", (str(in_c), str(out_c), *o.ins, o.outs[0])),)


def linear_bwd_weight(op: LinearBwdWeight, o: Operands) -> Calls:
    out_c, in_c = o.sig.outs[0].shape
    return (Call("te_linear_f32_bwd_weight", (str(in_c), str(out_c), *o.ins, o.outs[0])),)


def _rows(op: SgdI8, w: TensorType) -> int:
    """Rows of w as the kernel sees it: its output channels, or one where they come last."""
    if op.axis not in (0, len(w.shape) - 1):
        raise InternalError(f"weights of shape {w.shape} cannot be updated along axis {op.axis}")
    return w.shape[0] if op.axis == 0 else 1


def _weights(op: SgdI8, w: TensorType) -> Struct:
    channels = w.shape[-1]
    narrow = bool(op.channels) and channels == len(op.channels)
    numbers: str | Table = "NULL"
    learns: str | Table = "NULL"
    if narrow:
        if op.channels_total > _CHANNELS:
            raise InternalError(f"{op.channels_total} channels do not fit uint16_t")
        numbers = Table(np.array(op.channels, np.uint16))
    elif op.channels:
        learns = Table(np.isin(np.arange(channels), op.channels).astype(np.uint8))
    return struct(
        "te_sgd_s8",
        taps=w.count // (_rows(op, w) * channels),
        channels=channels,
        channels_total=op.channels_total if narrow else channels,
        ratio_by_channel=int(op.axis != 0),
        numbers=numbers,
        learns=learns,
        key=f"{op.key}u",
        every=f"{op.every}u",
    )


def sgd_rows(
    op: SgdI8, w: TensorType, rows: tuple[str, str], ins: tuple[str, ...], hyper: str
) -> Call:
    """Rows `rows` of w; ins as the operator's, but its gradient holds just those rows."""
    master = op.rounding == Rounding.MASTER16.value
    exponent = ins[FRACTION + master :]
    tensors = (ins[W], *ins[FRACTION : FRACTION + master], ins[G], ins[RATIO], *exponent)
    function = f"te_sgd_s8_{'s32_' if exponent else ''}{op.rounding}"
    return Call(function, (_weights(op, w), *rows, *tensors, hyper))


def sgd_i8(op: SgdI8, o: Operands) -> Calls:
    w = o.sig.ins[W]
    return (sgd_rows(op, w, ("0", integer(_rows(op, w))), o.ins, o.hyper),)


def row_step(op: RowStep, o: Operands) -> tuple[RowLoop]:
    first, second = op.split(o.sig)
    if not isinstance(op.gradient, Conv2dBwdWeight):
        raise InternalError(f"no row-wise kernel of '{op.gradient.kind}'")
    row = ("k", "k + 1")
    gradient = weight_rows(op.gradient, o, row, o.scratch)
    ins = (o.ins[2], o.scratch, *o.ins[3:])
    w = second.ins[W]
    return (RowLoop(first.ins[0].shape[3], (gradient, sgd_rows(op.update, w, row, ins, o.hyper))),)


def sgd_i32(op: SgdI32, o: Operands) -> Calls:
    # biases have no fraction byte: under master16 they round to nearest
    stochastic = op.rounding == Rounding.STOCHASTIC.value
    p = struct("te_sgd_s32", count=o.sig.ins[W].count, key=f"{op.key}u", every=f"{op.every}u")
    exponent = o.ins[FRACTION:]
    function = f"te_sgd_s32_{'s32_' if exponent else ''}{'stochastic' if stochastic else 'nearest'}"
    return (Call(function, (p, o.ins[W], o.ins[G], o.ins[RATIO], *exponent, o.hyper)),)


def sgd_f32(op: SgdF32, o: Operands) -> Calls:
    args = (_count(o), f"{op.every}u", o.ins[W], o.ins[G], o.ins[RATIO], o.hyper)
    return (Call("te_sgd_f32", args),)


def accumulate(op: Accumulate, o: Operands) -> Calls:
    exponent = o.ins[3:]
    args = (_count(o), f"{op.every}u", o.ins[0], o.ins[1], *exponent, o.hyper)
    return (Call(f"te_accumulate_{'s32' if exponent else 'f32'}", args),)
