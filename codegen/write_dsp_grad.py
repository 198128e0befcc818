"""C calls of integer gradients for cores with the DSP extension."""

from __future__ import annotations

from dataclasses import replace

from codegen import write_dsp as d
from codegen import write_integer as i
from codegen.calls import NULL, Call, Operands, Struct
from tinyengine.ops.conv2d import Conv2dBwdInput
from tinyengine.ops.op import Op, Signature
from tinyengine.ops.rescaled import Rescaled
from tinyengine.plan.scratch import Data

TILE, PASS = 4, 8  # pixels; channels, see te_grad_dsp.h
GROUP_BYTES = 6200  # of scratch for the tiles that are in the making, if more than one
_END = 8  # bytes: of a strip


def rescaled_scratch(op: Op, sig: Signature, data: Data) -> int:
    """Bytes of scratch; of a pointwise convolution what te_grad_dsp.h wants."""
    assert isinstance(op, Rescaled)
    tiles = _tiles(op, sig)
    bytes_ = d.rescaled_scratch(op, sig, data)
    return max(bytes_, _group_bytes(sig, tiles)) if tiles else bytes_


def rescaled(op: Rescaled, o: Operands) -> tuple[Call, ...]:
    """The portable call; a pointwise convolution is told how many tiles it has scratch for."""
    (call,) = i.rescaled(op, o)
    tiles = _tiles(op, o.sig)
    if not tiles or o.scratch == NULL:
        return (call,)
    p, *others = call.args
    assert isinstance(p, Struct)
    p = replace(p, fields=(*p.fields, ("tiles", str(tiles))))
    return (replace(call, args=(p, *others)),)


def _tiles(op: Rescaled, sig: Signature) -> int:
    """Tiles at a time, 0 where the convolution is not pointwise: groups of about one size."""
    d_y, d_x, window = sig.ins[0].shape, sig.outs[0].shape, getattr(op.gradient, "window", None)
    if not isinstance(op.gradient, Conv2dBwdInput) or window is None:
        return 0
    if window.kernel != (1, 1) or window.stride != (1, 1) or d_y[1:3] != d_x[1:3]:
        return 0
    whole = -(-d_y[1] * d_y[2] // TILE)
    most = whole
    while most > 1 and _group_bytes(sig, most) > GROUP_BYTES:
        most -= 1
    groups = -(-whole // most)
    return -(-whole // groups)


def _group_bytes(sig: Signature, tiles: int) -> int:
    """Rows and strip, a word each per output channel, and d' of each pixel."""
    channels = -(-sig.ins[0].shape[3] // PASS) * PASS
    return channels * (8 + 2 * TILE * tiles) + _END
