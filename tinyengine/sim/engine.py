"""What steps a training graph: the simulator, or something faster that a caller hands in.

A search or a study that needs many steps takes a `TrainingEngine` as an argument. The simulator
(`sim.train.Trainer`) is one; the generated C as a program of this computer (`codegen.engine`) is
another, once `prove_equal` has seen that it computes the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from tinyengine.errors import InternalError
from tinyengine.ir.tensor import Array


class TrainingEngine(Protocol):
    """A net that learns at batch 1; equal engines have equal bits after equal steps."""

    lr: float
    seed: int

    @property
    def step_count(self) -> int:
        """Steps taken so far: the counter that stochastic rounding depends on."""

    def step(self, x: Array, label: int) -> float:
        """One step: x of the model's input shape, label in [0, classes). The loss before it."""

    def predict(self, x: Array) -> Array:
        """Classes (n,) of samples (n, *input shape without the batch): the largest output."""

    def state(self) -> dict[str, Array]:
        """Current trainables, fractions and accumulators, in state order."""

    def hash(self) -> str:
        """SHA-256 over the bytes of all state tensors in state order, as hex."""


def accuracy(engine: TrainingEngine, x: Array, y: Array) -> float:
    """Share of samples x (n, *input shape without the batch) whose class is y (n,)."""
    return float(np.mean(engine.predict(x) == y))


def prove_equal(
    reference: TrainingEngine, candidate: TrainingEngine, samples: Iterable[tuple[Array, int]]
) -> None:
    """Step both over the samples and compare loss, every state tensor and the class predicted.

    samples: x of the model's input shape (1, ...) and label. Both engines have taken the steps
    afterwards.

    Raises:
        InternalError: they differ; the message names the step and the first tensor.
    """
    for number, (x, label) in enumerate(samples, 1):
        losses = [np.float32(engine.step(x, label)) for engine in (reference, candidate)]
        if losses[0].tobytes() != losses[1].tobytes():
            raise InternalError(
                f"the engine's loss of step {number} is {losses[1]}, the simulator's {losses[0]}"
            )
        if candidate.hash() != reference.hash():
            raise InternalError(
                f"the engine parts from the simulator at step {number}, tensor "
                f"'{_first_difference(reference, candidate)}'"
            )
        classes = [int(engine.predict(x)[0]) for engine in (reference, candidate)]
        if classes[0] != classes[1]:
            raise InternalError(
                f"after step {number} the engine predicts class {classes[1]}, the simulator "
                f"{classes[0]}"
            )


def _first_difference(reference: TrainingEngine, candidate: TrainingEngine) -> str:
    theirs = candidate.state()
    for name, mine in reference.state().items():
        if name not in theirs or mine.tobytes() != theirs[name].tobytes():
            return name
    return "none: only their hashes differ"
