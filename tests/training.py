"""Steps that every link of the chain repeats: schemes for small nets, random samples."""

from __future__ import annotations

import numpy as np

from tests.cases import CASES, Case
from tinyengine.compiled import Compiled, compile_graph
from tinyengine.importers import load_model
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array
from tinyengine.update.scheme import ALL, Scheme, load_scheme

TRAINABLE = tuple(case for case in CASES if case.trainable)
LR = 0.05


def scheme(**fields: object) -> Scheme:
    """A scheme under a test's own name."""
    return Scheme("test", **fields)  # type: ignore[arg-type]


def everything(**fields: object) -> Scheme:
    """All biases and weights, nearest rounding unless said otherwise."""
    return scheme(**{"biases": ALL, "every_weight": True, **fields})


def compiled(case: Case, update: Scheme, classes: int | None = None) -> Compiled:
    """A case through the whole pipeline."""
    return compile_graph(case.graph(), update, classes, seed=3)


def random_samples(graph: Graph, count: int, seed: int = 0) -> list[tuple[Array, int]]:
    """Random inputs of the graph's first input and random labels."""
    rng = np.random.default_rng(seed)
    shape = graph.type(graph.inputs[0]).shape
    classes = graph.type(graph.outputs[1]).shape[-1]
    return [
        (rng.integers(-128, 128, shape).astype(np.int8), int(rng.integers(classes)))
        for _ in range(count)
    ]


__all__ = [
    "LR",
    "TRAINABLE",
    "compiled",
    "everything",
    "load_model",
    "load_scheme",
    "random_samples",
    "scheme",
]
