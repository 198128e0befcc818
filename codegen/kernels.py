"""Which C call an operator becomes. A new operator is one kernel file and one line here.

A kernel's function stands in the file of its name. A variant for a core's extension is a kernel of
its own in `kernels/arm`: the function's name and `_mve`, with the same arguments and bits. What a
kernel wants prepared besides has a line in a table of its variant (`_DSP`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from codegen import write_dsp as d
from codegen import write_dsp_grad as g
from codegen import write_forward as f
from codegen import write_integer as i
from codegen import write_training as t
from codegen import write_weight as w
from codegen.calls import Call, Operands, RowLoop
from codegen.paths import firmware_dir
from tinyengine.errors import InternalError
from tinyengine.ir.graph import Graph, Node
from tinyengine.ir.tensor import Role
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
from tinyengine.ops.rescaled import Rescaled
from tinyengine.ops.row_step import RowStep
from tinyengine.ops.sgd import Accumulate, SgdF32, SgdI8, SgdI32
from tinyengine.ops.softmax import Softmax
from tinyengine.passes.backward import LOSS_LAYER
from tinyengine.plan.scratch import Choice, Data, Kernels, Scratch, by_rows, op_scratch

Phase = Literal["forward", "loss", "input_gradient", "weight_gradient", "update"]
Variant = Literal["portable", "dsp", "mve"]
Write = Callable[[Any, Operands], tuple[Call | RowLoop, ...]]


@dataclass(frozen=True, slots=True)
class Kernel:
    """How an operator's call is written, and the phase of a step that it belongs to.

    scratch: what the plan must give it; by default what the operator says. by_channel: whether it
    goes channel by channel (`Kernels`).
    """

    write: Write
    phase: Phase = "forward"
    scratch: Scratch = op_scratch
    by_channel: Choice = by_rows


_FORWARD: Mapping[type[Op], Kernel] = MappingProxyType(
    {
        Conv2d: Kernel(f.conv2d),
        DepthwiseConv2d: Kernel(f.depthwise_conv2d),
        Add: Kernel(f.add),
        Mul: Kernel(f.mul),
        AvgPool: Kernel(f.avg_pool),
        MaxPool: Kernel(f.max_pool),
        Mean: Kernel(f.mean),
        Lut: Kernel(f.lut),
        Softmax: Kernel(f.softmax),
        Dequantize: Kernel(f.dequantize),
        Pad: Kernel(f.pad),
        Crop: Kernel(f.crop),
        Concat: Kernel(f.concat),
        Reshape: Kernel(f.reshape),
        Transpose: Kernel(f.transpose),
        GatherChannels: Kernel(f.gather_channels),
        Inside: Kernel(f.inside),
        Linear: Kernel(f.linear),
    }
)

_TRAINING: Mapping[type[Op], Kernel] = MappingProxyType(
    {
        SoftmaxXent: Kernel(t.softmax_xent, "loss"),
        MaskGrad: Kernel(t.mask_grad, "input_gradient"),
        GradAdd: Kernel(t.grad_add, "input_gradient"),
        Conv2dBwdInput: Kernel(t.conv2d_bwd_input, "input_gradient"),
        DepthwiseBwdInput: Kernel(t.depthwise_bwd_input, "input_gradient"),
        MulBwd: Kernel(t.mul_bwd, "input_gradient"),
        AvgPoolBwd: Kernel(t.avg_pool_bwd, "input_gradient"),
        MaxPoolBwd: Kernel(t.max_pool_bwd, "input_gradient"),
        MeanBwd: Kernel(t.mean_bwd, "input_gradient"),
        LutBwd: Kernel(t.lut_bwd, "input_gradient"),
        LinearBwdInput: Kernel(t.linear_bwd_input, "input_gradient"),
        BiasGrad: Kernel(t.bias_grad, "weight_gradient"),
        Conv2dBwdWeight: Kernel(t.conv2d_bwd_weight, "weight_gradient"),
        DepthwiseBwdWeight: Kernel(t.depthwise_bwd_weight, "weight_gradient"),
        LinearBwdWeight: Kernel(t.linear_bwd_weight, "weight_gradient"),
        Rescaled: Kernel(i.rescaled, "input_gradient"),
        RowStep: Kernel(t.row_step, "weight_gradient"),
        Accumulate: Kernel(t.accumulate, "update"),
        SgdI8: Kernel(t.sgd_i8, "update"),
        SgdI32: Kernel(t.sgd_i32, "update"),
        SgdF32: Kernel(t.sgd_f32, "update"),
    }
)

_KERNELS: Mapping[type[Op], Kernel] = MappingProxyType({**_FORWARD, **_TRAINING})

_DSP: Mapping[type[Op], Kernel] = MappingProxyType(
    {
        Conv2d: Kernel(d.conv2d, scratch=d.conv2d_scratch),
        DepthwiseConv2d: Kernel(d.depthwise_conv2d, scratch=d.depthwise_scratch),
        Add: Kernel(d.add),
        Rescaled: Kernel(g.rescaled, "input_gradient", g.rescaled_scratch, d.is_by_channel),
        Conv2dBwdWeight: Kernel(w.conv2d_bwd_weight, "weight_gradient", w.gradient_scratch),
        RowStep: Kernel(w.row_step, "weight_gradient", w.step_scratch),
    }
)
_PREPARED = frozenset(  # take other arguments
    {
        "te_add_s8_dsp",
        "te_conv2d_s8_dsp",
        "te_conv2d_s8_bwd_weight_s16_dsp",
        "te_conv2d_s8_bwd_weight_s8_dsp",
    }
)

_VARIANTS: Mapping[Variant, Mapping[type[Op], Kernel]] = MappingProxyType(
    {"portable": MappingProxyType({}), "dsp": _DSP, "mve": MappingProxyType({})}
)


def kernel_of(op: Op, variant: Variant = "portable") -> Kernel:
    """Return how `op` is called on a core of this kind; the format of gradients shows in the
    types of its operands.

    Raises:
        InternalError: no kernel (Quantize never reaches a device: the host quantises).
    """
    found = _KERNELS.get(type(op))
    if found is None:
        raise InternalError(f"operator '{op.kind}' has no kernel")
    return _VARIANTS[variant].get(type(op), found)


def scratch_for(variant: Variant) -> Scratch:
    """Return what tells the planner how many bytes of scratch a node's kernel needs."""

    def scratch(op: Op, sig: Signature, data: Data) -> int:
        kernel = _VARIANTS[variant].get(type(op))
        return (kernel.scratch if kernel else op_scratch)(op, sig, data)

    return scratch


def kernels_for(variant: Variant) -> Kernels:
    """Return what the planner must know of the kernels of a core of this kind."""

    def by_channel(op: Op, sig: Signature, data: Data) -> bool:
        kernel = _VARIANTS[variant].get(type(op))
        return kernel is not None and kernel.by_channel(op, sig, data)

    return Kernels(scratch_for(variant), by_channel)


def phase_of(graph: Graph, node: Node) -> Phase:
    """Return the phase of a training step that a node belongs to."""
    phase = kernel_of(node.op).phase
    if phase != "forward":
        return phase
    if node.layer == LOSS_LAYER:
        return "loss"
    # reshapes, crops and gathers serve both directions
    back = graph.values[node.outputs[0]].role is Role.GRADIENT
    return "input_gradient" if back else "forward"


def source_of(function: str) -> Path:
    """Return the C file that defines a kernel."""
    kernels = firmware_dir() / "kernels"
    portable = kernels / f"{function}.c"
    return portable if portable.is_file() else kernels / "arm" / f"{function}.c"


def twin_of(function: str, variant: Variant) -> str:
    """Return the name of a kernel's twin for this kind of core, or the kernel's where none is.

    A twin calls the portable kernel where it has nothing better, so both belong to a model.
    """
    twin = f"{function}_{variant}"
    return twin if twin not in _PREPARED and source_of(twin).is_file() else function


def variant_for(features: tuple[str, ...]) -> Variant:
    """Return the fastest variant that a core with these features runs."""
    return "mve" if "mve" in features else "dsp" if "dsp" in features else "portable"
