"""The meaning of a graph: evaluate its nodes in order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinyengine.errors import UserError
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array


def run(
    graph: Graph, inputs: Mapping[str, Array], state: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """Every value of the graph by name.

    inputs: one array per graph input. A forward graph also takes more rows than its batch of 1
    along axis 0 and gives as many rows back. state: current arrays of trainables and states, by
    name; those not given have the graph's own data.

    Raises:
        UserError: an input is missing or has the wrong shape.
    """
    values: dict[str, Array] = {n: v.data for n, v in graph.values.items() if v.data is not None}
    values.update(state or {})
    for name in graph.inputs:
        values[name] = _input(graph, name, inputs)
    for node in graph.nodes:
        results = node.op.evaluate(graph.signature(node), [values[n] for n in node.inputs])
        values.update(zip(node.outputs, results, strict=True))
    return values


def _input(graph: Graph, name: str, inputs: Mapping[str, Array]) -> Array:
    type_ = graph.type(name)
    if name not in inputs:
        raise UserError(f"input '{name}' of model '{graph.name}' was not given")
    array = np.asarray(inputs[name])
    if array.shape[1:] != type_.shape[1:] or array.ndim != len(type_.shape):
        raise UserError(f"input '{name}' has shape {array.shape}, the model wants {type_.shape}")
    return array.astype(type_.dtype.numpy)
