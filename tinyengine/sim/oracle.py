"""Gradients of the dequantised network by float64 automatic differentiation.

An independent statement of what `passes/backward.py` must give: every forward operator is written
here once more, on real values, and `autograd` differentiates the whole network. Nothing of any
operator's `backward` is used; integer values of the simulator enter as constants only.

A quantised output y is written as  mask * linear + constant,  constant = y - mask * linear:
its value is the simulator's, its derivative that of the real function where y is strictly inside
its range and zero where it is saturated (straight-through, DESIGN section 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as onp

from tinyengine.errors import InternalError
from tinyengine.ir.graph import Graph, Node
from tinyengine.ir.tensor import Array, DType, Role, dequantise
from tinyengine.ops.loss import SoftmaxXent
from tinyengine.sim import real


@dataclass(frozen=True, slots=True)
class Truth:
    """Loss and the gradient of each trainable's real value, all float64."""

    loss: float
    gradients: dict[str, Array]


def gradients(graph: Graph, values: Mapping[str, Array], label: int) -> Truth:
    """Differentiate the softmax cross-entropy of `graph` with respect to every trainable.

    graph: holds the forward nodes and one SoftmaxXent (what `backward` and later passes make).
    values: every value of one simulator run of it, from `sim.run`. label: the class.
    """
    from autograd import value_and_grad

    nodes = forward_nodes(graph)
    logits = loss_node(graph).inputs[0]

    def loss(parameters: dict[str, Any]) -> Any:
        logit_values = evaluate(graph, nodes, values, parameters)[logits]
        return cross_entropy(logit_values, label)

    value, grads = value_and_grad(loss)(parameters_of(graph, nodes, values))
    return Truth(float(value), dict(grads))


def loss_node(graph: Graph) -> Node:
    """The one node that computes the loss.

    Raises:
        InternalError: there is none; the graph is not a training graph.
    """
    found = [node for node in graph.nodes if isinstance(node.op, SoftmaxXent)]
    if len(found) != 1:
        raise InternalError(f"graph '{graph.name}' has {len(found)} losses; gradcheck needs one")
    return found[0]


def forward_nodes(graph: Graph) -> list[Node]:
    """The nodes between the trainable tensors and the loss, in order."""
    needed = {loss_node(graph).inputs[0]}
    before: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            before.append(node)
            needed.update(node.inputs)
    reached = {value.name for value in graph.with_role(Role.TRAINABLE)}
    path: list[Node] = []
    for node in reversed(before):
        if reached.intersection(node.inputs):
            path.append(node)
            reached.update(node.outputs)
    return path


def parameters_of(graph: Graph, nodes: list[Node], values: Mapping[str, Array]) -> dict[str, Array]:
    """Real values of all trainable tensors that `nodes` read, float64."""
    found: dict[str, Array] = {}
    for node in nodes:
        for index, name in enumerate(node.inputs):
            if graph.values[name].role is Role.TRAINABLE:
                found[name] = real_operand(graph, node, index, values[name])
    return found


def real_operand(graph: Graph, node: Node, index: int, stored: Array) -> Array:
    """The real value of a node's input: a bias has the scale of input times weight."""
    name = node.inputs[index]
    if index == real.BIAS and graph.type(name).dtype is DType.I32:
        scale = graph.type(node.inputs[0]).scale
        weight = graph.type(node.inputs[1]).quant
        assert weight is not None
        return onp.asarray(stored, onp.float64) * (scale * onp.asarray(weight.scale))
    return dequantise(graph.type(name).quant, stored)


def evaluate(
    graph: Graph, nodes: list[Node], values: Mapping[str, Array], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Real values of the outputs of `nodes`; differentiable in `parameters`."""
    known: dict[str, Any] = dict(parameters)
    for node in nodes:
        operands = [
            known[n] if n in known else real_operand(graph, node, i, values[n])
            for i, n in enumerate(node.inputs)
        ]
        sig = graph.signature(node)
        stored = [values[n] for n in node.inputs]
        linear = real.forward(node.op, sig, operands, stored)
        name = node.outputs[0]
        if sig.outs[0].dtype is DType.I8:
            bounds = real.cut(node.op, sig)
            linear = straight_through(linear, values[name], graph.type(name).quant, bounds)
        known[name] = linear
    return known


def straight_through(linear: Any, stored: Array, quant: Any, bounds: tuple[int, int] | None) -> Any:
    """The simulator's value with the derivative of `linear`, cut outside `bounds`."""
    from autograd.tracer import getval

    mask = onp.ones(())
    if bounds is not None:
        mask = ((stored > bounds[0]) & (stored < bounds[1])).astype(onp.float64)
    return mask * linear + (dequantise(quant, stored) - mask * getval(linear))


def cross_entropy(logits: Any, label: int) -> Any:
    """-log softmax(logits)[label], logits (1, n) float64."""
    import autograd.numpy as np

    row = np.reshape(logits, (-1,))
    shifted = row - np.max(row)
    return np.log(np.sum(np.exp(shifted))) - shifted[label]
