"""Calls as C text, with the parameter structs and tables that they refer to, each stored once."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from codegen.calls import (
    NULL,
    Argument,
    Call,
    Operands,
    RowLoop,
    Struct,
    Table,
    table_type,
    values_text,
)
from codegen.cnames import Names, comment
from codegen.kernels import Phase, Variant, kernel_of, phase_of, twin_of
from codegen.places import Places
from tinyengine.ir.graph import Graph, Node
from tinyengine.ir.tensor import DType
from tinyengine.ops.op import Op
from tinyengine.ops.rescaled import Rescaled
from tinyengine.plan.plan import Plan
from tinyengine.plan.scratch import constants

WIDTH = 100


@dataclass(frozen=True, slots=True)
class Step:
    """One emitted node: its C statements, and what a profile calls it."""

    layer: str
    op: str
    phase: Phase
    lines: tuple[str, ...]


class Statements:
    """Writes the nodes of plans; collects what they use."""

    def __init__(self, places: Places, names: Names, hyper: str, variant: Variant) -> None:
        self.places, self._names, self.hyper, self.variant = places, names, hyper, variant
        self.declarations: list[str] = []  # parameter structs and tables, in order of first use
        self.functions: set[str] = set()
        self.used: set[str] = set()  # arguments as written
        self.table_bytes = 0
        self._stored: dict[tuple[str, str | bytes], str] = {}

    def node_step(self, plan: Plan, index: int) -> Step | None:
        """Return a node of a plan as one step; None if there is nothing to do."""
        node = plan.graph.nodes[index]
        calls = kernel_of(node.op, self.variant).write(node.op, self._operands(plan, index))
        if not calls:
            return None
        lines = [_comment(plan.graph, node)]
        for call in calls:
            lines += self.statement(call, node)
        phase = phase_of(plan.graph, node)
        return Step(node.layer, operator_name(node.op), phase, tuple(lines))

    def declare(self, prefix: str, hint: str, write: Callable[[str], str], nbytes: int = 0) -> str:
        """Return the name of a definition, which is written once for equal texts.

        write: the definition for a name. nbytes: of constant data in it.
        """
        key = (prefix, write(""))
        if key not in self._stored:
            self._stored[key] = self._names.fresh(prefix, hint)
            self.declarations.append(write(self._stored[key]))
            self.table_bytes += nbytes
        return self._stored[key]

    def _operands(self, plan: Plan, index: int) -> Operands:
        node, scratch = plan.graph.nodes[index], plan.scratch[index]
        sig = plan.graph.signature(node)
        element = "float" if sig.ins[0].dtype is DType.F32 else "int32_t"  # sums of gradients
        return Operands(
            node,
            sig,
            tuple(self.places.expression(plan, name) for name in node.inputs),
            tuple(self.places.expression(plan, name) for name in node.outputs),
            self.places.at(scratch, element) if scratch else NULL,
            self.hyper,
            constants(plan.graph, node),
        )

    def statement(self, call: Call | RowLoop, node: Node) -> Iterator[str]:
        """Write a call of a kernel for a node, line by line."""
        if isinstance(call, Call):
            yield from self._call(call, node, "")
            return
        step = "k++" if call.step == 1 else f"k += {call.step}"
        yield f"for (int32_t k = 0; k < {call.rows}; {step}) {{"
        for inner in call.body:
            yield from self._call(inner, node, "    ")
        yield "}"

    def _call(self, call: Call, node: Node, indent: str) -> list[str]:
        function = twin_of(call.function, self.variant)
        self.functions |= {call.function, function}
        args = [self._argument(arg, node) for arg in call.args]
        self.used.update(args)
        text = f"{function}({', '.join(args)});"
        return textwrap.wrap(
            text,
            WIDTH - 4,
            initial_indent=indent,
            subsequent_indent=indent + "    ",
            break_long_words=False,
            break_on_hyphens=False,
        )

    def _argument(self, arg: Argument, node: Node) -> str:
        if isinstance(arg, Struct):
            return "&" + self._struct(arg, node)
        return self._table(arg, node) if isinstance(arg, Table) else arg

    def _struct(self, item: Struct, node: Node) -> str:
        fields = [
            f".{name} = {self._table(value, node) if isinstance(value, Table) else value}"
            for name, value in item.fields
        ]
        body = "\n".join(textwrap.wrap(", ".join(fields), WIDTH - 4, break_on_hyphens=False))
        key = (item.ctype, body)
        if key not in self._stored:
            name = self._names.fresh("p", f"{node.layer}_{operator_name(node.op)}")
            self._stored[key] = name
            inner = textwrap.indent(body, "    ")
            self.declarations.append(f"static const {item.ctype} {name} = {{\n{inner}}};")
        return self._stored[key]

    def _table(self, table: Table, node: Node) -> str:
        key = (table_type(table), table.data.tobytes())
        if key not in self._stored:
            name = self._names.fresh("t", f"{node.layer}_{operator_name(node.op)}")
            self._stored[key] = name
            self.table_bytes += table.data.nbytes
            self.declarations.append(array_text(name, key[0], table))
        return self._stored[key]


def array_text(name: str, element: str, table: Table) -> str:
    """Return the definition of a constant array."""
    count = table.data.size
    return (
        f"static const {element} {name}[{count}] TE_ALIGNED = {{\n    {values_text(table.data)}}};"
    )


def operator_name(op: Op) -> str:
    """What a reader looks for: an integer gradient is the gradient of its operator."""
    return op.gradient.kind if isinstance(op, Rescaled) else op.kind


def _comment(graph: Graph, node: Node) -> str:
    shape = "x".join(map(str, graph.type(node.outputs[0]).shape)) or "scalar"
    return f"/* {comment(f'{node.layer}: {operator_name(node.op)} -> {shape}')} */"
