"""The gradient check itself: exact graphs pass, every kind of mistake is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.cases import CASES, Case
from tests.graphs import Net, residual_net, window
from tinyengine.compiled import prepare
from tinyengine.errors import InternalError, UserError
from tinyengine.importers import load_model
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array
from tinyengine.ops.bias_grad import BiasGrad
from tinyengine.ops.conv2d import Conv2dBwdInput, Conv2dBwdWeight, unfold
from tinyengine.ops.depthwise import DepthwiseBwdInput
from tinyengine.ops.mask import MaskGrad
from tinyengine.ops.mean import MeanBwd
from tinyengine.ops.op import Op, Signature
from tinyengine.passes.backward import backward
from tinyengine.passes.fold import fold
from tinyengine.sim import oracle
from tinyengine.sim.gradcheck import (
    GradReport,
    TensorCheck,
    class_count,
    compare,
    gradcheck,
    gradcheck_random,
    random_input,
    random_label,
)
from tinyengine.sim.run import run
from tinyengine.update.scheme import load_scheme, parse_scheme

COSINE, RATIO = 1 - 1e-9, 1e-5  # far tighter than the 0.9999 and 0.5 % that are promised


def assert_right(report: GradReport) -> None:
    assert report.worst_cosine > COSINE, min(report.tensors, key=lambda t: t.cosine)
    assert abs(report.worst_norm_ratio - 1) < RATIO


@pytest.mark.parametrize("case", [c for c in CASES if c.trainable], ids=lambda c: c.name)
def test_every_case(case: Case) -> None:
    full = backward(fold(case.graph()))
    learns = {value.name for value in full.values.values() if value.role.value == "trainable"}
    for seed in range(2):
        report = gradcheck_random(full, seed)
        assert {t.name for t in report.tensors} == learns
        assert_right(report)


PART = """
[update]
biases = 3
head = "{head}"
[update.weights]
"expand" = 0.5
"project" = 0.25
"mix" = 1.0
"""


@pytest.mark.parametrize("head", ["float32", "int8", "frozen"])
def test_pruned_graphs_with_split_weights(head: str) -> None:
    case = next(c for c in CASES if c.name == "residual")
    graph = prepare(case.graph(), parse_scheme("part", PART.format(head=head))).gradients
    assert any(node.op.kind == "gather_channels" for node in graph.nodes)
    assert graph.type("expand/weight").shape == (12, 1, 1, 3)
    assert_right(gradcheck_random(graph, seed=4, samples=3))


@pytest.mark.parametrize("scheme", ["bias", "mcunet-5fps-49kb", "mcunet-5fps-99kb", "full"])
def test_mcunet(shared: Path, scheme: str) -> None:
    model = load_model(str(shared / "data/models/mcunet-5fps.json"))
    graph = prepare(model, load_scheme(scheme), classes=10).gradients
    report = gradcheck_random(graph, seed=1)
    assert_right(report)
    assert not any(t.both_zero for t in report.tensors)


@pytest.mark.parametrize("scheme", ["bias", "full"])
@pytest.mark.parametrize("file", ["ic_resnet8_int8.tflite", "mcunet_vww_int8.tflite"])
def test_tflite_models(shared: Path, file: str, scheme: str) -> None:
    model = load_model(str(shared / "data/models" / file))
    for head in (None, 10):
        assert_right(gradcheck_random(prepare(model, load_scheme(scheme), head).gradients, 1))


# What a wrong rule computes instead.
def raw_input(self: Conv2dBwdWeight, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
    d, x = ins
    columns = unfold(self.window, x[0].astype(np.float32))
    return ((d.reshape(-1, d.shape[3]).T @ columns).reshape(sig.outs[0].shape),)


def not_cut(self: Op, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
    return (ins[0],)


def wrong_by(factor: float, op: type[Op]) -> Callable[..., tuple[Array, ...]]:
    right = op.evaluate

    def evaluate(self: Op, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        (d,) = right(self, sig, ins)
        return (d * np.float32(factor),)

    return evaluate


@pytest.mark.parametrize(
    ("op", "mistake", "is_cosine"),
    [
        (Conv2dBwdWeight, raw_input, True),
        (MaskGrad, not_cut, True),
        (BiasGrad, wrong_by(-1, BiasGrad), True),
        (BiasGrad, wrong_by(1.01, BiasGrad), False),
        (MeanBwd, wrong_by(0.9, MeanBwd), False),
        (Conv2dBwdInput, wrong_by(1.01, Conv2dBwdInput), False),
        (DepthwiseBwdInput, wrong_by(2.0, DepthwiseBwdInput), False),
        (DepthwiseBwdInput, wrong_by(0.0, DepthwiseBwdInput), True),
    ],
    ids=["raw input", "mask", "sign", "bias scale", "mean", "conv scale", "depthwise", "nothing"],
)
def test_a_wrong_rule_is_found(
    monkeypatch: pytest.MonkeyPatch,
    op: type[Op],
    mistake: Callable[..., tuple[Array, ...]],
    is_cosine: bool,
) -> None:
    monkeypatch.setattr(op, "evaluate", mistake)
    report = gradcheck_random(backward(residual_net(2)))
    if is_cosine:
        assert report.worst_cosine < 0.9999
    else:
        assert abs(report.worst_norm_ratio - 1) > 0.005


def test_the_oracle_calls_no_gradient_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    full = backward(residual_net())
    values = run(full, {**random_input(full, 0), "label": np.uint32(2)})
    expected = oracle.gradients(full, values, 2)

    def forbidden(self: Op, *_: object) -> None:
        raise AssertionError(f"the oracle used operator '{self.kind}'")

    for node in full.nodes:
        monkeypatch.setattr(type(node.op), "evaluate", forbidden)
        monkeypatch.setattr(type(node.op), "backward", forbidden)
    again = oracle.gradients(full, {n: v for n, v in values.items() if n[:2] != "d_"}, 2)
    assert again.loss == expected.loss
    for name, gradient in expected.gradients.items():
        np.testing.assert_array_equal(again.gradients[name], gradient)


def test_the_oracle_moves_as_the_loss_of_its_own_network_does() -> None:
    """A float head has no rounding behind it: central differences of the whole loss."""
    full = backward(float_head())
    values = run(full, {**random_input(full, 0), "label": np.uint32(1)})
    truth = oracle.gradients(full, values, 1)
    nodes = oracle.forward_nodes(full)
    weights = oracle.parameters_of(full, nodes, values)
    logits = oracle.loss_node(full).inputs[0]
    for name in ("linear3/weight", "linear3/bias"):
        step = np.zeros(weights[name].size)
        step[3] = 1e-5
        step = step.reshape(weights[name].shape)
        ends = [
            oracle.cross_entropy(
                oracle.evaluate(full, nodes, values, {**weights, name: weights[name] + s})[logits],
                1,
            )
            for s in (step, -step)
        ]
        assert truth.gradients[name].ravel()[3] == pytest.approx((ends[0] - ends[1]) / 2e-5)
    assert truth.loss == pytest.approx(float(values["loss"]), rel=1e-5)


def float_head() -> Graph:
    net = Net(3)
    return net.graph(net.linear(net.mean(net.conv(net.input(4, 4, 2), 5, window(3))), 4))


def test_a_sample_the_model_is_sure_of() -> None:
    """Loss near zero: float32 must not lose the gradient's direction."""
    full = backward(fold(next(c for c in CASES if c.name == "dense").graph()))
    name = next(n for n, _ in full.gradients if n.endswith("/bias"))
    state = {name: np.array(full.values[name].require_data())}
    state[name][0] = 2**20
    sample = {**random_input(full, 0), "label": np.uint32(0)}
    values = run(full, sample, state)
    logits = values[oracle.loss_node(full).inputs[0]].astype(np.float64)
    d = values["d_logits"].ravel()
    e = np.exp(logits.ravel() - logits.max())
    expected = e / e.sum()
    expected[0] = -e[1:].sum() / e.sum()
    np.testing.assert_allclose(d, expected, rtol=1e-5)


def test_compare() -> None:
    a = np.array([3.0, 4.0])
    assert compare("w", a, a) == TensorCheck("w", 1.0, 1.0)
    half = compare("w", a / 2, a)
    assert (half.cosine, half.norm_ratio) == (pytest.approx(1), pytest.approx(0.5))
    assert compare("w", -a, a).cosine == pytest.approx(-1)
    tiny = compare("w", a * 1e-20, a * 1e-20)
    assert (tiny.cosine, tiny.norm_ratio) == (pytest.approx(1), pytest.approx(1))


def test_compare_with_zeros_and_nonsense() -> None:
    zero, a = np.zeros(2), np.array([1.0, 2.0])
    assert compare("w", zero, zero) == TensorCheck("w", 1.0, 1.0, both_zero=True)
    assert compare("w", zero, a * 1e-35) == TensorCheck("w", 1.0, 1.0, both_zero=True)
    for found, truth in ((zero, a), (a, zero), (a * np.nan, a), (a * np.inf, a)):
        assert compare("w", found, truth) == TensorCheck("w", 0.0, 0.0)


def test_report() -> None:
    checks = (TensorCheck("a/weight", 0.99, 1.2), TensorCheck("b/weight", 1.0, 0.5))
    report = GradReport(checks)
    assert (report.worst_cosine, report.worst_norm_ratio) == (0.99, 0.5)
    assert json.loads(json.dumps(report.as_json())) == {
        "tensors": [
            {"name": "a/weight", "cosine": 0.99, "norm_ratio": 1.2},
            {"name": "b/weight", "cosine": 1.0, "norm_ratio": 0.5},
        ],
        "worst_cosine": 0.99,
    }
    assert GradReport(()).as_json() == {"tensors": [], "worst_cosine": 1.0}


def test_random_samples_repeat() -> None:
    full = backward(residual_net())
    a, b, c = (random_input(full, seed)["x"] for seed in (0, 0, 1))
    assert a.dtype == np.int8
    assert (a == b).all()
    assert not (a == c).all()
    labels = {random_label(full, seed) for seed in range(40)}
    assert labels == set(range(class_count(full)))
    assert gradcheck_random(full, 7, 2) == gradcheck_random(full, 7, 2)


def test_labels_out_of_range_and_graphs_without_a_loss() -> None:
    full = backward(residual_net())
    sample = random_input(full, 0)
    for label in (-1, 5):
        with pytest.raises(UserError, match=rf"label {label} is not one of the 5 classes 0..4"):
            gradcheck(full, sample, label)
    with pytest.raises(UserError, match="input 'x' of model 'net' was not given"):
        gradcheck(full, {}, 0)
    with pytest.raises(InternalError, match="has 0 losses"):
        gradcheck_random(residual_net())
