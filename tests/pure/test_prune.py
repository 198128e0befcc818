"""Pruned equals the masked full backward, bit for bit, and touches no other byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.cases import Case
from tests.training import LR, TRAINABLE, compiled, everything, random_samples, scheme
from tinyengine.compiled import compile_graph, prepare
from tinyengine.importers import load_model
from tinyengine.ir.tensor import Array
from tinyengine.ops.sgd import Rounding
from tinyengine.sim.run import run
from tinyengine.sim.train import Trainer, model_state
from tinyengine.update.scheme import Scheme, load_scheme, resolve


def one_step(graph: object, sample: tuple[Array, int], seed: int) -> dict[str, Array]:
    trainer = Trainer(graph, LR, seed)  # type: ignore[arg-type]
    trainer.step(*sample)
    return model_state(trainer.graph, trainer.state())


def masked(case: Case, update: Scheme) -> tuple[dict[str, Array], dict[str, Array], object]:
    """(as compiled, after one step of the full update) and the pruned training graph."""
    full = compiled(case, everything(head=update.head, rounding=update.rounding)).train
    pruned = compiled(case, update).train
    assert full is not None and pruned is not None
    start = model_state(full.graph, {v.name: v.require_data() for v in full.graph.state()})
    sample = random_samples(full.graph, 1, seed=4)[0]
    return start, one_step(full.graph, sample, 11), (pruned.graph, sample)


@pytest.mark.parametrize("rounding", list(Rounding))
@pytest.mark.parametrize("case", TRAINABLE, ids=lambda c: c.name)
def test_pruned_step_equals_masked_full_step(case: Case, rounding: Rounding) -> None:
    layers = [v.removesuffix("/weight") for v in _weights(case)]
    update = scheme(
        biases=1 if layers else 0,
        weights={layers[0]: 0.5} if layers else {},
        head="int8",
        rounding=rounding,
    )
    start, full, (graph, sample) = masked(case, update)
    learning = resolve(update, case_graph(case), head_of(case))
    pruned = one_step(graph, sample, 11)
    assert set(pruned) == learning.biases | set(learning.weights)
    for name, array in pruned.items():
        expected = np.array(full[name])
        if name in learning.weights:
            frozen = np.ones(expected.shape[-1], bool)
            frozen[list(learning.weights[name])] = False
            expected[..., frozen] = start[name][..., frozen]
        assert np.array_equal(array, expected), name


def case_graph(case: Case) -> object:
    return prepare(case.graph(), everything(head="int8")).forward


def head_of(case: Case) -> str | None:
    from tinyengine.compiled import find_head_layer

    return find_head_layer(case_graph(case))  # type: ignore[arg-type]


def _weights(case: Case) -> list[str]:
    full = compiled(case, everything(head="int8")).train
    assert full is not None
    head = head_of(case)
    names = [v.name for v in full.graph.state() if v.name.endswith("/weight")]
    return [n for n in names if n != f"{head}/weight"]


@pytest.mark.parametrize("name", ["49kb", "74kb", "99kb", "124kb", "148kb"])
def test_mcunet_schemes_prune_bit_for_bit(shared: Path, name: str) -> None:
    model = load_model(str(shared / "data/models/mcunet-5fps.json"))
    update = load_scheme(name)
    full = prepare(model, replace(load_scheme("full"), head=update.head), 10).gradients
    pruned = prepare(model, update, 10)
    rng = np.random.default_rng(0)
    inputs = {
        full.inputs[0]: rng.integers(-128, 128, (1, 128, 128, 3)).astype(np.int8),
        "label": np.uint32(3),
    }
    whole, part = run(full, inputs), run(pruned.gradients, inputs)
    gradients = dict(full.gradients)
    assert len(pruned.gradients.gradients) > 0
    for weight, gradient in pruned.gradients.gradients:
        expected = whole[gradients[weight]]
        channels = pruned.learning.weights.get(weight)
        if channels is not None and len(channels) < expected.shape[-1]:
            expected = expected[..., list(channels)]
        assert np.array_equal(part[gradient], expected), weight


def test_channels_that_learn_are_those_of_largest_norm(shared: Path) -> None:
    model = load_model(str(shared / "data/models/mcunet-5fps.json"))
    learning = prepare(model, load_scheme("49kb"), 10).learning
    weight = model.values["block9/pointwise1/weight"]
    scale = np.array(weight.type.quant.scale)[:, None, None, None]  # type: ignore[union-attr]
    norms = np.linalg.norm((weight.require_data() * scale).reshape(-1, 48), axis=0)
    chosen = learning.weights["block9/pointwise1/weight"]
    assert len(chosen) == 24
    assert min(norms[list(chosen)]) >= max(np.delete(norms, list(chosen)))


def test_49kb_learns_what_the_paper_says(shared: Path) -> None:
    model = load_model(str(shared / "data/models/mcunet-5fps.json"))
    compiled_ = compile_graph(model, load_scheme("49kb"), 10)
    learning = compiled_.learning
    assert len(learning.biases) == 20 + 1  # and the head's
    assert {w: len(c) for w, c in learning.weights.items()} == {
        "block8/pointwise1/weight": 12,
        "block9/pointwise1/weight": 24,
        "block10/pointwise1/weight": 24,
        "classifier/weight": 160,
    }


@pytest.mark.parametrize("classes", [None, 5])
def test_a_dense_weight_comes_back_in_the_files_shape(classes: int | None) -> None:
    case = next(c for c in TRAINABLE if c.name == "dense")
    graph = compiled(case, scheme(head="int8"), classes).train
    assert graph is not None
    state = {v.name: v.require_data() for v in graph.graph.state()}
    name = next(n for n in state if n.endswith("/weight"))
    assert model_state(graph.graph, state)[name].ndim == 2


def test_a_depthwise_bias_and_weight_keep_the_files_layout(shared: Path) -> None:
    model = load_model(str(shared / "data/models/mcunet-5fps.json"))
    update = scheme(biases=("block13/depthwise",), weights={"block13/depthwise": 1.0})
    plan = compile_graph(model, update, 10).train
    assert plan is not None
    state = model_state(plan.graph, {v.name: v.require_data() for v in plan.graph.state()})
    with np.load(shared / "data/models/mcunet-5fps.npz") as file:
        for name in ("block13/depthwise/weight", "block13/depthwise/bias"):
            assert np.array_equal(state[name], file[name])
