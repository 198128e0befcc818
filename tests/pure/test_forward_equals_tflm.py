"""Every output and every intermediate tensor equals tflite-micro's bits."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cases import CASES, Case
from tests.tflm import Array, Reference
from tinyengine.exporters.tflite import export_tflite
from tinyengine.importers import load_model
from tinyengine.importers.net import Net
from tinyengine.importers.tflite import parse_tflite
from tinyengine.importers.tracer import Tensor
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import DType
from tinyengine.sim.run import run

RESNET8 = "data/models/ic_resnet8_int8.tflite"
VWW = "data/models/mcunet_vww_int8.tflite"
CHUNK = 125  # of the 1,000 inputs for a real model: one test each, so that workers share them


def random_inputs(graph: Graph, count: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    type_ = graph.type(graph.inputs[0])
    shape = (count, *type_.shape[1:])
    if type_.dtype is DType.I8:
        return rng.integers(-128, 128, shape, dtype=np.int8)
    return rng.uniform(-2.5, 2.5, shape).astype(np.float32)


def output(graph: Graph, x: Array, rows: int = 4) -> Array:
    """In small batches: what fits the cache is twice as fast."""
    parts = [x[i : i + rows] for i in range(0, len(x), rows)]
    name = graph.inputs[0]
    return np.concatenate([run(graph, {name: part})[graph.outputs[0]] for part in parts])


def assert_intermediates_equal(graph: Graph, data: bytes, x: Array) -> None:
    """Operator i's output is the value whose name ends in _i."""
    made = {int(m[1]): n for n in graph.values if (m := re.fullmatch(r"[a-z0-9_]+_(\d+)", n))}
    made = {i: n for i, n in made.items() if not n.startswith("constant_")}
    net = Reference(data, keep_all=True)
    for row in x:
        values = run(graph, {graph.inputs[0]: row[None]})
        wanted = net.intermediates(row[None])
        assert sorted(made) == list(range(len(wanted)))
        for index, array in enumerate(wanted):
            np.testing.assert_array_equal(values[made[index]], array, err_msg=made[index])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_small_nets_equal_on_1000_inputs(case: Case) -> None:
    graph = case.graph()
    data = export_tflite(graph)
    x = random_inputs(graph, 1000, seed=3)
    wanted = Reference(data).output(x)
    np.testing.assert_array_equal(output(graph, x, 250), wanted)
    again = parse_tflite(data, case.name)
    np.testing.assert_array_equal(output(again, x, 250), wanted)
    assert len(np.unique(wanted)) > 2, "the net says nothing"
    assert_intermediates_equal(again, data, x[:20])


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(8))
@pytest.mark.parametrize("file", [RESNET8, VWW])
def test_real_models_equal_on_1000_inputs(shared: Path, file: str, chunk: int) -> None:
    graph = load_model(str(shared / file))
    x = random_inputs(graph, CHUNK, seed=chunk)
    wanted = Reference((shared / file).read_bytes()).output(x)
    np.testing.assert_array_equal(output(graph, x), wanted)


@pytest.mark.parametrize("file", [RESNET8, VWW])
def test_real_models_equal_in_every_tensor(shared: Path, file: str) -> None:
    graph = load_model(str(shared / file))
    data = (shared / file).read_bytes()
    assert_intermediates_equal(graph, data, random_inputs(graph, 10, seed=99))


def test_vww_sees_ten_of_ten_persons(shared: Path) -> None:
    graph = load_model(str(shared / VWW))
    with np.load(shared / "data/vww_samples.npz") as stored:
        pictures, labels = stored["images"], stored["labels"]
    x = (pictures / 127.5).astype(np.float32)
    y = output(graph, x)
    np.testing.assert_array_equal(y, Reference((shared / VWW).read_bytes()).output(x))
    assert (y.argmax(axis=1) == labels).sum() == 10


def single(
    shape: tuple[int, ...], scale: float, zero: int, layer: Callable[[Net, Tensor], Tensor]
) -> Graph:
    net = Net("single")
    return net.graph(layer(net, net.input(shape, scale, zero)))


def assert_equal(graph: Graph, x: Array) -> None:
    np.testing.assert_array_equal(output(graph, x, 512), Reference(export_tflite(graph)).output(x))


def random_quants(seed: int, count: int, low: float, high: float) -> list[tuple[float, int]]:
    rng = np.random.default_rng(seed)
    scales, zeros = 2.0 ** rng.uniform(low, high, count), rng.integers(-128, 128, count)
    return [(float(s), int(z)) for s, z in zip(scales, zeros, strict=True)]


EVERY_CODE = np.arange(-128, 128, dtype=np.int8)[None]


def test_logistic_equals_at_300_scales() -> None:
    for scale, zero in random_quants(0, 300, -14, 5):
        assert_equal(single((256,), scale, zero, lambda t, x: t.logistic(x)), EVERY_CODE)


def test_softmax_equals_at_200_scales() -> None:
    rng = np.random.default_rng(1)
    for scale, zero in random_quants(1, 200, -14, 5):
        # The reference asserts that exponentials add up to less than 256.
        k = int(rng.choice([2, 3, 10, 100, 200] if scale < 0.1 else [2, 10, 1000]))
        beta = float(rng.choice([1.0, 0.5, 2.0]))
        x = rng.integers(-128, 128, (10, k), dtype=np.int8)
        x[5:] = np.clip(rng.normal(0, 20, (5, k)), -128, 127)

        def layer(t: Net, x: Tensor, beta: float = beta) -> Tensor:
            return t.softmax(x, beta=beta)

        assert_equal(single((k,), scale, zero, layer), x)


@pytest.mark.parametrize("function", ["quantize", "relu"])
def test_tables_equal_at_200_scales(function: str) -> None:
    outs = random_quants(3, 200, -9, 3)
    for (s, z), (s_out, z_out) in zip(random_quants(2, 200, -9, 3), outs, strict=True):

        def layer(t: Net, x: Tensor, s_out: float = s_out, z_out: int = z_out) -> Tensor:
            made = t.quantize if function == "quantize" else t.relu
            return made(x, scale=s_out, zero_point=z_out)

        assert_equal(single((256,), s, z, layer), EVERY_CODE)


def test_relu6_equals_at_100_scales() -> None:
    for scale, zero in random_quants(4, 100, -9, 3):
        assert_equal(single((256,), scale, zero, lambda t, x: t.relu6(x)), EVERY_CODE)


@pytest.mark.parametrize("kind", ["add", "mul"])
def test_add_and_mul_equal_at_200_scales(kind: str) -> None:
    """x and its requantised self, so that both operands have scales of their own."""
    rng = np.random.default_rng(5)
    other, out = random_quants(6, 200, -7, 1), random_quants(7, 200, -7, 1)
    for i, (scale, zero) in enumerate(random_quants(8, 200, -7, 1)):

        def layer(t: Net, x: Tensor, i: int = i) -> Tensor:
            y = t.transpose(t.reshape(x, (1, 16, 16, 1)), (0, 2, 1, 3))
            y = t.quantize(y, other[i][0], other[i][1])
            x = t.reshape(x, (1, 16, 16, 1))
            return (t.add if kind == "add" else t.mul)(x, y, scale=out[i][0], zero_point=out[i][1])

        x = rng.integers(-128, 128, (2, 256), dtype=np.int8)
        assert_equal(single((256,), scale, zero, layer), x)


def test_mean_equals_at_300_scales_and_sizes() -> None:
    rng = np.random.default_rng(9)
    out = random_quants(10, 300, -7, 1)
    for i, (scale, zero) in enumerate(random_quants(11, 300, -7, 1)):
        shape = (int(rng.integers(1, 12)), int(rng.integers(1, 12)), 3)
        own = i % 3 > 0
        first, last = [(1, 2), (2, 3), (2, 2), (1, 1)][i % 4]

        def layer(
            t: Net, x: Tensor, i: int = i, own: bool = own, axes: tuple[int, int] = (first, last)
        ) -> Tensor:
            scale = out[i][0] if own else None
            return t.mean(x, axes, scale=scale, zero_point=out[i][1], keep=i % 2 > 0)

        x = rng.integers(-128, 128, (8, *shape), dtype=np.int8)
        assert_equal(single(shape, scale, zero, layer), x)


def test_average_pool_equals_at_many_sizes() -> None:
    rng = np.random.default_rng(12)
    for i in range(100):
        shape = (int(rng.integers(3, 12)), int(rng.integers(3, 12)), 2)
        kernel = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        stride = int(rng.integers(1, 4))

        def layer(
            t: Net, x: Tensor, k: tuple[int, int] = kernel, s: int = stride, i: int = i
        ) -> Tensor:
            padding = "same" if i % 2 else "valid"
            return t.avg_pool(x, k, stride=s, padding=padding, activation="relu6")

        x = rng.integers(-128, 128, (8, *shape), dtype=np.int8)
        assert_equal(single(shape, 0.05, int(rng.integers(-128, 128)), layer), x)


def test_dense_equals_at_200_scales() -> None:
    """TFLite multiplies the scales of a fully connected layer in float32, of others in float64."""
    rng = np.random.default_rng(13)
    out = random_quants(14, 200, -5, 1)
    for i, (scale, zero) in enumerate(random_quants(15, 200, -7, 1)):
        weight = rng.integers(-127, 128, (8, 16)).astype(np.int8)
        w_scale = float(2.0 ** rng.uniform(-9, -4))

        def layer(t: Net, x: Tensor, w: Array = weight, s: float = w_scale, i: int = i) -> Tensor:
            return t.dense(x, weight=w, weight_scale=s, scale=out[i][0], zero_point=out[i][1])

        x = rng.integers(-128, 128, (16, 16), dtype=np.int8)
        assert_equal(single((16,), scale, zero, layer), x)


def test_quantize_rounds_ties_and_their_neighbours_as_the_reference() -> None:
    def net(t: Net) -> Tensor:
        x = t.input((64,), 0.1, 3, real=True)
        return t.relu(x)

    tracer = Net("border")
    graph = tracer.graph(net(tracer))
    rng = np.random.default_rng(16)
    halves = (rng.integers(-140, 140, (200, 64)) + 0.5).astype(np.float32) * np.float32(0.1)
    for x in (halves, np.nextafter(halves, np.float32(0)), np.nextafter(halves, np.float32(99))):
        assert_equal(graph, x)
