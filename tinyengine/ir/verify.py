"""What must hold of every graph, as numbered rules; checked before the first and after every pass.

A rule that fails names itself, the stage, the layer and the value, and shows the lines around.
Rules run in order and later ones rely on earlier ones, so the first failure is the cause.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tinyengine.errors import InternalError, ModelError
from tinyengine.ir import verify_quant as quant
from tinyengine.ir.graph import Graph, Node
from tinyengine.ir.tensor import DType, Role, TensorType, Value
from tinyengine.ir.text import node_line
from tinyengine.ops.op import TypeRuleError
from tinyengine.ops.registry import OPS


class Stage(enum.Enum):
    """The pass after which a graph is checked."""

    IMPORT = "import"
    FOLD = "fold"
    HEAD = "head"
    QUANTISE = "quantise"
    BACKWARD = "backward"
    PRUNE = "prune"
    INTEGER = "integer"
    FUSE = "fuse"
    SIMPLIFY = "simplify"
    UPDATE = "update"
    SCHEDULE = "schedule"


ALWAYS = frozenset(Stage)
FORWARD = frozenset({Stage.IMPORT, Stage.FOLD, Stage.HEAD, Stage.QUANTISE})
SCHEDULED = frozenset({Stage.SCHEDULE})
TRIMMED = ALWAYS - FORWARD - {Stage.BACKWARD}

# Facts that rooms of the house tell each other; another one is one more line here.
META = frozenset(
    {
        "source",  # importer: tflite, python or mcunet
        "depthwise_layout",  # "ohw1": the file keeps depthwise weights as O, H, W, 1
        "input_dtype",  # "f32": fold took a Quantize off the input
        "output_dtype",  # "f32": fold took a Dequantize off the output
    }
)
GRADIENT_DTYPES = frozenset({DType.F32, DType.I32})
_DATA_ROLES = frozenset({Role.CONSTANT, Role.TRAINABLE, Role.STATE})
_MADE_ROLES = frozenset({Role.ACTIVATION, Role.GRADIENT})
_LEARNING_ROLES = frozenset({Role.TRAINABLE, Role.STATE})
_LINE_WIDTH = 160
_MANY_SCALES = re.compile(r"(q\([^|,]*)\|[^,]*")


class Fault(NamedTuple):
    """One place where a rule does not hold: what is wrong, the value and the node's index."""

    what: str
    value: str | None = None
    node: int | None = None


class View(NamedTuple):
    """A graph as the rules see it. maker: index of the node that makes each value."""

    graph: Graph
    stage: Stage
    maker: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """A numbered rule and the stages after which it must hold."""

    code: str
    text: str
    stages: frozenset[Stage]
    check: Callable[[View], Iterator[Fault]]


def verify(graph: Graph, stage: Stage) -> None:
    """Check every rule that holds after `stage`.

    Raises:
        ModelError: a rule fails after IMPORT, where the user's file is at fault.
        InternalError: a rule fails after a pass of our own.
    """
    maker = {name: i for i, node in enumerate(graph.nodes) for name in node.outputs}
    view = View(graph, stage, maker)
    for rule in RULES:
        if stage in rule.stages:
            for fault in rule.check(view):
                kind = ModelError if stage is Stage.IMPORT else InternalError
                raise kind(_message(view, rule, fault))


def _message(view: View, rule: Rule, fault: Fault) -> str:
    at = view.maker.get(fault.value) if fault.node is None and fault.value else fault.node
    place = f"graph '{view.graph.name}' after '{view.stage.value}'"
    if at is not None:
        place += f", layer '{view.graph.nodes[at].layer}'"
    if fault.value is not None:
        place += f", value '{fault.value}'"
    text = f"rule {rule.code} ({rule.text}) is broken in {place}: {fault.what}"
    return text if at is None else text + "\n" + _lines_around(view.graph, at)


def _lines_around(graph: Graph, at: int) -> str:
    lines = []
    for index in range(max(0, at - 2), min(len(graph.nodes), at + 3)):
        text = _MANY_SCALES.sub(r"\1|..", _line(graph, graph.nodes[index]))
        text = text if len(text) <= _LINE_WIDTH else text[: _LINE_WIDTH - 3] + "..."
        lines.append(f"{'>' if index == at else ' '} {index:4} | {text}")
    return "\n".join(lines)


def _line(graph: Graph, node: Node) -> str:
    if all(name in graph.values for name in node.outputs):
        return node_line(graph, node)
    return f"{', '.join(node.outputs)} = {node.op.kind}({', '.join(node.inputs)}) @{node.layer}"


def _mentioned(view: View) -> Iterator[tuple[str, int | None]]:
    graph = view.graph
    for index, node in enumerate(graph.nodes):
        for name in (*node.inputs, *node.outputs):
            yield name, index
    for name in (*graph.inputs, *graph.outputs):
        yield name, None
    for pair in (*graph.gradients, *graph.updates):
        for name in pair:
            yield name, None


def _names(view: View) -> Iterator[Fault]:
    for name, value in view.graph.values.items():
        if name != value.name:
            yield Fault(f"it is stored under the name '{name}'", value.name)
        if not name or not name.isprintable() or any(c in " ,()" or c.isspace() for c in name):
            yield Fault("the name is empty or holds white space, a comma or a parenthesis", name)


def _exists(view: View) -> Iterator[Fault]:
    for name, node in _mentioned(view):
        if name not in view.graph.values:
            yield Fault("no such value is declared", name, node)


def _made_once(view: View) -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for index, node in enumerate(view.graph.nodes):
        for name in node.outputs:
            if name in seen:
                yield Fault(f"nodes {seen[name]} and {index} both make it", name, index)
            seen[name] = index
    for name in view.graph.inputs:
        if view.graph.inputs.count(name) > 1:
            yield Fault("it is listed as an input twice", name)


def _roles(view: View) -> Iterator[Fault]:
    for name, value in view.graph.values.items():
        fault = _role_fault(value, name in view.maker, name in view.graph.inputs)
        if fault:
            yield Fault(f"its role is {value.role.value}, but {fault}", name)


def _role_fault(value: Value, made: bool, given: bool) -> str | None:
    if value.role is Role.INPUT:
        expected = (False, True, False)
    elif value.role in _DATA_ROLES:
        expected = (False, False, True)
    else:
        expected = (True, False, False)
    words = ("made by a node", "listed as an input", "given data")
    has = (made, given, value.data is not None)
    for word, is_so, should_be in zip(words, has, expected, strict=True):
        if is_so != should_be:
            return f"it is {word}" if is_so else f"it is not {word}"
    return None


def _defined_before(view: View) -> Iterator[Fault]:
    for index, node in enumerate(view.graph.nodes):
        for name in node.inputs:
            made = view.maker.get(name, -1)
            if made >= index:
                yield Fault(f"node {index} reads it, node {made} makes it", name, index)


def _shapes(view: View) -> Iterator[Fault]:
    for name, value in view.graph.values.items():
        if any(n < 1 for n in value.type.shape):
            yield Fault(f"its shape is {value.type.shape}", name)


def _data(view: View) -> Iterator[Fault]:
    for name, value in view.graph.values.items():
        data, type_ = value.data, value.type
        if data is None:
            continue
        if data.shape != type_.shape or data.dtype != type_.dtype.numpy:
            declared = f"{type_.dtype.numpy} {type_.shape}"
            yield Fault(f"declared {declared}, the data is {data.dtype} {data.shape}", name)
        elif data.flags.writeable:
            yield Fault("its data can be written to", name)


def _quantisation(view: View) -> Iterator[Fault]:
    for name, value in view.graph.values.items():
        fault = quant.fault_of_type(value.type)
        if fault:
            yield Fault(fault, name)


def _operators(view: View) -> Iterator[Fault]:
    for index, node in enumerate(view.graph.nodes):
        if OPS.get(node.op.kind) is not type(node.op):
            yield Fault(f"operator '{node.op.kind}' is not registered", node=index)
        if not node.layer:
            yield Fault(f"the node of operator '{node.op.kind}' has no layer name", node=index)


def _types(view: View) -> Iterator[Fault]:
    for index, node in enumerate(view.graph.nodes):
        try:
            node.op.check(view.graph.signature(node))
        except (TypeRuleError, LookupError, ValueError) as error:  # a rule may trip over a rank
            first = node.outputs[0] if node.outputs else None
            yield Fault(f"operator '{node.op.kind}': {error}", first, index)


def _multipliers(view: View) -> Iterator[Fault]:
    for index, node in enumerate(view.graph.nodes):
        fault = quant.fault_of_convolution(view.graph, node)
        if fault:
            yield Fault(fault, node.outputs[0], index)


def _borders(view: View) -> Iterator[Fault]:
    if not view.graph.outputs:
        yield Fault("the graph has no output")
    for name in view.graph.inputs:
        shape = view.graph.type(name).shape
        if shape and shape[0] != 1:
            yield Fault(f"its shape {shape} holds {shape[0]} samples", name)


def _meta(view: View) -> Iterator[Fault]:
    for key in view.graph.meta:
        if key not in META:
            yield Fault(f"meta key '{key}' is not one of {', '.join(sorted(META))}")


def _forward_only(view: View) -> Iterator[Fault]:
    for left, right in (*view.graph.gradients, *view.graph.updates):
        yield Fault(f"it is paired with '{right}' before differentiation", left)
    for value in view.graph.with_role(Role.GRADIENT):
        yield Fault("it is a gradient before differentiation", value.name)


def _gradients(view: View) -> Iterator[Fault]:
    seen: set[str] = set()
    for name, gradient in view.graph.gradients:
        value, d_type = view.graph.values[name], view.graph.type(gradient)
        if value.role is not Role.TRAINABLE:
            yield Fault(f"it has gradient '{gradient}' but role {value.role.value}", name)
        if name in seen:
            yield Fault("it has two gradients; those that meet must be added", name)
        seen.add(name)
        if d_type.shape != value.type.shape or d_type.dtype not in GRADIENT_DTYPES:
            yield Fault(
                f"{_brief(d_type)} is the gradient of '{name}' {_brief(value.type)}", gradient
            )


def _gradients_complete(view: View) -> Iterator[Fault]:
    have = {name for name, _ in view.graph.gradients}
    for value in view.graph.with_role(Role.TRAINABLE):
        if value.name not in have:
            yield Fault("no gradient reaches it", value.name)


def _updates(view: View) -> Iterator[Fault]:
    for name, following in view.graph.updates:
        value, next_type = view.graph.values[name], view.graph.type(following)
        if value.role not in _LEARNING_ROLES:
            yield Fault(f"it is updated but has role {value.role.value}", name)
        if following not in view.maker:
            yield Fault(f"its next value '{following}' is not made by a node", name)
        if next_type != value.type:
            yield Fault(
                f"{_brief(next_type)} takes the place of '{name}' {_brief(value.type)} "
                "(shape, type and quantisation must be equal)",
                following,
            )


def _brief(type_: TensorType) -> str:
    return f"{type_.dtype.value} {type_.shape}"


def _updated_once(view: View) -> Iterator[Fault]:
    for side in zip(*view.graph.updates, strict=True):
        for name in side:
            if side.count(name) > 1:
                yield Fault(f"it stands in {side.count(name)} updates", name)


def _updates_complete(view: View) -> Iterator[Fault]:
    have = {name for name, _ in view.graph.updates}
    for value in view.graph.values.values():
        if have and value.role in _LEARNING_ROLES and value.name not in have:
            yield Fault(f"its role is {value.role.value}, but nothing updates it", value.name)


def _read_before_update(view: View) -> Iterator[Fault]:
    written = {name: view.maker[following] for name, following in view.graph.updates}
    for index, node in enumerate(view.graph.nodes):
        for name in node.inputs:
            if index > written.get(name, index):
                what = f"node {index} reads the old value, node {written[name]} has replaced it"
                yield Fault(what, name, index)


def _needed(view: View) -> Iterator[Fault]:
    needed = set(view.graph.roots())
    for index in range(len(view.graph.nodes) - 1, -1, -1):
        node = view.graph.nodes[index]
        if needed.isdisjoint(node.outputs):
            yield Fault("nothing needs what this node makes", node.outputs[0], index)
        needed.update(node.inputs)
    needed.update(name for name, _ in view.graph.updates)
    for value in view.graph.values.values():
        if value.role in _DATA_ROLES and value.name not in needed:
            yield Fault("nothing reads it", value.name)


def _no_gradients_left(view: View) -> Iterator[Fault]:
    for name, gradient in view.graph.gradients:
        yield Fault(f"gradient '{gradient}' is still a result; updates take its place", name)


RULES: tuple[Rule, ...] = (
    Rule("V01", "names can be printed and read back", ALWAYS, _names),
    Rule("V02", "every value mentioned is declared", ALWAYS, _exists),
    Rule("V03", "every value is made once", ALWAYS, _made_once),
    Rule(
        "V04",
        "inputs are given, constants and states hold data, nodes make the rest",
        ALWAYS,
        _roles,
    ),
    Rule("V05", "a value is made before it is read", ALWAYS, _defined_before),
    Rule("V06", "every dimension is at least 1", ALWAYS, _shapes),
    Rule("V07", "data has the declared shape and type and is read-only", ALWAYS, _data),
    Rule(
        "V08",
        "quantisation fits: scales positive and finite, one or one per index of its axis, "
        "zero points in range",
        ALWAYS,
        _quantisation,
    ),
    Rule("V09", "operators are registered and belong to a layer", ALWAYS, _operators),
    Rule("V10", "types follow the operator's rule", ALWAYS, _types),
    Rule("V11", "requantisation constants say what the scales say", ALWAYS, _multipliers),
    Rule("V12", "the graph has an output, and inputs hold one sample", ALWAYS, _borders),
    Rule("V13", "meta keys are known", ALWAYS, _meta),
    Rule("V14", "a forward graph has no gradients and no updates", FORWARD, _forward_only),
    Rule(
        "V15", "a gradient is float32 or int32, shaped like its one trainable", ALWAYS, _gradients
    ),
    Rule("V16", "every trainable has a gradient", frozenset({Stage.BACKWARD}), _gradients_complete),
    Rule(
        "V17",
        "an update replaces a trainable or state by a made value of its type",
        ALWAYS,
        _updates,
    ),
    Rule("V18", "a state is updated once, by a value of its own", ALWAYS, _updated_once),
    Rule("V19", "every node and constant is needed", TRIMMED, _needed),
    Rule(
        "V20",
        "in a training graph every trainable and state is updated",
        SCHEDULED,
        _updates_complete,
    ),
    Rule("V21", "no old value is read after its update", SCHEDULED, _read_before_update),
    Rule(
        "V22", "a scheduled graph has updates in place of gradients", SCHEDULED, _no_gradients_left
    ),
)
