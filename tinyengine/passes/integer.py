"""Bring gradients to int16 or int8: every float32 gradient node becomes its integer form.

Runs on a pruned graph with float32 gradients, so there is one definition of what a gradient is.
Names stay. Softmax, loss and a float32 head keep float32; their gradient enters the integer world
through `quantize_grad`. Gradients of weights and biases become int32 sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from tinyengine.errors import InternalError
from tinyengine.ir.graph import Builder, Graph, Node, retain
from tinyengine.ir.tensor import DType, Quant, Role, TensorType, Value
from tinyengine.ops import fixed
from tinyengine.ops.bias_grad import BiasGrad
from tinyengine.ops.conv2d import Conv2dBwdInput, Conv2dBwdWeight, weight_gradient_type
from tinyengine.ops.depthwise import DepthwiseBwdInput, DepthwiseBwdWeight
from tinyengine.ops.exponent import EXPONENT, GradientOp, fixed_scales, initial_state
from tinyengine.ops.layout import Crop, GatherChannels, Reshape, Transpose
from tinyengine.ops.lut import LutBwd
from tinyengine.ops.mask import MaskGrad
from tinyengine.ops.rescaled import QuantizeGrad, Rescaled

FORMATS = MappingProxyType({"s16": DType.I16, "s8": DType.I8})
_MOVES = (MaskGrad, Reshape, Transpose, Crop, GatherChannels)
_SUMS = (Conv2dBwdWeight, DepthwiseBwdWeight)


def integer_gradients(graph: Graph, dtype: DType, largest: Mapping[str, float]) -> Graph:
    """The graph with gradients of `dtype` (I16 or I8).

    largest: the magnitude that each float32 gradient is expected to reach, by value name: it gives
    the exponents of the first step.
    """
    work = _Integers(graph, dtype, largest)
    for node in graph.nodes:
        work.convert(node)
    made = work.b.build()
    return retain(made, made.roots())


def exponent_of(graph: Graph, gradient: str) -> str:
    """The value that holds the exponent of an integer gradient, or of an int32 sum of one."""
    producers = graph.producers()
    name = gradient
    while name in producers:
        node = producers[name]
        if isinstance(node.op, Rescaled):
            return node.outputs[1]
        name = node.inputs[0]
    raise InternalError(f"gradient '{gradient}' has no exponent")


class _Integers:
    """The graph in the making. `exponents`: integer gradient -> its exponent's value."""

    def __init__(self, graph: Graph, dtype: DType, largest: Mapping[str, float]) -> None:
        self.graph, self.dtype, self.largest = graph, dtype, largest
        self.b = Builder(graph.name, graph)
        self.b.nodes = []
        self.exponents: dict[str, str] = {}
        self.parameters = {g for _, g in graph.gradients}

    def convert(self, node: Node) -> None:
        """Append the node, or its integer form."""
        op = node.op
        if isinstance(op, _MOVES):
            self._move(node)
        elif isinstance(op, _SUMS) or (
            isinstance(op, BiasGrad) and node.outputs[0] in self.parameters
        ):
            self._sum(node)
        elif isinstance(op, GradientOp):
            ins = tuple(self._integer(d, node.layer) for d in node.inputs[: op.gradients])
            constants = self._constants(node)
            self._rescaled(op, ins, constants, node.outputs[0], node.layer)
        else:
            self.b.nodes.append(node)

    def _move(self, node: Node) -> None:
        """Masks and layout keep their input's format and exponent."""
        d, out = node.inputs[0], node.outputs[0]
        if isinstance(node.op, MaskGrad):
            d = self._integer(d, node.layer)
        self.b.nodes.append(replace(node, inputs=(d, *node.inputs[1:])))
        if d in self.exponents:
            self._retype(out, replace(self.b.type(out), dtype=self.dtype))
            self.exponents[out] = self.exponents[d]

    def _sum(self, node: Node) -> None:
        """The gradient of a weight or bias: an int32 sum with the exponent of what it sums."""
        d, out = self._integer(node.inputs[0], node.layer), node.outputs[0]
        self.b.nodes.append(replace(node, inputs=(d, *node.inputs[1:])))
        shape = self.b.type(out).shape
        if isinstance(node.op, BiasGrad):
            self._retype(out, TensorType(shape, DType.I32))
        else:
            x = self.b.type(node.inputs[1])
            self._retype(out, weight_gradient_type(shape, self.b.type(d), x))

    def _retype(self, name: str, type_: TensorType) -> None:
        self.b.values[name] = Value(name, type_, Role.GRADIENT)

    def _integer(self, d: str, layer: str) -> str:
        """An integer gradient as it is; a float32 one is quantised, once."""
        if d in self.exponents:
            return d
        name = f"{d}.int"
        if name not in self.exponents:
            self.b.value(name, TensorType(self.b.type(d).shape, DType.F32), Role.GRADIENT)
            self._rescaled(QuantizeGrad(), (), (d,), name, layer, d)
        return name

    def _rescaled(
        self,
        op: GradientOp,
        incoming: tuple[str, ...],
        others: tuple[str, ...],
        out: str,
        layer: str,
        like: str | None = None,
    ) -> None:
        """Append op(incoming..., others...) -> out with an exponent and a state of its own."""
        first = initial_state(self.largest[like or out], self.dtype)
        data = np.array([first], np.int32)
        state = self.b.constant(f"{out}.exponent", data, DType.I32, role=Role.STATE)
        e = self.b.value(f"{out}.e", EXPONENT, Role.GRADIENT)
        following = self.b.value(f"{out}.exponent.next", EXPONENT, Role.GRADIENT)
        self._retype(out, TensorType(self.b.type(out).shape, self.dtype))
        exponents = tuple(self.exponents[d] for d in incoming)
        inputs = (*incoming, *others, *exponents, state)
        self.b.nodes.append(Node(Rescaled(op), inputs, (out, e, following), layer))
        self.b.updates.append((state, following))
        self.exponents[out] = e

    def _constants(self, node: Node) -> tuple[str, ...]:
        """Inputs of a gradient operator behind its gradients; float tables in integers."""
        rest = node.inputs[node.op.gradients :]  # type: ignore[attr-defined]
        if isinstance(node.op, Conv2dBwdInput):
            weight, scale, *frozen = rest
            return weight, self._fixed(scale), *frozen
        if isinstance(node.op, LutBwd):
            return rest[0], self._fixed(rest[1])
        if isinstance(node.op, DepthwiseBwdInput):
            return rest[0], *self._multipliers(rest[1])
        return rest

    def _fixed(self, name: str) -> str:
        """A float32 constant as int16 times a unit."""
        made = f"{name}.i16"
        if made not in self.b.values:
            data, unit = fixed_scales(self.graph.values[name].require_data())
            self.b.constant(made, data, DType.I16, Quant.per_tensor(unit))
        return made

    def _multipliers(self, name: str) -> tuple[str, str]:
        """A float32 constant as multipliers and shifts."""
        names = (f"{name}.multiplier", f"{name}.shift")
        if names[0] not in self.b.values:
            real = self.graph.values[name].require_data()
            pairs = [fixed.quantise_multiplier(float(s)) for s in real]
            for made, column in zip(names, zip(*pairs, strict=True), strict=True):
                self.b.constant(made, np.array(column, np.int32), DType.I32)
        return names


def integer_parameters(graph: Graph) -> dict[str, str]:
    """Gradient of a weight or bias -> its exponent's value, where it is an int32 sum."""
    sums = [g for _, g in graph.gradients if graph.type(g).dtype is DType.I32]
    return {g: exponent_of(graph, g) for g in sums}
