"""Adaptation in the simulator: what the device will do, for choosing and for checking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench_melt.demo.watch import LEFT, RIGHT, Recording, Windows, cut
from tinyengine.compiled import compile_graph
from tinyengine.ir.graph import Graph
from tinyengine.sim.run import run
from tinyengine.sim.train import Trainer
from tinyengine.update.scheme import Scheme

LEARN_STRIDE, TEST_STRIDE = 8, 16  # samples at 25 Hz between windows
SPLIT = 0.5  # the first half of each recording is learnt from, the second half tests


@dataclass(frozen=True, slots=True)
class Task:
    """One wearer held out.

    before: other people's right wrists, for training the model. learn, test: the new wearer's left
    wrist, earlier and later repetitions; no sample is in both.
    """

    before: Windows
    learn: Windows
    test: Windows


@dataclass(frozen=True, slots=True)
class Adaptation:
    """Shares of the test windows classified right, and the state hash after the last step."""

    accuracy_before: float
    accuracy_after: float
    state_sha256: str


def make_task(recordings: Sequence[Recording], wearer: int) -> Task:
    """The task of adapting to `wearer`."""
    others = [r for r in recordings if r.wearer != wearer and r.wrist == RIGHT]
    new = [r for r in recordings if r.wearer == wearer and r.wrist == LEFT]
    learn = cut(new, LEARN_STRIDE, (0.0, SPLIT)).shuffled(seed=0)
    test = cut(new, TEST_STRIDE, (SPLIT, 1.0)).shuffled(seed=1)
    return Task(cut(others, LEARN_STRIDE), learn, test)


def adapt(
    graph: Graph, scheme: Scheme, learn: Windows, test: Windows, steps: int, rate: float
) -> Adaptation:
    """Train with `scheme` for `steps` at batch 1 in the windows' order, as the device would."""
    compiled = compile_graph(graph, scheme)
    if compiled.train is None:
        raise ValueError(f"scheme '{scheme.name}' trains nothing")
    trainer = Trainer(compiled.train.graph, rate)
    before = _accuracy(compiled.infer.graph, trainer, test)
    for step in range(steps):
        index = step % len(learn.y)
        trainer.step(learn.x[index], int(learn.y[index]))
    after = _accuracy(compiled.infer.graph, trainer, test)
    return Adaptation(before, after, trainer.hash())


def _accuracy(infer: Graph, trainer: Trainer, test: Windows) -> float:
    values = run(infer, {infer.inputs[0]: test.x}, trainer.state())
    logits = values[infer.outputs[0]].reshape(len(test.y), -1)
    return float(np.mean(logits.argmax(axis=1) == test.y))
