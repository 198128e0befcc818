"""C calls of weight gradients for cores with the DSP extension, which take four rows at a time:
integer ones by a list of output pixels, float32 ones without.
"""

# ruff: noqa: D103 - each function writes the call of the operator whose name it has
from __future__ import annotations

import math

from codegen.calls import Call, Operands, RowLoop, integer
from codegen.write_training import conv2d_bwd_weight as portable_gradient
from codegen.write_training import row_step as portable_step
from codegen.write_training import sgd_rows, weight_rows
from tinyengine.ir.tensor import TensorType
from tinyengine.ops.conv2d import Conv2dBwdWeight
from tinyengine.ops.exponent import is_integer
from tinyengine.ops.op import Op, Signature
from tinyengine.ops.row_step import RowStep
from tinyengine.ops.sgd import W
from tinyengine.plan.scratch import Data

ROWS = 4  # that one pass over x serves
MEETINGS = 64  # of two output pixels each, listed at a time: TE_MEETINGS
SCRATCH_BYTES = 4096  # at most, unless one row takes more


def list_bytes(d: TensorType) -> int:
    """Bytes that the kernel lists output pixels in; 0 where it does not serve."""
    if not is_integer(d):
        return 0
    return 24 * min(-(-_pixels(d) // 2), MEETINGS) + 8


def _pixels(d: TensorType) -> int:
    return math.prod(d.shape[1:3])


def gradient_scratch(op: Op, sig: Signature, data: Data) -> int:
    return list_bytes(sig.ins[0])


def conv2d_bwd_weight(op: Conv2dBwdWeight, o: Operands) -> tuple[Call, ...]:
    (call,) = portable_gradient(op, o)
    return (_fast(call, o.scratch),) if list_bytes(o.sig.ins[0]) else (call,)


def _fast(call: Call, scratch: str) -> Call:
    return Call(f"{call.function}_dsp", (*call.args, scratch))


def _rows_at_once(op: RowStep, sig: Signature) -> int:
    """How many rows of a gradient have room next to the list."""
    if not isinstance(op.gradient, Conv2dBwdWeight):
        return 1
    if not is_integer(sig.ins[0]) and min(sig.ins[1].shape[3], sig.ins[0].shape[3]) < ROWS:
        return 1  # the float32 kernel takes four channels by four
    listed, row = list_bytes(sig.ins[0]), op.scratch_bytes(sig)
    return min(ROWS, max((SCRATCH_BYTES - listed) // row, 1), sig.ins[0].shape[3])


def _is_served(op: RowStep, sig: Signature) -> bool:
    """A single row is not worth a list, a single output pixel needs none; float32 has no list."""
    rows = _rows_at_once(op, sig)
    if not list_bytes(sig.ins[0]):
        return rows > 1
    return rows > 1 or _pixels(sig.ins[0]) == 1


def step_scratch(op: Op, sig: Signature, data: Data) -> int:
    """The list comes first, the rows of the gradient follow."""
    assert isinstance(op, RowStep)
    if not _is_served(op, sig):
        return op.scratch_bytes(sig)
    return op.scratch_bytes(sig) * _rows_at_once(op, sig) + list_bytes(sig.ins[0])


def row_step(op: RowStep, o: Operands) -> tuple[RowLoop]:
    if not _is_served(op, o.sig) or not isinstance(op.gradient, Conv2dBwdWeight):
        return portable_step(op, o)
    step, total = _rows_at_once(op, o.sig), o.sig.ins[0].shape[3]
    end = f"k + {step}"
    rows = ("k", end if total % step == 0 else f"{end} < {total} ? {end} : {total}")
    d_w = f"{o.scratch} + {integer(list_bytes(o.sig.ins[0]) // 4)}"
    gradient = weight_rows(op.gradient, o, rows, d_w)
    if list_bytes(o.sig.ins[0]):
        gradient = _fast(gradient, o.scratch)
    w = op.split(o.sig)[1].ins[W]
    ins = (o.ins[2], d_w, *o.ins[3:])
    return (RowLoop(total, (gradient, sgd_rows(op.update, w, rows, ins, o.hyper)), step),)
