"""A stable text form of graphs that parses back to the same graph.

    graph "tiny" source="python"
    input %x i8[1,8,8,3] q(0.0078125,0)
    trainable %w i8[4,1,1,3] q(0.01|0.02|0.03|0.04,0,axis=0) = "base64..."
    %y i8[1,8,8,4] q(0.05,-128) activation = conv2d(%x, %w, ...) {hi=127, ...} @"stem"
    output %y
    gradient %w <- %d_w
    update %w <- %w.next

Names may hold any printable character but white space, comma and parentheses. Data is base64 of the
little-endian array, so a text is complete; `write(graph, data=False)` leaves it out for reading.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import numpy as np

from tinyengine.errors import ModelError
from tinyengine.ir.attributes import format_op, parse_op
from tinyengine.ir.graph import Builder, Graph, Node
from tinyengine.ir.tensor import Array, DType, Quant, Role, TensorType, Value


def write(graph: Graph, data: bool = True) -> str:
    """The text of `graph`; without `data` constants show only their type."""
    meta = "".join(f" {k}={json.dumps(v)}" for k, v in sorted(graph.meta.items()))
    lines = [f"graph {json.dumps(graph.name)}{meta}"]
    lines += [f"input %{n} {format_type(graph.type(n))}" for n in graph.inputs]
    for value in graph.values.values():
        if value.data is not None:
            text = f' = "{_encode(value.data)}"' if data else ""
            lines.append(f"{value.role.value} %{value.name} {format_type(value.type)}{text}")
    lines += [node_line(graph, node) for node in graph.nodes]
    lines += [f"output %{n}" for n in graph.outputs]
    lines += [f"gradient %{a} <- %{b}" for a, b in graph.gradients]
    lines += [f"update %{a} <- %{b}" for a, b in graph.updates]
    return "\n".join(lines) + "\n"


def node_line(graph: Graph, node: Node) -> str:
    """One node as `write` prints it."""
    outs = ", ".join(
        f"%{n} {format_type(graph.type(n))} {graph.values[n].role.value}" for n in node.outputs
    )
    ins = ", ".join(f"%{n}" for n in node.inputs)
    name, attributes = format_op(node.op)
    return f"{outs} = {name}({ins}) {attributes} @{json.dumps(node.layer)}"


def format_type(type_: TensorType) -> str:
    """`i8[1,8,8,3] q(scale,zero point[,axis=n])`."""
    shape = ",".join(map(str, type_.shape))
    text = f"{type_.dtype.value}[{shape}]"
    if type_.quant is None:
        return text
    scales = "|".join(str(np.float32(s)) for s in type_.quant.scale)
    axis = "" if type_.quant.axis is None else f",axis={type_.quant.axis}"
    return f"{text} q({scales},{type_.quant.zero_point}{axis})"


def _encode(array: Array) -> str:
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(little.tobytes()).decode("ascii")


def parse(text: str) -> Graph:
    """The graph that `write` printed.

    Raises:
        ModelError: a line does not parse; the message names it.
    """
    builder = Builder("")
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            _parse_line(builder, line)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            shown = line if len(line) <= 120 else line[:117] + "..."
            raise ModelError(f"line {number} of the graph text: {error}: {shown!r}") from error
    return builder.build()


def _parse_line(b: Builder, line: str) -> None:
    word, _, rest = line.strip().partition(" ")
    if not word or word.startswith("#"):
        return
    if word == "graph":
        b.name, b.meta = _parse_header(rest)
    elif word == "input":
        name, type_ = _parse_value(rest)
        _undeclared(b, name)
        b.input(name, type_)
    elif word == "output":
        b.outputs.append(rest[1:])
    elif word in ("gradient", "update"):
        left, right = rest.split(" <- ")
        (b.gradients if word == "gradient" else b.updates).append((left[1:], right[1:]))
    elif word.startswith("%"):
        _parse_node(b, line)
    else:
        role = Role(word)
        declared, _, data = rest.partition(' = "')
        name, type_ = _parse_value(declared)
        _undeclared(b, name)
        b.values[name] = Value(name, type_, role, _decode(data.rstrip('"'), type_))


def _undeclared(b: Builder, name: str) -> None:
    if name in b.values:
        raise ValueError(f"value '{name}' is declared twice")


def _parse_header(rest: str) -> tuple[str, dict[str, str]]:
    decoder = json.JSONDecoder()
    name, end = decoder.raw_decode(rest)
    meta: dict[str, str] = {}
    while rest[end:].strip():
        key, _, tail = rest[end:].strip().partition("=")
        meta[key], end = decoder.raw_decode(tail)
        rest = tail
    return str(name), meta


def _parse_value(text: str) -> tuple[str, TensorType]:
    name, type_text, *quant = text.strip().split(" ")
    if not name.startswith("%"):
        raise ValueError(f"expected a name with '%', found '{name}'")
    dtype, _, shape = type_text.partition("[")
    sizes = tuple(int(n) for n in shape.rstrip("]").split(",") if n)
    return name[1:], TensorType(sizes, DType(dtype), _parse_quant(quant[0]) if quant else None)


def _parse_quant(text: str) -> Quant:
    scales, zero, *axis = text.removeprefix("q(").removesuffix(")").split(",")
    scale = tuple(float(np.float32(s)) for s in scales.split("|"))
    return Quant(scale, int(zero), int(axis[0].removeprefix("axis=")) if axis else None)


def _decode(data: str, type_: TensorType) -> Array:
    if not data and type_.count:
        zeros = np.zeros(type_.shape, type_.dtype.numpy)
        zeros.setflags(write=False)
        return zeros
    array = np.frombuffer(base64.b64decode(data, validate=True), type_.dtype.numpy)
    return array.reshape(type_.shape)


def _parse_node(b: Builder, line: str) -> None:
    left, _, right = line.partition(" = ")
    outputs = list(_parse_outputs(left))
    # The first '} @"' ends the attributes; a layer's name may hold anything.
    call, end, layer = right.partition('} @"')
    if not end:
        raise ValueError("expected '{attributes} @\"layer\"' at the end")
    head, _, attributes = call.partition(") ")
    kind, _, ins = head.partition("(")
    inputs = tuple(n.strip()[1:] for n in ins.split(",") if n.strip())
    for name, type_, role in outputs:
        _undeclared(b, name)
        b.values[name] = Value(name, type_, role)
    names = tuple(name for name, _, _ in outputs)
    b.nodes.append(Node(parse_op(kind, attributes + "}"), inputs, names, json.loads('"' + layer)))


def _parse_outputs(text: str) -> Iterator[tuple[str, TensorType, Role]]:
    for part in text.split(", "):
        declared, _, role = part.rpartition(" ")
        name, type_ = _parse_value(declared)
        yield name, type_, Role(role)
