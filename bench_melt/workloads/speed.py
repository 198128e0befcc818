"""Training steps per second of this computer's engines, taken in turns within one run."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from bench_melt.workloads.torch_engine import TorchEngine, has_torch
from codegen.engine import open_engine
from codegen.graphs import load_train_graph
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array
from tinyengine.sim.train import Trainer

SIMULATOR, ENGINE, TORCH = "simulator", "engine", "torch"
_SAMPLES = 16


class Steps(Protocol):
    """Whatever takes training steps."""

    def step(self, x: Array, label: int) -> float:
        """One step at batch 1; the loss."""


@dataclass(frozen=True, slots=True)
class Speeds:
    """Steps per second of every round, by engine; torch_cosine: its first logits against ours."""

    rounds: Mapping[str, tuple[float, ...]]
    torch_version: str | None
    torch_cosine: float | None

    def median(self, name: str) -> float | None:
        """Median over the rounds, None where the engine did not run."""
        return statistics.median(self.rounds[name]) if name in self.rounds else None

    def ratio(self, name: str) -> float | None:
        """The C engine's steps per second as a multiple of another's: median of the rounds'."""
        if name not in self.rounds:
            return None
        pairs = zip(self.rounds[ENGINE], self.rounds[name], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)


def measure_speeds(
    directory: Path, lr: float, rounds: int, round_s: float, told: Callable[[], object]
) -> Speeds:
    """Let the simulator, the C engine and PyTorch, where it is installed, train in turns.

    In every round each engine steps for about `round_s` seconds; `told` is called after each turn.
    The caller sees to it that each has one thread.

    Raises:
        UserError: not a folder with a training graph, or no C compiler.
        InternalError: the C and the simulator differ.
    """
    graph = load_train_graph(directory)
    engines: dict[str, Steps] = {
        SIMULATOR: Trainer(graph, lr),
        ENGINE: open_engine(directory, lr),
    }
    version = cosine = None
    if has_torch():
        import torch

        torch.set_num_threads(1)
        engines[TORCH], version = TorchEngine(graph, lr), str(torch.__version__)
        cosine = _cosine(graph, lr)
    samples = _samples(graph)
    counts = {name: _steps_of(engine, samples, round_s) for name, engine in engines.items()}
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            taken[name].append(counts[name] / _seconds(engine, samples, counts[name]))
            told()
    return Speeds({name: tuple(found) for name, found in taken.items()}, version, cosine)


def _samples(graph: Graph) -> Sequence[tuple[Array, int]]:
    rng = np.random.default_rng(0)
    shape, classes = graph.type(graph.inputs[0]).shape, graph.type(graph.outputs[1]).count
    return [
        (rng.integers(-128, 128, shape).astype(np.int8), index % classes)
        for index in range(_SAMPLES)
    ]


def _seconds(engine: Steps, samples: Sequence[tuple[Array, int]], count: int) -> float:
    start = time.perf_counter()
    for index in range(count):
        engine.step(*samples[index % len(samples)])
    return time.perf_counter() - start


def _steps_of(engine: Steps, samples: Sequence[tuple[Array, int]], round_s: float) -> int:
    """How many steps fill `round_s` seconds, from a warm-up."""
    _seconds(engine, samples, 2)
    return max(2, round(round_s / (_seconds(engine, samples, 3) / 3)))


def _cosine(graph: Graph, lr: float) -> float:
    """Cosine between PyTorch's logits and the simulator's: that both are one net."""
    x, label = _samples(graph)[0]
    trainer = Trainer(graph, lr)
    trainer.step(x, label)
    ours = trainer.logits.reshape(-1).astype(np.float64)
    theirs = TorchEngine(graph, lr).logits(x).detach().numpy().reshape(-1).astype(np.float64)
    return float(ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs)))
