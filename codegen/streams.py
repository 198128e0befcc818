"""A stream as C: a table of rows, and one function that makes them with the ordinary kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from codegen.calls import NULL, PER_LINE, Call, Operands
from codegen.cnames import comment
from codegen.kernels import kernel_of
from codegen.statements import Statements, Step
from tinyengine.errors import InternalError
from tinyengine.ir.graph import Node
from tinyengine.ops.op import Op, Signature
from tinyengine.plan.plan import FeedRows, MakeRows, Plan, RowStep, Slide, Stream
from tinyengine.plan.scratch import constants

_INPUTS = ("r->a", "r->b")  # fields of te_row, for a node's first and second map of rows


def plan_steps(statements: Statements, plan: Plan, feeding: Plan) -> tuple[Step, ...]:
    """Return the nodes of a plan that do something, in order; a stream is one step.

    feeding: the plan at whose addresses a fed input and what is made of it arrive.
    """
    found: list[Step | None] = []
    streams, behind = {s.first: s for s in plan.streams}, 0
    for index in range(len(plan.graph.nodes)):
        if index in streams:
            behind = streams[index].end
            stream = streams[index]
            fed = stream.fed is not None
            found.append(
                fed_step(statements, plan, feeding)
                if fed
                else stream_step(statements, plan, stream)
            )
        elif index >= behind:
            found.append(statements.node_step(plan, index))
    return tuple(step for step in found if step is not None)


def stream_step(statements: Statements, plan: Plan, stream: Stream) -> Step:
    """Return the call of a stream's function, which is declared on the way, as one step."""
    return _Writer(statements, plan, stream).step()


def fed_step(statements: Statements, plan: Plan, feeding: Plan) -> Step:
    """What is left of a fed stream when a pass begins: its output goes where the plan has it."""
    stream, front = plan.fed, feeding.fed
    if stream is None or front is None or stream.rows != front.rows:
        raise InternalError("inference and training take the input in different rows")
    nodes = plan.graph.nodes[stream.first : stream.end]
    out, places = nodes[-1].outputs[0], statements.places
    here, there = (places.expression(p, out) for p in (plan, feeding))
    first, last = nodes[0].layer, nodes[-1].layer
    lines = [f"/* {comment(f'{first} .. {last}')}: made as the input came */"]
    if here != there:
        lines.append(f"memmove({here}, {there}, {plan.slots[out].nbytes}u);")
    return Step(f"{first}..{last}", "stream", "forward", tuple(lines))


def feed_function(statements: Statements, plan: Plan, state: str) -> str:
    """The name of the function that takes bytes of the input and runs as far as they allow.

    state: the C name of the te_feed that says how far that was.
    """
    stream = plan.fed
    if stream is None:
        raise InternalError("the input of this plan is whole")
    return _Writer(statements, plan, stream).feed(state)


class _Writer:
    def __init__(self, statements: Statements, plan: Plan, stream: Stream) -> None:
        self.statements, self.plan, self.stream = statements, plan, stream
        self.graph = plan.graph
        self.nodes = plan.graph.nodes[stream.first : stream.end]
        self.out = self.nodes[-1].outputs[0]
        self.made = {out for node in self.nodes for out in node.outputs}
        # the calls that differ in more than where their rows are, and the lines of each
        self._cases: dict[tuple[int, Op | None, Signature | str], int] = {}
        self._lines: list[list[str]] = []

    def step(self) -> Step:
        first, last = self.nodes[0].layer, self.nodes[-1].layer
        title = comment(f"{first} .. {last}: {len(self.nodes)} layers row by row")
        table, count = self.table()
        body = self.body(f"const te_row *r = {table}; r < {table} + {count}; r++")
        function = self.statements.declare(
            "stream",
            first,
            lambda name: (
                f"/* {title} */\n"
                f"static void {name}(const int8_t *x, int8_t *y, int8_t *lines)\n{body}"
            ),
        )
        places = self.statements.places
        x = next(n for n in self.nodes[0].inputs if n in self.plan.slots)
        block = self.plan.scratch[self.stream.first]
        args = (
            places.expression(self.plan, x),
            places.expression(self.plan, self.out),
            places.at(block, "int8_t") if block else "NULL",
        )
        line = f"{function}({', '.join(args)});"
        return Step(f"{first}..{last}", "stream", "forward", (f"/* {title} */", line))

    def feed(self, state: str) -> str:
        """The name of the stream's function, which goes on where it stopped for want of rows."""
        first, last = self.nodes[0].layer, self.nodes[-1].layer
        title = comment(f"{first} .. {last}: {len(self.nodes)} layers as far as the rows allow")
        table, count = self.table(state)
        loop = self.body(
            f"const te_row *r; (r = te_feed_next(&{state}, {table}, {count})) != NULL;"
        )
        places, block = self.statements.places, self.plan.scratch[self.stream.first]
        lines = [
            f"int8_t *const lines = {places.at(block, 'int8_t') if block else 'NULL'};",
            f"int8_t *const y = {places.expression(self.plan, self.out)};",
        ]
        body = "\n    ".join(["{", *lines]) + loop.removeprefix("{")
        return self.statements.declare(
            "feed",
            first,
            lambda name: (
                f"/* {title} */\nstatic void {name}(const uint8_t *bytes, uint32_t count)\n{body}"
            ),
        )

    def table(self, feed: str = "") -> tuple[str, int]:
        """The name of the table of rows, and how many there are."""
        rows = [self.entry(step, feed) for step in self.stream.rows]
        name = self.statements.declare(
            "t",
            f"{self.nodes[0].layer}_rows",
            lambda name: (
                f"static const te_row {name}[{len(rows)}] = {{\n    {_table_text(rows)}}};"
            ),
            8 * len(rows),
        )
        return name, len(rows)

    def entry(self, step: RowStep, feed: str) -> tuple[int, int, int, int]:
        if isinstance(step, FeedRows):
            return self.case((-2, None, ""), self.take(feed)), step.count, 0, step.out
        return self.slide(step) if isinstance(step, Slide) else self.make(step)

    def take(self, feed: str) -> Iterator[str]:
        """The statements that wait for rows of the input."""
        x = str(self.stream.fed)
        yield f"/* {comment(x)}: rows that come in */"
        goal, size = self.rows(x, "r->y"), f"{self.row_bytes(x)}u * r->a"
        yield f"if (!te_feed_take(&{feed}, &bytes, &count, {goal}, {size})) {{"
        yield "    return;"
        yield "}"

    def body(self, loop: str) -> str:
        """The loop over the rows."""
        lines = ["{"]
        if not self.stream.lines:
            lines.append("    (void)lines;")
        lines += [
            f"    for ({loop}) {{",
            "        switch (r->call) {",
        ]
        for number, case in enumerate(self._lines):
            label = f"case {number}" if number + 1 < len(self._lines) else "default"
            lines.append(f"        {label}:")
            lines += [f"            {line}" for line in (*case, "break;")]
        return "\n".join([*lines, "        }", "    }", "}"])

    def case(self, key: tuple[int, Op | None, Signature | str], lines: Iterator[str]) -> int:
        """The number of a call; its lines are written the first time."""
        if key not in self._cases:
            self._cases[key] = len(self._cases)
            self._lines.append(list(lines))
        return self._cases[key]

    def make(self, step: MakeRows) -> tuple[int, int, int, int]:
        """One entry of the table."""
        node = self.graph.nodes[step.node]
        whole = self.graph.signature(node)
        band = node.op.band(whole, step.row, step.count)
        if band is None:
            raise InternalError(f"layer '{node.layer}' cannot make rows {step.row} and up alone")
        sig = band.signature(whole)
        number = self.case((step.node, band.op, sig), self.call(step, band.op, sig))
        at = [i for i in step.ins if i is not None]
        return number, at[0], at[1] if len(at) > 1 else 0, step.out

    def call(self, step: MakeRows, op: Op, sig: Signature) -> Iterator[str]:
        """The statements that make rows of a node."""
        node = replace(self.graph.nodes[step.node], op=op)
        places, fields = self.statements.places, iter(_INPUTS)
        ins = tuple(
            places.expression(self.plan, name) if at is None else self.rows(name, next(fields))
            for name, at in zip(node.inputs, step.ins, strict=True)
        )
        scratch = self.stream.lines.get(f"#{step.node}")
        operands = Operands(
            node,
            sig,
            ins,
            (self.rows(self.out if node.outputs[0] == self.out else node.outputs[0], "r->y"),),
            f"(void *)(lines + {scratch.offset})" if scratch else NULL,
            self.statements.hyper,
            constants(self.graph, node),
        )
        yield f"/* {comment(f'{node.layer}: {op.kind}')} */"
        for call in kernel_of(op, self.statements.variant).write(op, operands):
            yield from self.statements.statement(call, node)

    def rows(self, name: str, position: str) -> str:
        """A pointer to a row of a map."""
        step = self.row_bytes(name)
        if name in self.stream.lines:
            return f"lines + {self.stream.lines[name].offset} + {step} * {position}"
        return f"{'y' if name == self.out else 'x'} + {step} * {position}"

    def row_bytes(self, name: str) -> int:
        type_ = self.graph.type(name)
        return type_.nbytes // type_.shape[1]

    def slide(self, step: Slide) -> tuple[int, int, int, int]:
        number = self.case((-1, None, step.name), self.slide_call(step))
        return number, step.start, step.count, 0

    def slide_call(self, step: Slide) -> Iterator[str]:
        size = f"{self.row_bytes(step.name)} * r->b"
        ends = (self.rows(step.name, "r->a"), self.rows(step.name, "r->y"))
        node = self.producer(step.name)
        yield f"/* {comment(f'{step.name}: drop rows')} */"
        yield from self.statements.statement(Call("te_slide_s8", (size, *ends)), node)

    def producer(self, name: str) -> Node:
        """Who makes a value; the first node stands for the caller, who makes a fed input."""
        return next((node for node in self.nodes if name in node.outputs), self.nodes[0])


def _table_text(rows: list[tuple[int, int, int, int]]) -> str:
    words = ["{" + ", ".join(map(str, row)) + "}" for row in rows]
    per_line = PER_LINE // 3
    lines = (", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line))
    return ",\n    ".join(lines)
