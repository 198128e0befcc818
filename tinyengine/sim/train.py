"""Training in the simulator: the same steps, the same bits, the same state hash as on a device."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from tinyengine.errors import InternalError
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array
from tinyengine.ops.row_step import RowStep
from tinyengine.ops.sgd import SgdI8
from tinyengine.sim.run import run
from tinyengine.sim.run_plan import pack


class Trainer:
    """Runs a training graph step by step, holding its state: a `sim.engine.TrainingEngine`."""

    def __init__(self, graph: Graph, lr: float, seed: int = 0, infer: Graph | None = None) -> None:
        """Start with the graph's own state. infer: the inference graph, for `predict` alone."""
        self.graph, self.lr, self.seed, self.step_count = graph, lr, seed, 0
        self._infer = infer
        self._state = {v.name: np.array(v.require_data()) for v in graph.state()}

    def step(self, x: Array, label: int) -> float:
        """One step at batch 1: x of the model's input shape, label in [0, classes). The loss."""
        x_name, label_name, lr, seed, step = self.graph.inputs
        shape = self.graph.type(x_name).shape
        inputs = {
            x_name: np.asarray(x).reshape(shape),
            label_name: np.uint32(label),
            lr: np.float32(self.lr),
            seed: np.uint32(self.seed & 0xFFFFFFFF),
            step: np.uint32(self.step_count),
        }
        values = run(self.graph, {k: np.asarray(v) for k, v in inputs.items()}, self._state)
        self._state = {old: np.asarray(values[new]) for old, new in self.graph.updates}
        self.step_count += 1
        self.logits = values[self.graph.outputs[1]]
        return float(values[self.graph.outputs[0]])

    def predict(self, x: Array) -> Array:
        """Classes (n,) of samples (n, *input shape without the batch): the largest output.

        Raises:
            InternalError: the trainer was made without an inference graph.
        """
        if self._infer is None:
            raise InternalError("this trainer was made without an inference graph: no predictions")
        held = {n: array for n, array in self._state.items() if n in self._infer.values}
        values = run(self._infer, {self._infer.inputs[0]: x}, held)
        outputs = values[self._infer.outputs[0]].reshape(len(x), -1)
        classes: Array = np.argmax(outputs, axis=1)
        return classes

    def state(self) -> dict[str, Array]:
        """Current arrays in state order."""
        return dict(self._state)

    def hash(self) -> str:
        """SHA-256 over the bytes of all state tensors in state order, as hex."""
        return state_hash(self.graph, self._state)


def state_hash(graph: Graph, state: Mapping[str, Array]) -> str:
    """SHA-256 over the little-endian bytes of every state tensor, in state order."""
    digest = hashlib.sha256()
    for value in graph.state():
        digest.update(pack(state[value.name], value.type).tobytes())
    return digest.hexdigest()


def model_state(graph: Graph, state: Mapping[str, Array]) -> dict[str, Array]:
    """Trainable tensors in the model's own shape and channel order, named LAYER/weight, LAYER/bias.

    Partly trained weights get their frozen channels back; fractions (master16) are merged into
    int16 in steps of 1/256; depthwise and fully connected weights take the shape of the file they
    came from.
    """
    found: dict[str, Array] = {}
    for value in graph.state():
        if value.name.endswith((".fraction", ".sum", ".exponent")):
            continue
        array = np.array(state[value.name])
        fraction = state.get(f"{value.name}.fraction")
        if fraction is not None:
            array = (array.astype(np.int32) * 256 + fraction).astype(np.int16)
        array = _whole(graph, value.name, array)
        found[value.name] = _file_layout(graph, value.name, array)
    return found


def _whole(graph: Graph, name: str, learned: Array) -> Array:
    """Put the learned channels of a split weight back among its frozen ones."""
    frozen = graph.values.get(f"{name}.frozen")
    if frozen is None:
        return learned
    channels = list(_channels(graph, name))
    rest = frozen.require_data().astype(learned.dtype)
    if learned.dtype == np.int16:
        rest = rest * np.int16(256)
    width = len(channels) + rest.shape[-1]
    whole = np.empty((*learned.shape[:-1], width), learned.dtype)
    whole[..., channels] = learned
    whole[..., [c for c in range(width) if c not in channels]] = rest
    return whole


def _channels(graph: Graph, name: str) -> tuple[int, ...]:
    """The channels that learn, as the weight's update knows them."""
    for node in graph.nodes:
        op = node.op.update if isinstance(node.op, RowStep) else node.op
        if isinstance(op, SgdI8) and name in node.inputs:
            return op.channels
    raise InternalError(f"weight '{name}' is split but nothing updates it")


def _file_layout(graph: Graph, name: str, array: Array) -> Array:
    """Depthwise weights as the file has them; (k, c) where a 1x1 convolution stands for dense."""
    users = graph.consumers().get(name, [])
    if array.ndim == 4 and any(n.outputs[0] == f"{n.layer}/out" for n in users):
        return array.reshape(array.shape[0], array.shape[3])
    ohw1 = graph.meta.get("depthwise_layout") == "ohw1"
    if ohw1 and array.ndim == 4 and any(n.op.kind == "depthwise_conv2d" for n in users):
        return np.ascontiguousarray(array.transpose(3, 1, 2, 0))
    return array
