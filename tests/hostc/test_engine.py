"""The generated C as a training engine: the simulator's bits, and a refusal when they are not."""

import ctypes
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.board import load_board
from codegen.compile_model import compile_model
from codegen.engine import HostEngine, build_library, open_engine
from codegen.graphs import load_infer_graph, load_train_graph
from codegen.manifest import load_manifest
from codegen.te_model import U
from tests.training import LR, TRAINABLE, everything, random_samples
from tinyengine.errors import InternalError, UserError
from tinyengine.ops.sgd import Rounding
from tinyengine.sim.engine import TrainingEngine, accuracy, prove_equal
from tinyengine.sim.train import Trainer

CASES = Path(__file__).parents[1] / "cases.py"


def made(folder: Path, case: str, scheme: str = "full") -> Path:
    compile_model(f"{CASES}:{case}", load_board("host"), scheme, folder)
    return folder


def simulator(folder: Path, seed: int = 0) -> Trainer:
    return Trainer(load_train_graph(folder), LR, seed, load_infer_graph(folder))


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("engine") / "residual", "residual")


@pytest.mark.parametrize("case", [c.name for c in TRAINABLE[::4]])
def test_engine_and_simulator_stay_equal(tmp_path: Path, case: str) -> None:
    folder = made(tmp_path / "dir", case)
    trainer, engine = simulator(folder, 9), open_engine(folder, LR, 9)
    assert engine.step_count == 0 and engine.hash() == trainer.hash()
    prove_equal(trainer, engine, random_samples(trainer.graph, 20, seed=4))
    assert engine.step_count == trainer.step_count == 20
    samples = random_samples(trainer.graph, 12, seed=5)
    x = np.concatenate([x for x, _ in samples])
    assert np.array_equal(engine.predict(x), trainer.predict(x))
    labels = np.array([label for _, label in samples])
    assert accuracy(engine, x, labels) == accuracy(trainer, x, labels)


def test_two_engines_of_one_folder_hold_their_own_state(residual: Path) -> None:
    first, second = open_engine(residual, LR), open_engine(residual, LR)
    x, label = random_samples(load_train_graph(residual), 1)[0]
    before = second.hash()
    first.step(x, label)
    assert second.hash() == before != first.hash()
    first.reset()
    assert first.hash() == before and first.step_count == 0


def test_learning_rate_and_seed_may_change_on_the_way(residual: Path) -> None:
    trainer, engine = simulator(residual), open_engine(residual, LR)
    for other in (trainer, engine):
        other.lr, other.seed = 0.5, 3
    prove_equal(trainer, engine, random_samples(trainer.graph, 3))


def saved(engine: HostEngine, name: str, nbytes: int) -> ctypes.Array[ctypes.c_char]:
    buffer = ctypes.create_string_buffer(nbytes)
    assert getattr(engine._library, f"{name}_save")(buffer, U(nbytes)) == 0
    return buffer


@pytest.mark.parametrize(
    "fields",
    [
        {"rounding": Rounding.STOCHASTIC},
        {"accumulate": 3, "rounding": Rounding.NEAREST},
        {"gradients": "s16"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_saved_run_goes_on_with_the_bits_of_one_without_a_break(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    folder = tmp_path / "dir"
    compile_model(f"{CASES}:residual", load_board("host"), everything(**fields), folder)
    nbytes = sum(v.type.nbytes for v in load_train_graph(folder).state()) + 4
    first, second = open_engine(folder, LR, 7), open_engine(folder, LR, 7)
    samples = random_samples(load_train_graph(folder), 10)
    for x, label in samples[:4]:
        first.step(x, label)
    kept = saved(first, "residual", nbytes)
    assert second._library.residual_load(kept, U(nbytes)) == 0
    assert second.step_count == 4 and second.hash() == first.hash()
    for x, label in samples[4:]:
        assert first.step(x, label) == second.step(x, label)
        assert first.hash() == second.hash()
    # the step count is what it takes: without it the next steps would round or add otherwise
    assert second._library.residual_load(kept, U(nbytes)) == 0
    second._model.hyper.contents.step = 0
    for x, label in samples[4:]:
        second.step(x, label)
    assert first.hash() != second.hash()
    assert second._library.residual_load(kept, U(nbytes - 4)) == 3  # out of range, nothing read


def test_code_that_computes_something_else_is_refused(residual: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dir"
    shutil.copytree(residual, folder, ignore=shutil.ignore_patterns("build"))
    model = folder / "src" / "residual.c"
    code = model.read_text()
    assert "run_train(label);" in code
    model.write_text(
        code.replace("run_train(label);", "residual_hyper.lr = 9.0f; run_train(label);")
    )
    with pytest.raises(InternalError, match="parts from the simulator at step 1, tensor 'stem/"):
        open_engine(folder, LR)


def test_nothing_learns_here(tmp_path: Path) -> None:
    folder = made(tmp_path / "dir", "residual", "none")
    with pytest.raises(UserError, match="in which nothing learns"):
        open_engine(folder, LR)


def test_another_model_s_library_is_refused(residual: Path, tmp_path: Path) -> None:
    graph, manifest = load_train_graph(residual), load_manifest(residual)
    other = manifest.model_copy(update={"model_hash": "00" * 32})
    with pytest.raises(InternalError, match="another model"):
        HostEngine(build_library(residual), other, graph, LR)


def test_what_has_not_changed_is_not_compiled_again(residual: Path) -> None:
    build_library(residual)
    objects = sorted((residual / "build" / "engine").rglob("*.o"))
    times = [path.stat().st_mtime_ns for path in objects]
    build_library(residual)
    assert objects and [path.stat().st_mtime_ns for path in objects] == times


def test_a_trainer_without_its_inference_graph_says_so(residual: Path) -> None:
    engine: TrainingEngine = Trainer(load_train_graph(residual), LR)
    with pytest.raises(InternalError, match="without an inference graph"):
        engine.predict(np.zeros((1, 8, 8, 3), np.int8))
