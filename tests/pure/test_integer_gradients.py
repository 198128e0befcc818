"""Integer gradients: close to the truth, adapted with delay, exact on a flat arena and pruned."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from codegen.cli import new_app
from codegen.cli import run as run_app
from codegen.commands import gradcheck
from tests.cases import Case
from tests.training import LR, TRAINABLE, compiled, everything, random_samples, scheme
from tinyengine.compiled import prepare
from tinyengine.importers import load_model
from tinyengine.ir import text
from tinyengine.ir.tensor import DType, Role
from tinyengine.ops import exponent, sgd
from tinyengine.ops.sgd import Rounding
from tinyengine.passes.integer import FORMATS, exponent_of
from tinyengine.sim.gradcheck import gradcheck_random
from tinyengine.sim.run import run
from tinyengine.sim.run_plan import FlatMachine
from tinyengine.sim.train import Trainer
from tinyengine.update.scheme import Scheme, load_scheme

FLOORS = {"s16": 0.99, "s8": 0.95}  # promised cosines
SCHEMES = {
    "everything": everything(head="int8"),
    "master16": everything(head="int8", rounding=Rounding.MASTER16),
    "accumulate": everything(head="int8", accumulate=3),
    "nearest": everything(head="int8", rounding=Rounding.NEAREST),
}


@pytest.mark.parametrize("gradients", FORMATS)
@pytest.mark.parametrize("name", ["49kb", "74kb", "99kb", "124kb", "148kb"])
def test_mcunet_gradients_keep_their_direction(shared: Path, name: str, gradients: str) -> None:
    model = load_model(str(shared / "data/models/mcunet-5fps.json"))
    update = replace(load_scheme(name), gradients=gradients)
    prepared = prepare(model, update, 10)
    for seed in range(2):
        report = gradcheck_random(prepared.gradients, seed)
        assert report.worst_cosine >= (0.9999 if gradients == "s16" else 0.99)
        assert abs(report.worst_norm_ratio - 1) < (0.002 if gradients == "s16" else 0.05)


@pytest.mark.parametrize("case", TRAINABLE, ids=lambda c: c.name)
def test_every_case_in_s16(case: Case) -> None:
    # nothing is cut between samples of one size of gradient
    prepared = prepare(case.graph(), everything(head="int8", gradients="s16"))
    report = gradcheck_random(prepared.gradients, seed=5)
    for tensor in report.tensors:
        assert tensor.cosine >= FLOORS["s16"], tensor


@pytest.mark.parametrize("gradients", FORMATS)
@pytest.mark.parametrize("update", SCHEMES)
@pytest.mark.parametrize("case", TRAINABLE, ids=lambda c: c.name)
def test_on_a_flat_arena(case: Case, update: str, gradients: str) -> None:
    plan = compiled(case, replace(SCHEMES[update], gradients=gradients)).train
    assert plan is not None
    assert text.parse(text.write(plan.graph)) == plan.graph
    machine, trainer = FlatMachine(plan), Trainer(plan.graph, LR, seed=5)
    for step, (x, label) in enumerate(random_samples(plan.graph, 4)):
        scalars = (x, np.uint32(label), np.float32(LR), np.uint32(5), np.uint32(step))
        loss = machine.run(dict(zip(plan.graph.inputs, scalars, strict=True)))
        assert trainer.step(x, label) == float(loss[plan.graph.outputs[0]])
        for name, array in trainer.state().items():
            assert np.array_equal(machine.state[name], array), (step, name)


@pytest.mark.parametrize("gradients", FORMATS)
def test_pruned_gradients_are_those_of_the_full_graph(shared: Path, gradients: str) -> None:
    model = load_model(str(shared / "data/models/mcunet-5fps.json"))
    update = replace(load_scheme("49kb"), gradients=gradients)
    everything_ = replace(load_scheme("full"), head=update.head, gradients=gradients)
    full, pruned = prepare(model, everything_, 10).gradients, prepare(model, update, 10)
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (1, 128, 128, 3)).astype(np.int8)
    inputs = {full.inputs[0]: x, "label": np.uint32(3)}
    whole, part = run(full, inputs), run(pruned.gradients, inputs)
    of = dict(full.gradients)
    for weight, gradient in pruned.gradients.gradients:
        expected = whole[of[weight]]
        channels = pruned.learning.weights.get(weight)
        if channels is not None and len(channels) < expected.shape[-1]:
            expected = expected[..., list(channels)]
        assert np.array_equal(part[gradient], expected), weight
    for state, following in pruned.gradients.updates:
        name = state.replace(".ordered", "")
        assert np.array_equal(part[following], whole[dict(full.updates)[name]]), state


def test_activations_gradients_shrink(shared: Path) -> None:
    model = load_model(str(shared / "data/models/mcunet-5fps.json"))
    for gradients, size in (("s16", 2), ("s8", 1)):
        prepared = prepare(model, replace(load_scheme("49kb"), gradients=gradients), 10)
        graph = prepared.gradients
        masked = [n.outputs[0] for n in graph.nodes if n.op.kind == "mask_grad"]
        assert masked
        for name in masked:
            assert graph.type(name).nbytes == size * graph.type(name).count
            assert graph.values[exponent_of(graph, name)].role is Role.GRADIENT


def test_exponent_grows_at_once_and_shrinks_after_sixteen_steps() -> None:
    state = exponent.initial_state(0.75 * 2.0**-3, DType.I16)
    assert state >> 4 == -3 - 14
    grown = exponent.next_state(state, 0x7FFF, DType.I16)  # 15 bits where 14 are wanted
    assert grown >> 4 == -16
    steps = 0
    while grown >> 4 == -16:
        grown, steps = exponent.next_state(grown, 0x3FFF >> 2, DType.I16), steps + 1
    assert steps == 16
    assert exponent.next_state(state, 0, DType.I16) == state
    low, high = exponent.LOWEST << 4, (exponent.HIGHEST << 4) + 15
    assert exponent.next_state(low + 15, 1, DType.I8) == low + 15
    assert exponent.next_state(high, 2**31 - 1, DType.I8) == high


def test_no_gradient_leaves_the_exponent(shared: Path) -> None:
    plan = compiled(TRAINABLE[0], everything(head="int8", gradients="s8")).train
    assert plan is not None
    zero = {v.name: np.array(v.require_data()) for v in plan.graph.state()}
    names = [n for n in zero if n.endswith(".exponent")]
    assert names
    assert list(zero)[-len(names) :] == names  # behind what learns


@pytest.mark.parametrize("rounding", list(Rounding))
def test_step_is_the_exact_product_rounded(rounding: Rounding) -> None:
    rng = np.random.default_rng(0)
    g = rng.integers(-(2**31), 2**31, 400) >> rng.integers(0, 31, 400)
    rate = (10.0 ** rng.uniform(-8, 8, 400) * rng.choice([-1, 1], 400)).astype(np.float32)
    random = rng.integers(0, 2**32, 400, dtype=np.uint32)
    for e in (-100, -40, -17, -3, 0, 9, 30):
        found = sgd.exact_step(g.astype(np.int32), rate, e, rounding, random)
        for i in range(400):
            real = -Fraction(int(g[i])) * Fraction(float(rate[i])) * Fraction(2) ** e
            if rounding is Rounding.STOCHASTIC:
                low = real.__floor__()
                allowed = {low, low + (real != low)}
            else:
                away = abs(real) + Fraction(1, 2)
                allowed = {away.__floor__() * (1 if real > 0 else -1)}
            assert int(found[i]) in {min(max(a, -(2**31)), 2**31 - 1) for a in allowed}


def test_stochastic_step_is_right_on_average() -> None:
    bits = np.arange(0, 2**32, 2**16, dtype=np.uint64).astype(np.uint32)
    g, rate = np.full(len(bits), 3, np.int32), np.full(len(bits), 0.1, np.float32)
    step = sgd.exact_step(g, rate, 0, Rounding.STOCHASTIC, bits)
    assert set(step.tolist()) == {-1, 0}
    assert abs(step.mean() + 0.3) < 1e-4


def test_rates_that_are_no_numbers_move_nothing() -> None:
    rate = np.array([np.nan, np.inf, -np.inf, 0.0, 1e-40], np.float32)
    g = np.full(5, 2**31 - 1, np.int32)
    assert not sgd.exact_step(g, rate, 30, Rounding.NEAREST).any()


@pytest.mark.parametrize("gradients", FORMATS)
def test_training_converges_as_with_float32(gradients: str) -> None:
    losses = {}
    for name in ("f32", gradients):
        plan = compiled(TRAINABLE[0], everything(head="int8", gradients=name)).train
        assert plan is not None
        trainer = Trainer(plan.graph, 0.02, seed=1)
        samples = random_samples(plan.graph, 4, seed=2)
        losses[name] = [trainer.step(*samples[i % 4]) for i in range(60)]
    first, last = np.mean(losses[gradients][:4]), np.mean(losses[gradients][-4:])
    assert last < 0.7 * first
    assert abs(last - np.mean(losses["f32"][-4:])) < 0.3 * first


def test_scheme_without_gradient_format_stays_float32() -> None:
    assert Scheme("x").gradients == "f32"
    plain, same = (prepare(TRAINABLE[0].graph(), scheme(head="int8")).gradients for _ in range(2))
    assert plain == same


CASES_FILE = Path(__file__).parents[1] / "cases.py"


@pytest.mark.parametrize("gradients", ["f32", "s16", "s8"])
def test_gradcheck_takes_another_format(
    gradients: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, f"{CASES_FILE}:residual", "--gradients", gradients, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["worst_cosine"] > {"f32": 1 - 1e-9, "s16": 0.9999, "s8": 0.95}[gradients]
    assert (report["worst_cosine"] > 1 - 1e-9) == (gradients == "f32")


def test_gradcheck_refuses_a_format_that_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, f"{CASES_FILE}:residual", "--gradients", "s4") == 1
    assert "gradient format 's4' is not one of f32, s16, s8" in capsys.readouterr().err


def called(monkeypatch: pytest.MonkeyPatch, model: str, *arguments: str) -> object:
    app = new_app("test")
    app.command("gradcheck")(gradcheck.command)
    app.command("other")(gradcheck.command)  # one command alone would need no name
    argv = ["tool", "gradcheck", model, "--update", "bias", *arguments]
    monkeypatch.setattr("sys.argv", argv)
    with pytest.raises(SystemExit) as end:
        run_app(app)
    return end.value.code
