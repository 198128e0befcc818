"""Training before shipping: what a maker would do with the recordings in hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import grad

from bench_melt.demo.network import Parameters, fold_normalisation, initial, train_forward
from bench_melt.demo.watch import INPUT_QUANT, Windows
from tinyengine.ir.tensor import Array, dequantise

BATCH = 64
SMOOTHING = 0.05  # of the labels: keeps the logits small enough to quantise well
PEAK_RATE = 6e-3
DECAY = 1e-2
MOMENTUM = 0.1  # of the running statistics


def pretrain(
    windows: Windows, epochs: int, seed: int, tell: Callable[[str], None]
) -> dict[str, Array]:
    """Weights and biases of a net trained on `windows`, normalisation folded.

    Deterministic for a given numpy. tell: receives one line per epoch.
    """
    parameters, running = initial(seed)
    optimiser = _Adam(parameters)
    rng = np.random.default_rng(seed)
    x = dequantise(INPUT_QUANT, windows.x[:, :, 0, :]).astype(np.float32)
    batches = len(x) // BATCH
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        losses: list[float] = []
        for index in range(batches):
            chosen = order[index * BATCH : (index + 1) * BATCH]
            rate = _one_cycle((epoch + index / batches) / epochs)
            loss = _step(optimiser, running, _augmented(x[chosen], rng), windows.y[chosen], rate)
            losses.append(loss)
        tell(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.3f}")
    return fold_normalisation(optimiser.parameters, running)


def _augmented(x: Array, rng: np.random.Generator) -> Array:
    """A little of what differs between wearers: strength per channel, and noise."""
    strength = 1.0 + 0.1 * rng.standard_normal((len(x), 1, x.shape[2]))
    noisy: Array = x * strength + 0.03 * rng.standard_normal(x.shape)
    return noisy.astype(np.float32)


def _one_cycle(progress: float) -> float:
    """Learning rate: up over the first 30 % of the way, then down along a cosine."""
    if progress < 0.3:
        return PEAK_RATE * (0.04 + 0.96 * progress / 0.3)
    return PEAK_RATE * 0.5 * (1.0 + float(np.cos(np.pi * (progress - 0.3) / 0.7)))


def _step(optimiser: _Adam, running: dict[str, Array], x: Array, y: Array, rate: float) -> float:
    seen: dict[str, Any] = {}

    def loss(parameters: Parameters) -> Any:
        logits, statistics = train_forward(parameters, x)
        seen.update({name: _plain(value) for name, value in statistics.items()})
        shifted = logits - anp.max(logits, axis=1, keepdims=True)
        log_p = shifted - anp.log(anp.sum(anp.exp(shifted), axis=1, keepdims=True))
        target = np.full(logits.shape, SMOOTHING / logits.shape[1], np.float32)
        target[np.arange(len(y)), y] += 1.0 - SMOOTHING
        value = -anp.mean(anp.sum(log_p * target, axis=1))
        seen["loss"] = _plain(value)
        return value

    optimiser.move(grad(loss)(optimiser.parameters), rate)
    total = float(seen.pop("loss"))
    for name, value in seen.items():
        running[name] = ((1 - MOMENTUM) * running[name] + MOMENTUM * value).astype(np.float32)
    return total


def _plain(value: Any) -> Any:
    """The array inside autograd's boxes."""
    while hasattr(value, "_value"):
        value = value._value
    return value


class _Adam:
    """Adam with decoupled weight decay (arXiv 1711.05101)."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self._first = {name: np.zeros_like(value) for name, value in parameters.items()}
        self._second = {name: np.zeros_like(value) for name, value in parameters.items()}
        self._count = 0

    def move(self, gradients: Parameters, rate: float) -> None:
        """One step against `gradients`."""
        self._count += 1
        fix1, fix2 = 1 - 0.9**self._count, 1 - 0.999**self._count
        for name, value in self.parameters.items():
            g = gradients[name]
            self._first[name] = 0.9 * self._first[name] + 0.1 * g
            self._second[name] = 0.999 * self._second[name] + 0.001 * g * g
            step = (self._first[name] / fix1) / (np.sqrt(self._second[name] / fix2) + 1e-8)
            decay = DECAY * value if name.endswith("/weight") else 0.0
            self.parameters[name] = (value - rate * (step + decay)).astype(np.float32)
