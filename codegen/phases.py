"""Which phase of training each node belongs to: what profiles are grouped by."""

from __future__ import annotations

from typing import Literal, NamedTuple

from tinyengine.ir.graph import Node
from tinyengine.ir.tensor import Role
from tinyengine.ops.bias_grad import BiasGrad
from tinyengine.ops.conv2d import Conv2dBwdWeight
from tinyengine.ops.depthwise import DepthwiseBwdWeight
from tinyengine.ops.linear import LinearBwdWeight
from tinyengine.ops.loss import SoftmaxXent
from tinyengine.ops.row_step import RowStep
from tinyengine.ops.sgd import Accumulate, SgdF32, SgdI8, SgdI32
from tinyengine.plan.plan import Plan

Phase = Literal["forward", "loss", "input_gradient", "weight_gradient", "update"]

_WEIGHT = (BiasGrad, Conv2dBwdWeight, DepthwiseBwdWeight, LinearBwdWeight, RowStep)
_UPDATE = (Accumulate, SgdF32, SgdI8, SgdI32)


class Mark(NamedTuple):
    """One node between two marks of the generated code."""

    layer: str
    op: str
    phase: Phase


def phase_of(plan: Plan, node: Node) -> Phase:
    """The phase of a node. A row step (weight gradient and update in one) counts as the former."""
    if isinstance(node.op, SoftmaxXent):
        return "loss"
    if isinstance(node.op, _UPDATE):
        return "update"
    if isinstance(node.op, _WEIGHT):
        return "weight_gradient"
    role = plan.graph.values[node.outputs[0]].role
    return "forward" if role is Role.ACTIVATION else "input_gradient"


def marked_layers(plan: Plan) -> tuple[Mark, ...]:
    """One entry per node, in order: what runs between one `te_mark()` and the next."""
    return tuple(Mark(n.layer, n.op.kind, phase_of(plan, n)) for n in plan.graph.nodes)
