"""Are the compile-time gradients right? Each one against float64 automatic differentiation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tinyengine.errors import UserError
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array, DType, dequantise
from tinyengine.passes.integer import integer_parameters
from tinyengine.sim import oracle
from tinyengine.sim.run import run

# float32 has no digits left down there, and the softmax cuts exp at exp(-87) = 1.6e-38.
NOTHING = 1e-30


@dataclass(frozen=True, slots=True)
class TensorCheck:
    """One trainable's gradient against the truth.

    cosine: of the angle between both, 1 is right. norm_ratio: length over true length, 1 is right.
    both_zero: neither is anything but zero, which agrees but shows nothing.
    """

    name: str
    cosine: float
    norm_ratio: float
    both_zero: bool = False


@dataclass(frozen=True, slots=True)
class GradReport:
    """All trainable tensors in the order of the graph's gradients."""

    tensors: tuple[TensorCheck, ...]

    @property
    def worst_cosine(self) -> float:
        """The smallest cosine; 1 if nothing learns."""
        return min((t.cosine for t in self.tensors), default=1.0)

    @property
    def worst_norm_ratio(self) -> float:
        """The norm ratio farthest from 1."""
        return max((t.norm_ratio for t in self.tensors), key=lambda r: abs(r - 1), default=1.0)

    def as_json(self) -> dict[str, object]:
        """What `tinyengine-codegen gradcheck --json` prints."""
        rows = [
            {"name": t.name, "cosine": t.cosine, "norm_ratio": t.norm_ratio} for t in self.tensors
        ]
        return {"tensors": rows, "worst_cosine": self.worst_cosine}


Sample = tuple[Mapping[str, Array], int]


def gradcheck(graph: Graph, inputs: Mapping[str, Array], label: int) -> GradReport:
    """Compare every gradient of `graph` on one sample.

    graph: a training graph that still has its `gradients` (after backward or prune).
    inputs: the sample by input name; scalars that are not given (label, lr, seed, step) are set.

    Raises:
        UserError: the label is not a class, or an input is missing or has the wrong shape.
    """
    return gradcheck_mean(graph, [(inputs, label)])


def gradcheck_random(graph: Graph, seed: int = 0, samples: int = 1) -> GradReport:
    """Compare gradients averaged over random samples with random labels."""
    pairs = ((random_input(graph, seed + i), random_label(graph, seed + i)) for i in range(samples))
    return gradcheck_mean(graph, pairs)


def gradcheck_mean(graph: Graph, samples: Iterable[Sample]) -> GradReport:
    """Compare gradients summed over samples."""
    found: dict[str, Array] = {}
    truth: dict[str, Array] = {}
    exponents = integer_parameters(graph)
    for inputs, label in samples:
        values = run(graph, complete(graph, inputs, label))
        true = oracle.gradients(graph, values, label).gradients
        for name, gradient in graph.gradients:
            real = dequantise(graph.type(gradient).quant, values[gradient])
            if gradient in exponents:
                real = real * 2.0 ** int(values[exponents[gradient]][0])
            found[name] = found.get(name, 0.0) + real
            # What no path leads from has no gradient: a zero, which the oracle leaves out.
            truth[name] = truth.get(name, 0.0) + true.get(name, np.zeros(real.shape))
    return GradReport(tuple(compare(n, found[n], truth[n]) for n, _ in graph.gradients))


def compare(name: str, found: Array, truth: Array) -> TensorCheck:
    """Cosine and norm ratio of two tensors of one shape; magnitudes below NOTHING are zero.

    A gradient that is zero where the truth is not, or the reverse, or not finite: 0 and 0.
    """
    a, b = (np.asarray(x, np.float64).ravel() for x in (found, truth))
    # Scaled by the largest element, so that squares neither overflow nor vanish.
    top_a, top_b = (float(np.abs(x).max(initial=0.0)) for x in (a, b))
    if top_a < NOTHING and top_b < NOTHING:
        return TensorCheck(name, 1.0, 1.0, both_zero=True)
    if min(top_a, top_b) < NOTHING or not (math.isfinite(top_a) and math.isfinite(top_b)):
        return TensorCheck(name, 0.0, 0.0)
    a, b = a / top_a, b / top_b
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    cosine = float(a @ b) / (norm_a * norm_b)
    return TensorCheck(name, min(1.0, max(-1.0, cosine)), (norm_a / norm_b) * (top_a / top_b))


def complete(graph: Graph, inputs: Mapping[str, Array], label: int) -> dict[str, Array]:
    """The inputs with the label, and zero for every other scalar that is missing.

    Raises:
        UserError: the label is not a class.
    """
    classes = class_count(graph)
    if not 0 <= label < classes:
        raise UserError(f"label {label} is not one of the {classes} classes 0..{classes - 1}")
    full = {
        n: np.zeros((), graph.type(n).dtype.numpy)
        for n in graph.inputs
        if graph.type(n).shape == ()
    }
    return {**full, **inputs, oracle.loss_node(graph).inputs[1]: np.asarray(label, np.uint32)}


def class_count(graph: Graph) -> int:
    """Width of the logits that the loss reads."""
    return graph.type(oracle.loss_node(graph).inputs[0]).count


def random_input(graph: Graph, seed: int) -> dict[str, Array]:
    """One sample for every input that is a tensor: uniform int8, or normal float32."""
    random = np.random.default_rng(seed)
    sample: dict[str, Array] = {}
    for name in graph.inputs:
        type_ = graph.type(name)
        if type_.shape and type_.dtype is DType.I8:
            sample[name] = random.integers(-128, 128, type_.shape).astype(np.int8)
        elif type_.shape:
            sample[name] = random.normal(size=type_.shape).astype(np.float32)
    return sample


def random_label(graph: Graph, seed: int) -> int:
    """A class."""
    return int(np.random.default_rng((seed, 1)).integers(class_count(graph)))
