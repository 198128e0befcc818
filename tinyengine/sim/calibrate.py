"""How large gradients get: float32 backward passes on random samples, at the initial weights."""

from __future__ import annotations

import numpy as np

from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import DType, Role
from tinyengine.sim.gradcheck import complete, random_input, random_label
from tinyengine.sim.run import run

SAMPLES = 3
SEED = 20_000  # apart from the seeds of gradcheck and of tests


def largest_gradients(graph: Graph, samples: int = SAMPLES, seed: int = SEED) -> dict[str, float]:
    """The largest finite magnitude of every float32 gradient over random samples and labels."""
    found: dict[str, float] = {}
    names = [
        v.name for v in graph.with_role(Role.GRADIENT) if v.type.dtype is DType.F32 and v.type.shape
    ]
    for index in range(samples):
        inputs = random_input(graph, seed + index)
        values = run(graph, complete(graph, inputs, random_label(graph, seed + index)))
        for name in names:
            magnitude = np.abs(np.nan_to_num(values[name], nan=0.0, posinf=0.0, neginf=0.0))
            found[name] = max(found.get(name, 0.0), float(magnitude.max(initial=0.0)))
    return found
