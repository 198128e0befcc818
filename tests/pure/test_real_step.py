"""An update is gradient descent on real values: w - lr * dL/dw, whatever the scales.

The truth is float64: the gradient by automatic differentiation (`sim/oracle.py`), the step by the
formula. No ratio, rounding or averaging of `passes/update.py` or `ops/sgd.py` is used.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.cases import Case
from tests.training import TRAINABLE, everything, random_samples
from tinyengine.compiled import compile_graph, prepare
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.ops.sgd import Rounding
from tinyengine.sim import oracle
from tinyengine.sim.gradcheck import complete
from tinyengine.sim.run import run
from tinyengine.sim.train import Trainer, model_state
from tinyengine.update.scheme import Scheme

LR = 0.3
RULES = {
    "nearest": everything(rounding=Rounding.NEAREST),
    "int8-head": everything(head="int8", rounding=Rounding.NEAREST),
    "accumulate": everything(head="int8", rounding=Rounding.NEAREST, accumulate=3),
    "master16": everything(head="int8", rounding=Rounding.MASTER16, accumulate=2),
}


def true_gradients(graph: Graph, state: dict[str, Array], x: Array, label: int) -> dict[str, Array]:
    """Gradient of each trainable's real value, shaped like it."""
    inputs = complete(graph, {graph.inputs[0]: x}, label)
    found = oracle.gradients(graph, run(graph, inputs, state), label).gradients
    return {name: found[name].reshape(graph.type(name).shape) for name in state}


def step_size(type_: TensorType, array: Array) -> Array:
    """How far one unit of the stored number is in real terms, broadcast to the tensor."""
    if type_.dtype is DType.F32:
        return np.ones(type_.shape)
    assert type_.quant is not None
    shape = [1] * len(type_.shape)
    shape[type_.quant.axis or 0] = -1
    scale = np.array(type_.quant.scale, np.float64).reshape(shape)
    return np.broadcast_to(scale / (256 if array.dtype == np.int16 else 1), type_.shape)


def expect_step(type_: TensorType, old: Array, new: Array, gradient: Array) -> float:
    """Compare one tensor's move with the real step; the largest step in stored units."""
    old, new = old.reshape(type_.shape), new.reshape(type_.shape)
    step = -LR * gradient / step_size(type_, old)
    rounding = 0.0 if type_.dtype is DType.F32 else 0.5
    limit = {np.dtype(np.int8): 127, np.dtype(np.int16): 32639}.get(old.dtype, np.inf)
    inside = np.abs(old + step) < limit
    error = np.abs((new.astype(np.float64) - old) - step)[inside]
    assert (error <= rounding + 1e-6 + 1e-3 * np.abs(step)[inside]).all()
    return float(np.abs(step)[inside].max(initial=0.0))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("case", TRAINABLE, ids=lambda c: c.name)
def test_a_step_is_gradient_descent_on_real_values(case: Case, rule: str) -> None:
    scheme: Scheme = RULES[rule]
    gradients = prepare(case.graph(), scheme, seed=3).gradients
    made = compile_graph(case.graph(), scheme, seed=3)
    assert made.train is not None
    trainer = Trainer(made.train.graph, LR)
    names = [name for name, _ in gradients.gradients]
    largest = dict.fromkeys(names, 0.0)
    for samples in batches(made.train.graph, scheme.accumulate):
        before = model_state(made.train.graph, trainer.state())
        device = {name: trainer.state()[name] for name in names}
        sums = {name: np.zeros(gradients.type(name).shape) for name in names}
        for x, label in samples:
            for name, gradient in true_gradients(gradients, device, x, label).items():
                sums[name] += gradient / scheme.accumulate
            trainer.step(x, label)
        after = model_state(made.train.graph, trainer.state())
        for name in names:
            type_ = gradients.type(name)
            step = expect_step(type_, before[name], after[name], sums[name])
            largest[name] = max(largest[name], step)
    # steps of less than half a unit would prove nothing
    assert max(v for k, v in largest.items() if k.endswith("/bias")) > 2
    assert max(v for k, v in largest.items() if k.endswith("/weight")) > 0.5


def batches(graph: Graph, size: int) -> list[list[tuple[Array, int]]]:
    """Two updates' worth of samples."""
    samples = random_samples(graph, 2 * size)
    return [samples[:size], samples[size:]]
