"""How the demo's model is made: folding and quantisation keep what the float net computes."""

import numpy as np
import pytest

from bench_melt.demo.network import (
    LAYERS,
    fold_normalisation,
    folded_forward,
    initial,
    train_forward,
)
from bench_melt.demo.pretrain import BATCH, pretrain
from bench_melt.demo.quantise import quantise
from bench_melt.demo.watch import INPUT_QUANT, Windows
from tinyengine.exporters.tflite import export_tflite
from tinyengine.importers.tflite import parse_tflite
from tinyengine.ir.tensor import Array, dequantise
from tinyengine.ir.verify import Stage, verify
from tinyengine.sim.run import run


def sample(count: int) -> Array:
    """Smooth curves, as a watch would give."""
    rng = np.random.default_rng(3)
    steps = np.cumsum(rng.normal(0.0, 6.0, (count, 64, 1, 6)), axis=1)
    return np.clip(np.rint(steps), -128, 127).astype(np.int8)


@pytest.fixture(scope="module")
def folded() -> dict[str, Array]:
    """A random net whose running statistics are those of the sample."""
    parameters, _ = initial(seed=1)
    rng = np.random.default_rng(2)
    for layer in LAYERS:
        parameters[f"{layer.name}/gamma"] = rng.uniform(0.5, 1.5, layer.channels_out)
        parameters[f"{layer.name}/bias"] = rng.normal(0.0, 0.3, layer.channels_out)
    _, statistics = train_forward(parameters, dequantise(INPUT_QUANT, sample(32)[:, :, 0, :]))
    return fold_normalisation(parameters, statistics)


def test_folding_changes_nothing() -> None:
    parameters, _ = initial(seed=1)
    x = dequantise(INPUT_QUANT, sample(32)[:, :, 0, :])
    logits, statistics = train_forward(parameters, x)
    found = folded_forward(fold_normalisation(parameters, statistics), x)["classifier"]
    assert np.allclose(found, logits, atol=1e-5)


def test_quantised_net_computes_nearly_the_same(folded: dict[str, Array]) -> None:
    x = sample(32)
    graph = quantise(folded, x)
    verify(graph, Stage.IMPORT)
    expected = folded_forward(folded, dequantise(INPUT_QUANT, x[:, :, 0, :]))["classifier"]
    output = graph.outputs[0]
    found = dequantise(graph.type(output).quant, run(graph, {"x": x})[output]).reshape(32, 7)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


def test_the_file_computes_what_the_graph_does(folded: dict[str, Array]) -> None:
    x = sample(8)
    graph = quantise(folded, x)
    again = parse_tflite(export_tflite(graph), "gestures")
    expected = run(graph, {"x": x})[graph.outputs[0]]
    found = run(again, {again.inputs[0]: x})[again.outputs[0]]
    assert np.array_equal(found.reshape(8, 7), expected.reshape(8, 7))


def test_training_lowers_the_loss_and_repeats() -> None:
    x = sample(2 * BATCH)
    windows = Windows(x, (x[:, -1, 0, 0] > 0).astype(np.int64))
    lines: list[str] = []
    first = pretrain(windows, 3, 0, lines.append)
    losses = [float(line.split()[-1]) for line in lines]
    assert losses[-1] < losses[0]
    again = pretrain(windows, 3, 0, lines.append)
    assert all(np.array_equal(first[name], again[name]) for name in first)
