"""C calls of gradients in int16 and int8: what `Rescaled` holds, one function per operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from codegen.calls import Argument, Call, Operands, Struct, Table, integer, struct
from codegen.write_forward import convolution, pool
from tinyengine.errors import InternalError
from tinyengine.ir.tensor import DType, TensorType
from tinyengine.ops import fixed
from tinyengine.ops.add import GradAdd
from tinyengine.ops.bias_grad import BiasGrad
from tinyengine.ops.conv2d import Conv2dBwdInput
from tinyengine.ops.depthwise import DepthwiseBwdInput
from tinyengine.ops.exponent import LIMITS, GradientOp
from tinyengine.ops.lut import LutBwd
from tinyengine.ops.mean import MeanBwd, reduction
from tinyengine.ops.mul import MulBwd
from tinyengine.ops.pool import AvgPoolBwd, MaxPoolBwd, share_bits
from tinyengine.ops.rescaled import QuantizeGrad, Rescaled

Arguments = tuple[Argument, ...]
_SUFFIXES = MappingProxyType({DType.F32: "f32", DType.I16: "s16", DType.I8: "s8"})


def suffix(gradient: TensorType) -> str:
    """Return how the kernels for gradients of this type end."""
    return _SUFFIXES[gradient.dtype]


def rescaled(op: Rescaled, o: Operands) -> tuple[Call, ...]:
    """kernel(parameters, inputs, exponents, state, d, e[, scratch]); the state moves in place."""
    found = _KERNELS.get(type(op.gradient))
    if found is None:
        raise InternalError(f"no integer kernel of '{op.gradient.kind}'")
    name, parameters = found
    ins: Arguments = o.ins
    if isinstance(op.gradient, Conv2dBwdInput):
        frozen = o.ins[3] if len(o.ins) == 6 else "NULL"
        ins = (*o.ins[:3], frozen, *o.ins[-2:])
    scratch = (o.scratch,) if op.scratch_bytes(o.sig) else ()
    args = (*parameters(op.gradient, o), *ins, *o.outs[:2], *scratch)
    return (Call(f"{name}_{suffix(o.sig.outs[0])}", args),)


def _nested(inner: Struct) -> str:
    fields = []
    for name, value in inner.fields:
        if isinstance(value, Table):
            raise InternalError(f"a nested {inner.ctype} cannot hold a table")
        fields.append(f".{name} = {value}")
    return "{" + ", ".join(fields) + "}"


def _factor(pair: tuple[int, int]) -> str:
    return f"{{{pair[0]}, {pair[1]}}}"


def _count(op: GradientOp, o: Operands) -> Arguments:
    return (integer(o.sig.outs[0].count),)


def _rows(op: BiasGrad, o: Operands) -> Arguments:
    d = o.sig.ins[0]
    return integer(d.count // d.shape[-1]), integer(d.shape[-1])


def _conv2d(op: Conv2dBwdInput, o: Operands) -> Arguments:
    d, weight, x = o.sig.ins[0], o.sig.ins[1], o.sig.outs[0]
    conv = _nested(convolution(op.window, x, d, weight.shape[3]))
    bits, factor = op.scaled_bits(o.sig), _factor(op.factor(o.sig))
    return (struct("te_conv2d_grad", conv=conv, bits=bits, factor=factor),)


def _depthwise(op: DepthwiseBwdInput, o: Operands) -> Arguments:
    x = o.sig.outs[0]
    return (convolution(op.window, x, o.sig.ins[0], x.shape[3]),)


def _mul(op: MulBwd, o: Operands) -> Arguments:
    d, other = o.sig.ins[:2]
    p = struct(
        "te_mul_grad",
        count=d.count,
        other_count=other.count,
        zero=other.zero_point,
        factor=_factor(fixed.quantise_multiplier(other.scale)),
    )
    return (p,)


def _avg_pool(op: AvgPoolBwd, o: Operands) -> Arguments:
    d, x = o.sig.ins[0], o.sig.outs[0]
    bits = share_bits(op.window, (x.shape[1], x.shape[2]), LIMITS[d.dtype])
    factor = _factor(fixed.quantise_multiplier(2.0**-bits))
    inner = _nested(pool(op.window, x, d))
    return (struct("te_pool_grad", pool=inner, bits=bits, factor=factor),)


def _max_pool(op: MaxPoolBwd, o: Operands) -> Arguments:
    return (pool(op.window, o.sig.outs[0], o.sig.ins[0]),)


def _mean(op: MeanBwd, o: Operands) -> Arguments:
    r = reduction(o.sig.outs[0].shape, op.first, op.last)
    factor = _factor(fixed.quantise_multiplier(1 / r.reduced))
    p = struct("te_mean_grad", outer=r.outer, reduced=r.reduced, inner=r.inner, factor=factor)
    return (p,)


def _lut(op: LutBwd, o: Operands) -> Arguments:
    multiplier, shift = fixed.quantise_multiplier(o.sig.ins[2].scale)
    return *_count(op, o), struct("te_factor", multiplier=multiplier, shift=shift)


_KERNELS: Mapping[type[GradientOp], tuple[str, Callable[[Any, Operands], Arguments]]] = (
    MappingProxyType(
        {
            QuantizeGrad: ("te_quantize_grad", _count),
            GradAdd: ("te_grad_add", _count),
            BiasGrad: ("te_channel_sum", _rows),
            Conv2dBwdInput: ("te_conv2d_s8_bwd_input", _conv2d),
            DepthwiseBwdInput: ("te_depthwise_s8_bwd_input", _depthwise),
            MulBwd: ("te_mul_s8_bwd", _mul),
            AvgPoolBwd: ("te_avg_pool_bwd", _avg_pool),
            MaxPoolBwd: ("te_max_pool_s8_bwd", _max_pool),
            MeanBwd: ("te_mean_bwd", _mean),
            LutBwd: ("te_lut_s8_bwd", _lut),
        }
    )
)
