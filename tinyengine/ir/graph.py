"""The graph: immutable, single-assignment, typed. Passes make new graphs from old ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from tinyengine.ir.tensor import Array, DType, Quant, Role, TensorType, Value
from tinyengine.ops.op import Op, Signature

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: `outputs = op(inputs)`. `layer` is the name a person sees."""

    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layer: str


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in execution order over named values.

    inputs, outputs: value names in order. gradients: (trainable, its gradient) pairs, present
    between the passes `backward` and `update`. updates: (trainable or state, its next value) pairs:
    the next value takes the place of the old one when a step ends. meta: facts for other rooms of
    the house that have no arithmetic meaning (the dtype at a border, where a model came from).
    """

    name: str
    values: Mapping[str, Value]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    gradients: Pairs = ()
    updates: Pairs = ()
    meta: Mapping[str, str] = field(default_factory=dict)

    def type(self, name: str) -> TensorType:
        """Type of the value called `name`."""
        return self.values[name].type

    def signature(self, node: Node) -> Signature:
        """Types of a node's inputs and outputs."""
        return Signature(
            tuple(self.type(n) for n in node.inputs), tuple(self.type(n) for n in node.outputs)
        )

    def producers(self) -> dict[str, Node]:
        """The node that makes each value (inputs, constants and states have none)."""
        return {out: node for node in self.nodes for out in node.outputs}

    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that read each value, in order; a node appears once."""
        users: dict[str, list[Node]] = {name: [] for name in self.values}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                users[name].append(node)
        return users

    def with_role(self, role: Role) -> list[Value]:
        """Values of one role, in order of appearance."""
        return [v for v in self.values.values() if v.role is role]

    def roots(self) -> list[str]:
        """Values that must be computed: outputs, gradients and next states."""
        return [*self.outputs, *(g for _, g in self.gradients), *(n for _, n in self.updates)]

    def state(self) -> list[Value]:
        """What changes from step to step, in the fixed order of the state hash."""
        return [self.values[name] for name, _ in self.updates]


class Builder:
    """Collects values and nodes, then freezes them into a Graph."""

    def __init__(self, name: str, base: Graph | None = None) -> None:
        self.name = name
        self.values: dict[str, Value] = dict(base.values) if base else {}
        self.nodes: list[Node] = list(base.nodes) if base else []
        self.inputs: list[str] = list(base.inputs) if base else []
        self.outputs: list[str] = list(base.outputs) if base else []
        self.gradients: list[tuple[str, str]] = list(base.gradients) if base else []
        self.updates: list[tuple[str, str]] = list(base.updates) if base else []
        self.meta: dict[str, str] = dict(base.meta) if base else {}

    def fresh(self, hint: str) -> str:
        """A value name that is not taken: `hint`, else `hint.2`, `hint.3`, ..."""
        name, number = hint, 2
        while name in self.values:
            name, number = f"{hint}.{number}", number + 1
        return name

    def value(self, hint: str, type_: TensorType, role: Role, data: Array | None = None) -> str:
        """Add a value under a fresh name made from `hint`; return the name."""
        name = self.fresh(hint)
        if data is not None:
            data = np.ascontiguousarray(data, dtype=type_.dtype.numpy).reshape(type_.shape)
            data.setflags(write=False)
        self.values[name] = Value(name, type_, role, data)
        return name

    def input(self, name: str, type_: TensorType) -> str:
        """Add a graph input."""
        name = self.value(name, type_, Role.INPUT)
        self.inputs.append(name)
        return name

    def constant(
        self,
        hint: str,
        data: Array,
        dtype: DType,
        quant: Quant | None = None,
        role: Role = Role.CONSTANT,
    ) -> str:
        """Add a constant (or trainable, or state) with its data."""
        array = np.asarray(data)
        return self.value(hint, TensorType(tuple(array.shape), dtype, quant), role, array)

    def node(
        self,
        op: Op,
        inputs: Iterable[str],
        outputs: Iterable[tuple[str, TensorType]],
        layer: str,
        role: Role = Role.ACTIVATION,
    ) -> tuple[str, ...]:
        """Append a node; `outputs` are (name hint, type). Returns the output names."""
        names = tuple(self.value(hint, type_, role) for hint, type_ in outputs)
        self.nodes.append(Node(op, tuple(inputs), names, layer))
        return names

    def type(self, name: str) -> TensorType:
        """Type of a value added so far."""
        return self.values[name].type

    def build(self) -> Graph:
        """Freeze, dropping values that nothing mentions."""
        used = set(self.inputs) | set(self.outputs)
        used.update(n for pair in (*self.gradients, *self.updates) for n in pair)
        for node in self.nodes:
            used.update(node.inputs)
            used.update(node.outputs)
        values = {n: v for n, v in self.values.items() if n in used}
        return Graph(
            self.name,
            MappingProxyType(values),
            tuple(self.nodes),
            tuple(self.inputs),
            tuple(self.outputs),
            tuple(self.gradients),
            tuple(self.updates),
            MappingProxyType(dict(self.meta)),
        )


def retain(graph: Graph, roots: Iterable[str]) -> Graph:
    """The same graph with only the nodes that `roots` need (dead-code elimination)."""
    needed = set(roots)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    builder = Builder(graph.name, replace(graph, nodes=tuple(reversed(kept))))
    return builder.build()
