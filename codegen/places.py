"""Where each value of a compiled model lives in C, and the arrays that must be declared for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from codegen.calls import ctype
from codegen.cnames import Names
from tinyengine.compiled import Compiled
from tinyengine.errors import InternalError
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array, DType, TensorType, Value
from tinyengine.plan.plan import Plan, Slot, storage

LABEL = 1  # of the inputs; the only scalar that is an argument: lr, seed, step are in te_hyper


@dataclass(frozen=True, slots=True)
class StateArray:
    """A tensor in static RAM: its value (with the initial data) and its C names."""

    value: Value
    array: str
    initial: str | None  # constant with its initial data; None: starts as zeros

    @property
    def nbytes(self) -> int:
        """Bytes of RAM."""
        return self.value.type.nbytes


def packed(array: Array, type_: TensorType) -> Array:
    """Return the array as it is stored: bits as bytes, everything else as it is, rank 1."""
    if type_.dtype is DType.B1:
        return np.packbits(array.reshape(-1), bitorder="little")
    return np.ascontiguousarray(array, type_.dtype.numpy).reshape(-1)


class Places:
    """C expressions for the values of both plans; a name means the same value in both."""

    def __init__(self, compiled: Compiled, arena: str, names: Names) -> None:
        self.arena, self._names = arena, names
        self.constants: dict[str, Value] = {}  # by C name
        self._constant_names: dict[str, str] = {}
        self.state = tuple(self._states(compiled))
        self._arrays = {s.value.name: s.array for s in self.state}

    def _states(self, compiled: Compiled) -> Iterator[StateArray]:
        if compiled.train is None:
            return
        for value in compiled.train.graph.state():
            zero = not np.asarray(value.require_data()).view(np.uint8).any()
            initial = None if zero else self._names.fresh("i", value.name)
            yield StateArray(value, self._names.fresh("s", value.name), initial)

    def at(self, slot: Slot, element: str) -> str:
        """Return a pointer to a slot of the arena."""
        return f"TE_AT({element}, {slot.offset})"

    def expression(self, plan: Plan, name: str) -> str:
        """Return the pointer (or, for a scalar input, the value) that stands for a value."""
        graph, held = plan.graph, storage(plan.graph).get(name, name)
        if held in self._arrays:
            return self._arrays[held]
        if name in plan.slots:
            return self.at(plan.slots[name], ctype(graph.type(name)))
        if name in graph.inputs:
            return "label" if graph.inputs.index(name) == LABEL else "NULL"
        return self._constant(graph, name)

    def _constant(self, graph: Graph, name: str) -> str:
        value = graph.values[name]
        if value.data is None:
            raise InternalError(f"value '{name}' has neither a slot in the arena nor data")
        if name not in self._constant_names:
            self._constant_names[name] = self._names.fresh("c", name)
            self.constants[self._constant_names[name]] = value
        c_name = self._constant_names[name]
        other = self.constants[c_name].require_data()
        if other is not value.data and not np.array_equal(other, value.data):
            raise InternalError(f"constant '{name}' differs between inference and training")
        return c_name
