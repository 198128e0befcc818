"""Execute a plan as a device does: every value in one flat byte array, dead bytes poisoned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.plan.lifetime import last_uses
from tinyengine.plan.plan import Plan, Slot, Stream, storage
from tinyengine.sim.run_rows import POISON, RowMachine


class FlatMachine:
    """An arena, and the state beside it. `run` is one forward pass or one training step."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.arena = np.full(plan.arena_bytes, POISON, np.uint8)
        self.state = {v.name: np.array(v.require_data()) for v in plan.graph.state()}
        self._last = last_uses(plan.graph)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name. inputs: one array per graph input. State is updated in place."""
        graph = self.plan.graph
        scalars = {n: np.asarray(inputs[n], graph.type(n).dtype.numpy) for n in graph.inputs}
        self.arena[:] = POISON
        for name in graph.inputs:
            if name in self.plan.slots:
                self._store(name, scalars.pop(name))
        streams, behind = {s.first: s for s in self.plan.streams}, 0
        for step, node in enumerate(graph.nodes):
            if step in streams:
                behind = streams[step].end
                self._stream(streams[step], scalars)
            if step < behind:
                continue
            ins = [self._load(n, scalars) for n in node.inputs]
            results = node.op.evaluate(graph.signature(node), ins)
            self._poison(step)
            for name, array in zip(node.outputs, results, strict=True):
                self._store(name, array)
        return {n: self._load(n, scalars) for n in graph.outputs}

    def _stream(self, stream: Stream, scalars: Mapping[str, Array]) -> None:
        graph = self.plan.graph
        x = next(n for n in graph.nodes[stream.first].inputs if n in {*self.plan.slots, stream.fed})
        x_dies = self._last[x] < stream.end and x not in graph.outputs
        machine = RowMachine(self.plan, stream, self.arena, x_dies)
        machine.run(lambda name: self._load(name, scalars))
        if x_dies and stream.fed is None:
            self._kill(x, graph.nodes[stream.end - 1].outputs[0])
        block = self.plan.scratch[stream.first]
        if block is not None:
            self.arena[block.offset : block.end] = POISON

    def _kill(self, name: str, kept: str) -> None:
        """Poison what a dead value leaves around the one that has been written over it."""
        dead, out = self.plan.slots[name], self.plan.slots[kept]
        saved = self.arena[out.offset : out.end].copy()
        self.arena[dead.offset : dead.end] = POISON
        self.arena[out.offset : out.end] = saved

    def _load(self, name: str, scalars: Mapping[str, Array]) -> Array:
        graph = self.plan.graph
        if name in scalars:
            return scalars[name]
        if name in self.plan.slots:
            return unpack(self.arena, self.plan.slots[name], graph.type(name))
        kept = storage(graph).get(name, name)
        return self.state[kept] if kept in self.state else graph.values[kept].require_data()

    def _store(self, name: str, array: Array) -> None:
        graph = self.plan.graph
        if name in self.plan.slots:
            slot = self.plan.slots[name]
            self.arena[slot.offset : slot.end] = pack(array, graph.type(name))
        else:
            self.state[storage(graph)[name]][...] = array

    def _poison(self, step: int) -> None:
        node, scratch = self.plan.graph.nodes[step], self.plan.scratch[step]
        dead = [
            self.plan.slots[n]
            for n in node.inputs
            if n in self.plan.slots and self._last[n] == step
        ]
        for slot in (*dead, *([scratch] if scratch else [])):
            self.arena[slot.offset : slot.end] = POISON


def pack(array: Array, type_: TensorType) -> Array:
    """The bytes of `array` as the device holds them."""
    if type_.dtype is DType.B1:
        return np.packbits(array.reshape(-1), bitorder="little")
    typed = np.ascontiguousarray(array, type_.dtype.numpy)
    return np.frombuffer(typed.tobytes(), np.uint8)


def unpack(arena: Array, slot: Slot, type_: TensorType) -> Array:
    """An array from its bytes (a copy)."""
    raw = arena[slot.offset : slot.offset + type_.nbytes]
    if type_.dtype is DType.B1:
        bits = np.unpackbits(raw, bitorder="little")[: type_.count]
        return bits.astype(np.bool_).reshape(type_.shape)
    return np.frombuffer(raw.tobytes(), type_.dtype.numpy).reshape(type_.shape)
