"""Attach the update rule: every gradient becomes the next value of its tensor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyengine.ir.graph import Builder, Graph, Node
from tinyengine.ir.tensor import Array, DType, Role, TensorType
from tinyengine.ops.conv2d import WEIGHT, Conv2d, X
from tinyengine.ops.depthwise import DepthwiseConv2d
from tinyengine.ops.op import Op
from tinyengine.ops.sgd import Accumulate, Rounding, SgdF32, SgdI8, SgdI32, tensor_key
from tinyengine.passes.integer import integer_parameters
from tinyengine.update.scheme import Learning

SCALARS = (("lr", DType.F32), ("seed", DType.U32), ("step", DType.U32))


def attach_update(graph: Graph, learning: Learning) -> Graph:
    """Add inputs lr, seed, step () and, for each (w, d_w), one SGD node and its state.

    State order, and so the order of the state hash: tensors as the forward graph first reads them,
    each followed by its fraction (master16) and its accumulated gradient; then the exponents of
    integer gradients as the backward graph makes them.
    """
    b = Builder(graph.name, graph)
    exponents, b.updates = b.updates, []
    scalars = tuple(b.input(name, TensorType((), dtype)) for name, dtype in SCALARS)
    users, sums = graph.consumers(), integer_parameters(graph)
    order = {name: i for i, node in enumerate(graph.nodes) for name in reversed(node.inputs)}
    for w, g in sorted(graph.gradients, key=lambda pair: _first_use(graph, pair[0], order)):
        reader = next(n for n in users[w] if b.values[n.outputs[0]].role is Role.ACTIVATION)
        _Update(b, learning, reader, scalars, sums.get(g)).attach(w, g)
    b.updates += exponents
    b.gradients = []
    return b.build()


def _first_use(graph: Graph, name: str, order: dict[str, int]) -> tuple[int, int]:
    for index, node in enumerate(graph.nodes):
        if name in node.inputs:
            return index, node.inputs.index(name)
    return len(order), 0


class _Update:
    """Builds the update of one tensor.

    reader: the forward node that uses it. exponent: that of its gradient, if an int32 sum.
    """

    def __init__(
        self,
        b: Builder,
        learning: Learning,
        reader: Node,
        scalars: tuple[str, ...],
        exponent: str | None,
    ) -> None:
        self.exponent = (exponent,) if exponent else ()
        self.b, self.learning, self.reader, self.scalars = b, learning, reader, scalars
        self.every = learning.scheme.accumulate

    def attach(self, w: str, g: str) -> None:
        op, ratio = self._rule(w, g)
        states = [w]
        if isinstance(op, SgdI8) and op.rounding == Rounding.MASTER16.value:
            zeros = np.zeros(self.b.type(w).shape, np.int8)
            states.append(self.b.constant(f"{w}.fraction", zeros, DType.I8, role=Role.STATE))
        summed = self._accumulated(w, g)
        exponent = () if summed else self.exponent  # accumulated sums are float32
        inputs = (w, summed or g, self._ratio(w, ratio), *self.scalars, *states[1:], *exponent)
        outs = [(f"{s}.next", self.b.type(s)) for s in states]
        nexts = self.b.node(op, inputs, outs, self.reader.layer, Role.GRADIENT)
        self.b.updates += zip(states, nexts, strict=True)
        if summed:
            self.b.updates.append((f"{w}.sum", summed))

    def _accumulated(self, w: str, g: str) -> str | None:
        if self.every == 1:
            return None
        type_ = replace(self.b.type(g), dtype=DType.F32)
        zeros = np.zeros(type_.shape, np.float32)
        total = self.b.constant(f"{w}.sum", zeros, DType.F32, type_.quant, Role.STATE)
        inputs = (total, g, self.scalars[2], *self.exponent)
        out = [(f"{w}.sum.next", type_)]
        op = Accumulate(self.every)
        return self.b.node(op, inputs, out, self.reader.layer, Role.GRADIENT)[0]

    def _ratio(self, w: str, ratio: Array) -> str:
        mean = np.asarray(ratio, np.float64) / self.every
        return self.b.constant(f"{w}.ratio", mean.astype(np.float32), DType.F32)

    def _rule(self, w: str, g: str) -> tuple[Op, Array]:
        """The operator and ratio = gradient scale / parameter scale, per channel."""
        type_, rounding = self.b.type(w), self.learning.scheme.rounding.value
        if type_.dtype is DType.F32:
            return SgdF32(self.every), np.ones(1)
        conv = self.reader
        assert isinstance(conv.op, Conv2d | DepthwiseConv2d)
        x, weight = self.b.type(conv.inputs[X]), self.b.type(conv.inputs[WEIGHT])
        axis = 3 if isinstance(conv.op, DepthwiseConv2d) else 0
        assert weight.quant is not None
        scales = weight.quant.scales_of(weight.shape[axis]).astype(np.float64)
        if type_.dtype is DType.I32:
            return SgdI32(rounding, tensor_key(w), self.every), _inverse(scales * x.scale)
        channels = self.learning.weights[w]
        total = type_.shape[-1]
        frozen = f"{w}.frozen"
        if frozen in self.b.values:
            total += self.b.type(frozen).shape[-1]
        partial = len(channels) < total
        op = SgdI8(
            rounding,
            axis,
            tensor_key(w),
            channels if partial else (),
            total if partial else 0,
            self.every,
        )
        return op, _inverse(scales) * self.b.type(g).scale


def _inverse(scales: Array) -> Array:
    """1 / scale; 0 where the scale is 0 (a channel that is dead and stays so)."""
    return np.divide(1.0, scales, out=np.zeros_like(scales), where=scales > 0)
