"""Generated C equals the simulator, step by step; its text is stable and safe."""

import ctypes
import hashlib
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codegen.board import load_board
from codegen.cnames import comment, module_name, string
from codegen.emit import classes_of, constant_bytes, emit, marked_layers
from codegen.kernels import kernel_of
from tests.cases import CASES, Case
from tests.hostc.host_library import HostLibrary, Model
from tests.training import LR, TRAINABLE, compiled, everything, random_samples, scheme
from tinyengine.compiled import Compiled, compile_graph
from tinyengine.errors import InternalError, UserError
from tinyengine.importers import load_model
from tinyengine.importers.net import Net
from tinyengine.ir import text
from tinyengine.ops.borders import Quantize
from tinyengine.ops.rescaled import QuantizeGrad
from tinyengine.sim.run import run
from tinyengine.sim.run_plan import pack
from tinyengine.sim.train import Trainer
from tinyengine.update.scheme import ALL, Rounding, load_scheme

STEPS = 5
HOST = load_board("host")
SCHEMES = {
    "nearest": everything(rounding=Rounding.NEAREST),
    "stochastic": everything(head="int8", rounding=Rounding.STOCHASTIC),
    "master16": everything(head="int8", rounding=Rounding.MASTER16),
    "accumulate": everything(accumulate=2),
    "bias": scheme(biases=ALL),
}


def make(compiled_: Compiled, factory: pytest.TempPathFactory, seed: int = 7) -> HostLibrary:
    base = factory.getbasetemp()
    return HostLibrary(compiled_, base, factory.mktemp("code"), lr=LR, seed=seed)


def compare(made: Compiled, library: HostLibrary, steps: int = STEPS) -> None:
    """Train both; losses, logits, states and then outputs must have equal bits."""
    assert made.train is not None
    trainer = Trainer(made.train.graph, LR, 7)
    for number, (x, label) in enumerate(random_samples(made.train.graph, steps)):
        loss = trainer.step(x, label)
        if number % 2:
            library.put_input(x)
            found = library.train_step(None, label)
        else:
            found = library.train_step(x, label)
        assert np.float32(found).tobytes() == np.float32(loss).tobytes(), number
        assert library.logits().tobytes() == trainer.logits.tobytes(), number
        assert hashlib.sha256(library.state()).hexdigest() == trainer.hash(), number
        outputs(made, library, x, trainer)


def outputs(made: Compiled, library: HostLibrary, x: np.ndarray, trainer: Trainer | None) -> None:
    graph = made.infer.graph
    values = run(graph, {graph.inputs[0]: x}, trainer.state() if trainer else None)
    want = pack(values[graph.outputs[0]], graph.type(graph.outputs[0])).tobytes()
    assert library.forward(x) == want
    library.put_input(x)
    assert library.forward(None) == want


# every net once; every rule on nets that have each kind of tensor
EVERY_RULE = ("residual", "depthwise_multiplier", "dense")
PAIRS = [
    pytest.param(case, rule, id=f"{case.name}-{rule}")
    for case in TRAINABLE
    for rule in (SCHEMES if case.name in EVERY_RULE else ("nearest",))
]


@pytest.mark.parametrize(("case", "rule"), PAIRS)
def test_training_equals_the_simulator(
    case: Case, rule: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = compiled(case, SCHEMES[rule])
    compare(made, make(made, tmp_path_factory))


# int16 on every net; int8, whose kernels are the same code, where each kind of tensor is
INTEGER_PAIRS = [
    pytest.param(case, rule, gradients, id=f"{case.name}-{rule}-{gradients}")
    for case in TRAINABLE
    for rule, gradients in (
        [*((rule, "s16") for rule in SCHEMES), ("stochastic", "s8"), ("accumulate", "s8")]
        if case.name in EVERY_RULE
        else [("nearest", "s16")]
    )
]


@pytest.mark.parametrize(("case", "rule", "gradients"), INTEGER_PAIRS)
def test_integer_gradients_equal_the_simulator(
    case: Case, rule: str, gradients: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = compiled(case, replace(SCHEMES[rule], gradients=gradients))
    compare(made, make(made, tmp_path_factory))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_inference_equals_the_simulator(
    case: Case, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = compiled(case, load_scheme("none"))
    library = make(made, tmp_path_factory)
    assert not library.model.train_step and not library.model.logits
    rng, type_ = np.random.default_rng(0), made.infer.graph.type(made.infer.graph.inputs[0])
    for _ in range(5):
        x = rng.integers(-128, 128, type_.shape).astype(type_.dtype.numpy)
        outputs(made, library, x, None)


def part(t: Net) -> object:
    x = t.input((8, 7, 6), 1 / 64, 3)
    x = t.conv(x, 12, kernel=3, activation="relu", name="first")
    y = t.conv(x, 12, kernel=1, name="second")
    x = t.add(x, y, name="join")
    x = t.depthwise(x, kernel=3, stride=2, activation="relu6", name="third")
    return t.dense(t.mean(x), 4, name="classifier")


PARTS = [
    *((rounding, every, "f32") for rounding in Rounding for every in (1, 3)),
    *((rounding, 1, "s16") for rounding in Rounding),
    (Rounding.STOCHASTIC, 3, "s16"),
    (Rounding.STOCHASTIC, 1, "s8"),
]


@pytest.mark.parametrize(
    ("rounding", "accumulate", "gradients"),
    PARTS,
    ids=[f"{rounding.value}-{every}-{gradients}" for rounding, every, gradients in PARTS],
)
def test_partly_trained_weights(
    rounding: Rounding, accumulate: int, gradients: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    net = Net("part", seed=2)
    graph = net.graph(part(net))  # type: ignore[arg-type]
    weights = {"first": 0.5, "second": 0.25, "third": 0.5}
    update = scheme(
        biases=2, weights=weights, rounding=rounding, accumulate=accumulate, gradients=gradients
    )
    made = compile_graph(graph, update, 5, 3)
    compare(made, make(made, tmp_path_factory), 7)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> HostLibrary:
    return make(compiled(CASES[0], SCHEMES["stochastic"]), tmp_path_factory)


def test_save_load_and_init(library: HostLibrary) -> None:
    library.call("init")
    first = library.state()
    x = np.full(library.model.input_bytes, 5, np.int8)
    for _ in range(3):
        library.train_step(x, 1)
    saved, learned, hyper = library.saved(), library.state(), library.model.hyper.contents
    assert learned != first and hyper.step == 3
    library.call("init")
    assert library.state() == first
    assert (hyper.step, hyper.seed, hyper.lr) == (0, 7, np.float32(LR))
    count = ctypes.c_uint32(len(saved))
    assert library.call("load", saved, count) == 0
    assert library.state() == learned
    assert (hyper.step, hyper.seed, hyper.lr) == (3, 7, np.float32(LR))


def test_refusals(library: HostLibrary) -> None:
    arg, out_of_range = 1, 3
    state = library.saved()
    short, full = ctypes.c_uint32(len(state) - 1), ctypes.c_uint32(len(state))
    assert library.call("save", None, full) == library.call("load", None, full) == arg
    buffer = ctypes.create_string_buffer(len(state))
    assert library.call("save", buffer, short) == out_of_range
    assert library.call("load", state, short) == out_of_range
    label = ctypes.c_uint32(library.model.classes)
    assert library.call("train_step", None, label, None) == out_of_range
    assert library.saved() == state


def test_descriptor(library: HostLibrary) -> None:
    made = compiled(CASES[0], SCHEMES["stochastic"])
    model = library.model
    assert made.train is not None
    assert model.name.decode() == made.name and bytes(model.hash).hex() == made.hash
    assert model.classes == classes_of(made) == 4
    forward, train = marked_layers(made)
    assert (model.forward_marks, model.train_marks) == (len(forward) + 1, len(train) + 1)
    names = [t.name.decode() for t in model.state[: model.state_count]]
    assert names == [v.name for v in made.train.graph.state()]
    other = Model.in_dll(library.library, f"{library.name}_descriptor")
    assert bytes(other) == bytes(model)


def test_phases() -> None:
    forward, train = marked_layers(compiled(CASES[0], SCHEMES["nearest"]))
    assert {s.phase for s in forward} == {"forward"}
    assert [s.phase for s in train if s.op == "softmax_xent"] == ["loss"]
    assert {s.phase for s in train if s.op in ("row_step", "bias_grad")} == {"weight_gradient"}
    assert {s.phase for s in train if s.op.startswith("sgd")} == {"update"}
    assert {s.phase for s in train if s.op.endswith("bwd_input")} <= {"input_gradient"}
    assert train[0].layer == "stem" and train[0].phase == "forward"


def test_text_is_pure_and_sorted() -> None:
    made = compiled(CASES[0], SCHEMES["nearest"])
    files = emit(made, HOST)
    assert files == emit(made, HOST) and list(files) == sorted(files)
    assert set(files) >= {"src/conv.c", "src/conv.h", "src/te_session_model.c"}
    assert "src/te/te_conv2d_s8.c" in files and "src/te/te_max_pool_s8.c" not in files
    own = "".join(text for name, text in files.items() if not name.startswith("src/te/"))
    assert not re.search(r"/(home|tmp|root|usr|work)/|\b20[0-9][0-9]-", own)
    assert constant_bytes(made) > 0


def test_hostile_names(tmp_path_factory: pytest.TempPathFactory) -> None:
    net = Net("string", seed=1)
    x = net.input((4, 4, 2), 1 / 64, 0)
    x = net.conv(x, 3, kernel=3, name="hostile")
    x = net.conv(x, 3, kernel=1, name="a_b_")
    x = net.conv(x, 3, kernel=1, name="a/b/")
    x = net.conv(x, 3, kernel=1, name="int")
    graph = net.graph(net.dense(net.mean(x), 2, name="end"))
    name = "a*/\u00e9??/"  # what a .tflite may call a tensor
    graph = text.parse(text.write(graph).replace("hostile", name))
    made = compile_graph(graph, SCHEMES["nearest"], None)
    library = make(made, tmp_path_factory)
    assert library.name == "m_string"
    names = [t.name.decode() for t in library.model.state[: library.model.state_count]]
    assert names[0].startswith(name)
    compare(made, library, 2)


def test_layers_named_like_the_inputs_of_a_training_step(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    net = Net("named", seed=1)
    x = net.input((4, 4, 2), 1 / 64, 0)
    for name in ("label", "lr", "seed", "step", "loss", "d_logits", "d_label", "hyper"):
        x = net.conv(x, 3, kernel=1, name=name)
    graph = net.graph(net.dense(net.mean(x), 3, name="logits"))
    made = compile_graph(graph, SCHEMES["accumulate"])
    compare(made, make(made, tmp_path_factory), 3)


def test_names() -> None:
    assert module_name("te_model") == "m_te_model" and module_name("net") == "net"
    assert "*/" not in comment("x */ y") and comment("\\") == "_"
    assert string('a"b\n1') == '"a\\042b\\0121"'


def test_no_kernel() -> None:
    with pytest.raises(InternalError, match="'quantize' has no kernel"):
        kernel_of(Quantize())
    with pytest.raises(InternalError, match="'quantize_grad' has no kernel"):
        kernel_of(QuantizeGrad())


def test_too_many_products() -> None:
    net = Net("wide", seed=1)
    x = net.input((1, 1, 70_000), 1 / 64, 0)
    made = compile_graph(net.graph(net.dense(x, 2, name="fc")), load_scheme("none"))
    with pytest.raises(UserError, match="layer 'fc': 70000 products in one sum"):
        emit(made, HOST)


def test_mcunet_is_quick_and_equal(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    graph = load_model(str(shared / "data" / "models" / "mcunet-5fps.json"))
    made = compile_graph(graph, load_scheme("49kb"), 10, 0)
    begin = time.perf_counter()
    emit(replace(made, name="net"), HOST)
    assert time.perf_counter() - begin < 2.0
    compare(made, make(made, tmp_path_factory), 3)


@pytest.mark.parametrize(
    ("model", "update", "classes"),
    [("ic_resnet8_int8.tflite", "full", None), ("mcunet_vww_int8.tflite", "bias", 3)],
)
def test_real_tflite_models(
    shared: Path, model: str, update: str, classes: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    graph = load_model(str(shared / "data" / "models" / model))
    made = compile_graph(graph, load_scheme(update), classes, 0)
    compare(made, make(made, tmp_path_factory), 2)
