"""C calls for cores with the DSP extension (firmware/kernels/arm); where they cannot be had, the
portable ones. The planner asks first (`*_scratch`): a node without scratch stays portable.
"""

# ruff: noqa: D103 - each function writes the call of the operator whose name it has
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from codegen import write_forward as f
from codegen.calls import NULL, Call, Operands, Struct, Table, struct
from codegen.scales import MAX_PRODUCTS, NEVER, Scales, only_outputs, scales
from tinyengine.ir.tensor import Array, TensorType
from tinyengine.ops import fixed
from tinyengine.ops.add import LEFT_SHIFT, Add, add_parameters
from tinyengine.ops.conv2d import BIAS, FROZEN, MULTIPLIER, SHIFT, WEIGHT, Conv2d, X
from tinyengine.ops.depthwise import DepthwiseBwdInput, DepthwiseConv2d
from tinyengine.ops.op import Op, Signature
from tinyengine.ops.rescaled import Rescaled
from tinyengine.plan.scratch import Data

Calls = tuple[Call, ...]


def conv2d_scratch(op: Op, sig: Signature, data: Data) -> int:
    """Bytes of scratch for te_conv2d_s8_dsp; 0 where that kernel cannot be used."""
    assert isinstance(op, Conv2d)
    if not _fits_conv2d(op, sig, data):
        return 0
    taps, in_c = math.prod(op.window.kernel), sig.ins[X].shape[3]
    parts = [taps * part.shape[3] for part in _weights(sig)]
    groups = sum(-(-part // 4) for part in parts)
    staged = in_c % 4 != 0 and not _is_pointwise(op, sig)
    return 32 * groups + (4 * groups + 8 if staged else 0)


def _weights(sig: Signature) -> list[TensorType]:
    return [sig.ins[i] for i in (WEIGHT, FROZEN) if i < len(sig.ins)]


def _is_pointwise(op: Conv2d, sig: Signature) -> bool:
    same = sig.ins[X].shape[1:3] == sig.outs[0].shape[1:3]
    return op.window.kernel == (1, 1) and op.window.stride == (1, 1) and same


def _fits_conv2d(op: Conv2d, sig: Signature, data: Data) -> bool:
    taps = math.prod(op.window.kernel)
    first, *rest = (taps * part.shape[3] for part in _weights(sig))
    if (op.lo, op.hi) != (-128, 127) or first + sum(rest) > MAX_PRODUCTS:
        return False
    if data[MULTIPLIER] is None or data[SHIFT] is None:
        return False
    if not rest:
        return first % 4 == 0 or data[WEIGHT] is not None
    if sig.ins[WEIGHT].shape[3] % 4:
        return False
    return sig.ins[FROZEN].shape[3] % 4 == 0 or (
        _is_pointwise(op, sig) and data[FROZEN] is not None
    )


def conv2d(op: Conv2d, o: Operands) -> Calls:
    if o.scratch == NULL:
        return f.conv2d(op, o)
    (portable,) = f.conv2d(op, o)  # refuses what is too large
    weights = [o.data[i] for i in (WEIGHT, FROZEN) if i < len(o.ins)]
    rows = [None if w is None else w.reshape(len(w), -1) for w in weights]
    p = _scaled("te_conv2d_dsp", portable, _scales(o, rows, (BIAS, MULTIPLIER, SHIFT)))
    parts = [_padded(o.at(i), w) for i, w in zip((WEIGHT, FROZEN), [*rows, None], strict=False)]
    return (Call("te_conv2d_s8_dsp", (p, o.ins[X], parts[0], o.ins[BIAS], parts[1], o.outs[0],
                                      o.scratch)),)  # fmt: skip


MIN_SUMS = 512  # for fewer, tables are not worth their flash
MAX_ADD_EXPONENT = 22  # sums stay below 2**30 here: only the addend must not overflow
_BYTES = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int64)
BAND_BYTES = 5120  # of input lines at a time; fewer bands spread fewer lines twice


@dataclass(frozen=True, slots=True)
class _Band:
    """Output rows at a time, and the bytes of scratch that they need."""

    rows: int
    nbytes: int


def _band(op: DepthwiseConv2d, sig: Signature) -> _Band:
    """The tallest band within BAND_BYTES, one row at least; all bands about equal."""
    size, stride = op.window.kernel[0], op.window.stride[0]
    out_h, out_w = sig.outs[0].shape[1:3]
    pair = stride * (out_w + out_w % 2 - 1) + size + 1
    line = 16 * (pair // 2)  # as te_depthwise_line: words of 4 B, four channels
    fitting = max((BAND_BYTES // line - size) // stride + 1, 1)
    rows = -(-out_h // -(-out_h // fitting))
    lanes = 16 * (size * (size - 1) + 12)
    return _Band(rows, lanes + line * ((rows - 1) * stride + size))


def depthwise_scratch(op: Op, sig: Signature, data: Data) -> int:
    """Bytes of scratch for the depthwise DSP kernels; 0 where none of them can be used."""
    assert isinstance(op, DepthwiseConv2d)
    k, w = sig.outs[0].shape[3], op.window
    fits = (
        (op.lo, op.hi) == (-128, 127)
        and sig.ins[0].shape[3] == k >= 4
        and w.kernel in ((3, 3), (5, 5), (7, 7))
        and w.stride in ((1, 1), (2, 2))
        and w.dilation == (1, 1)
        and data[3] is not None
        and data[4] is not None
    )
    return _band(op, sig).nbytes if fits else 0


def depthwise_conv2d(op: DepthwiseConv2d, o: Operands) -> Calls:
    portable = f.depthwise_conv2d(op, o)
    if o.scratch == NULL:
        return portable
    w, size = o.data[1], op.window.kernel[0]
    rows = None if w is None else w.reshape(size * size, -1).T
    made = _scales(o, [rows], (2, 3, 4))
    p = _scaled("te_conv2d_dsp", portable[0], made, _band(op, o.sig).rows)
    name = f"te_depthwise_{size}x{size}_s8_dsp"
    return (Call(name, (p, *o.ins[:3], o.outs[0], o.scratch)),)


PLANE_PIXELS = 1024  # as te_kernels_dsp.h: of a map that is laid out channel by channel
PIXELS = 4  # made at a time
LISTED_PIXELS = 576  # as te_grad_planes.h: of a map whose fours are listed


def is_by_channel(op: Op, sig: Signature, data: Data) -> bool:
    """Whether the DSP kernel of a gradient goes channel by channel: te_goes_by_channel."""
    if not isinstance(op, Rescaled) or not isinstance(op.gradient, DepthwiseBwdInput):
        return False
    d, d_x, w = sig.ins[0], sig.outs[0], op.gradient.window
    return (
        d.shape[3] == d_x.shape[3]
        and d.shape[0] == 1
        and w.kernel in ((3, 3), (5, 5), (7, 7))
        and w.stride in ((1, 1), (2, 2))
        and w.dilation == (1, 1)
        and max(w.padding[0], w.padding[2]) < w.kernel[0]
        and max(d.count // d.shape[3], d_x.count // d_x.shape[3]) <= PLANE_PIXELS
    )


def rescaled_scratch(op: Op, sig: Signature, data: Data) -> int:
    """Bytes of scratch for a DSP kernel of gradients: pairs of weights and a plane (te_lay_out)."""
    assert isinstance(op, Rescaled)
    if not is_by_channel(op, sig, data):
        return op.scratch_bytes(sig)
    assert isinstance(op.gradient, DepthwiseBwdInput)
    w, rows = op.gradient.window, sig.ins[0].shape[1]
    in_h, in_w = sig.outs[0].shape[1:3]
    size, stride, left = w.kernel[0], w.stride[0], w.padding[2]
    taps = [(size - a + stride - 1) // stride for a in range(stride)]
    firsts = [(a + left) % stride for a in range(stride)]
    counts = [-(-(in_w - first) // stride) for first in firsts]
    columns = [(firsts[a] + left - a) // stride - taps[a] + 1 for a in range(stride)]
    border = -min(0, *columns)
    fours = [math.ceil(n / PIXELS) for n in counts]
    ends = [columns[a] + border + PIXELS * fours[a] + taps[a] for a in range(stride)]
    listed = [
        in_h * four
        for four, n, column in zip(fours, counts, columns, strict=True)
        if n >= PIXELS and n % 2 == 0 == (column + border) % 2 and in_h * in_w <= LISTED_PIXELS
    ]
    pairs = (size + 1) * sum(max(n - 1, 1) for n in taps)
    return 4 * pairs + 2 * rows * ((max(ends) + 1) // 2 * 2) + 16 * sum(listed)


def add(op: Add, o: Operands) -> Calls:
    """By tables of 256 words for each input; they take 2 KB of flash."""
    p = add_parameters(o.sig)
    (multiplier, shift), zero = p.out, o.sig.outs[0].zero_point
    tables = [
        fixed.requantise((_BYTES - x.zero_point) << LEFT_SHIFT, *map(np.asarray, factor))
        for x, factor in zip(o.sig.ins, (p.a, p.b), strict=True)
    ]
    fits = (
        (op.lo, op.hi) == (-128, 127)
        and o.sig.ins[0].count == o.sig.ins[1].count >= MIN_SUMS
        and 1 <= -shift <= MAX_ADD_EXPONENT
        and sum(int(np.abs(table).max()) for table in tables) < 2**30
    )
    if not fits:
        return f.add(op, o)
    a, b = (Table((2 * table).astype(np.int32)) for table in tables)
    out = f"{{{multiplier}, {-shift}, {(2 * zero + 1) << (-shift - 1)}}}"
    made = struct("te_add_dsp", count=o.sig.ins[0].count, a=a, b=b, out=out)
    return (Call("te_add_s8_dsp", (made, *o.ins, o.outs[0])),)


def _padded(name: str, rows: Array | None) -> str | Table:
    """A weight's rows, filled up to whole words."""
    if rows is None or rows.shape[1] % 4 == 0:
        return name
    return Table(np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).reshape(-1))


def _scales(o: Operands, rows: list[Array | None], at: tuple[int, int, int]) -> Scales:
    bias, multiplier, shift = (o.data[i] for i in at)
    assert multiplier is not None and shift is not None
    zeros = (o.sig.ins[X].zero_point, o.sig.outs[0].zero_point)
    always: Array = np.full(len(shift), NEVER)
    frozen = [r for r in rows if r is not None]
    if bias is not None and len(frozen) == len(rows):
        whole = np.concatenate(frozen, axis=1)
        always = only_outputs(whole, bias, multiplier, shift, zeros)
    return scales(multiplier, shift, zeros[1], always)


def _scaled(ctype: str, portable: Call, made: Scales, band: int = 0) -> Struct:
    """The struct of a DSP kernel: the portable kernel's, and the scaling of its channels."""
    shape = portable.args[0]
    assert isinstance(shape, Struct)
    fields = ", ".join(f".{name} = {value}" for name, value in shape.fields)
    return struct(
        ctype,
        shape=f"{{{fields}}}",
        scale=Table(made.words),
        exact=Table(made.exact) if len(made.exact) else NULL,
        exact_count=len(made.exact),
        band=band,
    )
