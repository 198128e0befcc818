"""`bench-melt speed`: engines take turns in one process; PyTorch takes part where it is."""

from pathlib import Path

import numpy as np
import pytest

from codegen.board import load_board
from codegen.compile_model import compile_model
from codegen.graphs import load_train_graph
from tests.bench_rig import bench_melt, bench_melt_json
from tests.cases import Case
from tests.needs import package
from tests.training import LR, TRAINABLE, compiled, everything, random_samples
from tinyengine.sim.train import Trainer

CASES = Path(__file__).parents[1] / "cases.py"


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speed") / "residual"
    compile_model(f"{CASES}:residual", load_board("host"), "full", folder)
    return folder


@pytest.fixture
def pytorch() -> None:
    """An extra of its own, which 'make setup' installs where CI=true."""
    package("torch", "pip install 'tinyengine-mcu[torch]'")
    import torch

    torch.set_num_threads(1)


def test_steps_per_second_of_each_engine_and_their_ratio(residual: Path) -> None:
    got = bench_melt_json("speed", residual, "--rounds", 3, "--seconds", 0.02)
    assert got["rounds"] == 3
    assert got["engine_steps_per_s"] > got["simulator_steps_per_s"] > 0
    assert got["engine_over_simulator"] > 1
    assert (got["torch"] is None) == (got["engine_over_torch"] is None)


def test_a_folder_in_which_nothing_learns(tmp_path: Path) -> None:
    compile_model(f"{CASES}:residual", load_board("host"), "none", tmp_path / "dir")
    done = bench_melt("speed", tmp_path / "dir")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing learns" in done.stderr


@pytest.mark.parametrize(
    "case", [c for c in TRAINABLE if c.name != "saturated"], ids=lambda c: c.name
)
@pytest.mark.usefixtures("pytorch")
def test_pytorch_computes_the_same_net(case: Case) -> None:
    from bench_melt.workloads.torch_engine import TorchEngine

    made = compiled(case, everything()).train
    assert made is not None
    x, label = random_samples(made.graph, 1)[0]
    trainer, engine = Trainer(made.graph, LR), TorchEngine(made.graph, LR)
    ours = trainer.step(x, label)
    logits = engine.logits(x).detach().numpy().reshape(-1)
    allowed = 0.2 * float(
        np.abs(trainer.logits).max()
    )  # what rounding to int8 at every layer comes to
    assert np.allclose(logits, trainer.logits.reshape(-1), atol=allowed)
    assert engine.step(x, label) == pytest.approx(ours, abs=2 * allowed)


@pytest.mark.usefixtures("pytorch")
def test_pytorch_trains_what_the_scheme_trains(residual: Path) -> None:
    from bench_melt.workloads.torch_engine import TorchEngine

    graph = load_train_graph(residual)
    engine = TorchEngine(graph, LR)
    learning = {name for name, tensor in engine._held.items() if tensor.requires_grad}
    assert learning == {value.name for value in graph.state()}
