"""A network as a Python function: what it can say, and where its mistakes are shown."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cases import CASES
from tinyengine.errors import ModelError
from tinyengine.importers import choose, load_model
from tinyengine.importers.net import Net
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Quant, dequantise
from tinyengine.ir.text import write
from tinyengine.sim.run import run

SOURCE = """
def net(t):
    x = t.input((8, 8, 3), scale=1 / 128)
    x = t.conv(x, 4, kernel=3, stride=2, activation="relu", name="stem")
    x = t.add(x, t.depthwise(x, kernel=3))
    return t.dense(t.mean(x), 10, name="classifier")

def bad_stride(t):
    x = t.input((8, 8, 3))
    return t.conv(x, 4, stride=0, name="stem")

def divides(t):
    return 1 / 0

def forgets(t):
    t.input((8, 8, 3))

number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(SOURCE)
    return path


def test_a_net_in_a_few_lines(file: Path) -> None:
    before = set(sys.modules)
    graph = load_model(f"{file}:net")
    assert list(dict.fromkeys(n.layer for n in graph.nodes)) == [
        "stem",
        "depthwise_1",
        "add_2",
        "mean_3",
        "classifier",
    ]
    assert graph.name == "net" and graph.meta["source"] == "python"
    assert write(load_model(f"{file}:net")) == write(graph), "not reproducible"
    assert "tinyengine_user_model" not in set(sys.modules) - before
    assert not list(file.parent.glob("__pycache__")), "left something behind"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("bad_stride", r"nets.py', line 10: layer 'stem': kernel \(3, 3\), stride \(0, 0\)"),
        ("divides", r"nets.py', line 13: ZeroDivisionError: division by zero"),
        ("forgets", "must return the tensor that its last layer gave"),
        ("number", "has no function 'number'; functions there: 'net', 'bad_stride', 'divides'"),
    ],
)
def test_mistakes_are_shown_with_their_line(file: Path, function: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(f"{file}:{function}")


def test_syntax_error_and_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "nets.py"
    with pytest.raises(ModelError, match="no file '.*nets.py'"):
        load_model(f"{path}:net")
    path.write_text("x = 1\ndef net(t:\n")
    with pytest.raises(ModelError, match=r"nets.py', line 2: '\(' was never closed"):
        load_model(f"{path}:net")
    path.write_text("raise SystemExit(3)")
    with pytest.raises(ModelError, match="line 1: SystemExit: 3"):
        load_model(f"{path}:net")


@pytest.mark.parametrize(
    ("write_layer", "message"),
    [
        (lambda t, x: t.conv(x), "layer 'conv2d_0' needs between 1 and 65536 channels, has None"),
        (lambda t, x: t.conv(x, 4, activation="gelu"), "activation 'gelu' is none of none, relu"),
        (lambda t, x: t.conv(x, 4, padding="full"), "padding 'full' is not 'same' or 'valid'"),
        (lambda t, x: t.conv(x, 4, kernel=9, padding="valid"), "does not fit into"),
        (lambda t, x: t.conv(x, 4, scale=-1.0), "layer 'conv2d_0' has scale -1.0"),
        (lambda t, x: t.conv(x, 4, name="a b"), "layer name 'a b' must start with a letter"),
        (lambda t, x: t.conv(t.conv(x, 4, name="a"), 4, name="a"), "two layers are called 'a'"),
        (lambda t, x: t.conv(x, 4, name="a/weight.frozen"), "is the tensor of another layer"),
        (lambda t, x: t.conv(x, 4, name="a/bias"), "is the tensor of another layer"),
        (lambda t, x: t.conv(x, weight=np.ones((4, 3, 3))), "weight .* must have rank 4"),
        (lambda t, x: t.conv(x, weight=np.ones((4, 1, 1, 7))), r"should have shape \(4, 1, 1, 3"),
        (lambda t, x: t.conv(x, weight=np.ones((4, 1, 1, 3), np.int8)), "needs weight_scale"),
        (lambda t, x: t.conv(x, 4, bias=np.zeros(5)), r"bias \(5,\) should have shape \(4,\)"),
        (lambda t, x: t.conv(x, 1, bias=[np.inf]), "a bias is not finite"),
        (lambda t, x: t.add(x, t.conv(x, 4)), "does not broadcast"),
        (lambda t, x: t.mean(x, (0, 1)), r"axes \(0, 1\) do not fit"),
        (lambda t, x: t.transpose(x, (0, 1, 1, 3)), "order .* does not fit"),
        (lambda t, x: t.reshape(x, (1, 7)), "has not as many elements"),
        (lambda t, x: t.concat([]), "needs parts of rank 4"),
        (lambda t, x: t.conv(t.flatten(x), 4), "needs an input of rank 4"),
    ],
)
def test_bad_arguments(write_layer: object, message: str) -> None:
    net = Net("net")
    x = net.input((6, 6, 3))
    with pytest.raises(ModelError, match=message):
        write_layer(net, x)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("write_layer", "elements"),
    [
        (lambda t, x: t.conv(x, 60000, kernel=1, padding=512), "69,733,"),
        (lambda t, x: t.conv(x, 65536, kernel=31), "254,"),
        (lambda t, x: t.depthwise(x, multiplier=20000, kernel=51), "216,060,000"),
        (lambda t, x: t.dense(t.transpose(t.flatten(x), (1, 0)), 30000, name="wide"), "90,"),
        (lambda t, x: t.dense(t.reshape(x, (1, 3000)), 65536), "196,"),
        (lambda t, x: t.add(t.reshape(x, (3000, 1)), t.constant(np.ones((1, 30000)))), "90,"),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_computed(
    write_layer: object, elements: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net("net")
    x = net.input((10, 100, 3))
    for name in ("accumulate", "random_weight"):
        monkeypatch.delattr(f"tinyengine.importers.choose.{name}")
    with pytest.raises(
        ModelError, match=rf"layer '\w+': tensors up to here hold {elements}.* at most"
    ):
        write_layer(net, x)  # type: ignore[operator]


def test_real_weights_are_quantised_per_channel() -> None:
    sizes = np.array([1, 2, 4, 8]).reshape(4, 1, 1, 1)
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 2)) * sizes
    net = Net("net")
    samples = np.random.default_rng(1).uniform(-1, 1, (16, 5, 5, 2))
    x = net.input((5, 5, 2), samples=samples)
    graph = net.graph(net.conv(x, weight=weight, bias=np.arange(4.0), name="stem"))
    value = graph.values["stem/weight"]
    back = dequantise(value.type.quant, value.require_data())
    assert np.abs(back - weight).max() <= np.abs(weight).max() / 127
    assert np.abs(value.require_data()).reshape(4, -1).max(axis=1).tolist() == [127] * 4
    bias = graph.values["stem/bias"]
    back = dequantise(bias.type.quant, bias.require_data())
    np.testing.assert_allclose(back, np.arange(4), atol=1e-3)


def test_measured_scale_just_holds_the_samples() -> None:
    """8 samples in [-1, 1] times 2 and plus 1: the outputs span about [-1, 3]."""
    net = Net("net")
    samples = np.linspace(-1, 1, 256).reshape(8, 32)
    x = net.input((32,), 1 / 128, samples=samples)
    weight = np.eye(32) * 2
    graph = net.graph(net.dense(x, weight=weight, bias=np.ones(32), name="line"))
    out = graph.type("line").quant
    assert out is not None
    assert out.scale[0] == pytest.approx(4 / 255, rel=0.02) and out.zero_point == -64


def test_output_rule_worked_example() -> None:
    """min -1, max 3: scale 4/255, zero point round(-128 + 63.75) = -64."""
    real = np.array([-1.0, 0.5, 3.0])
    assert choose.output_quant(real, "none") == Quant.per_tensor(4 / 255, -64)
    assert choose.output_quant(real, "relu") == Quant.per_tensor(3 / 255, -128)
    assert choose.output_quant(real * 9, "relu6") == Quant.per_tensor(6 / 255, -128)


def test_seeded_weights_are_the_same_everywhere() -> None:
    assert choose.random_int8("stem", 0, (6,)).tolist() == STEM_0
    assert choose.random_int8("stem", 1, (6,)).tolist() != STEM_0


STEM_0 = [72, -45, -53, 109, 125, -88]


def test_cases_take_batches() -> None:
    for case in CASES:
        graph: Graph = case.graph()
        name = graph.inputs[0]
        shape = (3, *graph.type(name).shape[1:])
        x = np.random.default_rng(0).integers(-99, 99, shape).astype(graph.type(name).dtype.numpy)
        rows = [run(graph, {name: row[None]})[graph.outputs[0]] for row in x]
        whole = run(graph, {name: x})[graph.outputs[0]]
        np.testing.assert_array_equal(whole, np.concatenate(rows), err_msg=case.name)


def test_what_a_model_file_prints_stays_off_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nets.py"
    path.write_text("print('read')\ndef net(t):\n    print('traced')\n    return t.input((1,))\n")
    load_model(f"{path}:net")
    assert capsys.readouterr() == ("", "read\ntraced\n")
