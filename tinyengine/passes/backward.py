"""Reverse-mode differentiation at compile time: a forward graph in, its gradients beside it out.

Every operator's rule returns nodes of the same graph language. Gradients that meet are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tinyengine.errors import ModelError
from tinyengine.ir.graph import Builder, Graph, Node
from tinyengine.ir.tensor import DType, Quant, Role, TensorType
from tinyengine.ops.add import GradAdd
from tinyengine.ops.bias_grad import BiasGrad
from tinyengine.ops.borders import Dequantize
from tinyengine.ops.layout import Reshape
from tinyengine.ops.loss import SoftmaxXent
from tinyengine.ops.mask import Inside, MaskGrad
from tinyengine.ops.op import Op
from tinyengine.ops.softmax import Softmax

LOSS_LAYER = "loss"


class Tape:
    """Collects gradient nodes while the forward graph is walked from its end to its start."""

    def __init__(self, graph: Graph) -> None:
        self.builder = Builder(graph.name, replace(graph, nodes=()))
        self.forward = list(graph.nodes)
        self._after: dict[str, list[Node]] = {}
        self._gradient: dict[str, str] = {}
        self._wanted = _reached_by_trainables(graph)

    def type(self, name: str) -> TensorType:
        """Type of any value."""
        return self.builder.type(name)

    def d(self, name: str) -> str:
        """The gradient of `name`, complete: every consumer has added its part."""
        return self._gradient[name]

    def has(self, name: str) -> bool:
        """Whether any gradient reaches `name`."""
        return name in self._gradient

    def wants(self, name: str) -> bool:
        """Whether a trainable tensor lies at or before `name`."""
        return name in self._wanted

    def learns(self, name: str) -> bool:
        """Whether `name` is itself trainable."""
        return self.builder.values[name].role is Role.TRAINABLE

    def emit(self, op: Op, inputs: Sequence[str], type_: TensorType, hint: str, node: Node) -> str:
        """Append a gradient node that belongs to the layer of `node`; return its output."""
        outs = self.builder.node(op, inputs, [(hint, type_)], node.layer, Role.GRADIENT)
        return outs[0]

    def add(self, name: str, gradient: str) -> None:
        """A consumer's part of the gradient of `name`. Parts that meet are added."""
        if name in self._gradient:
            type_ = self.type(gradient)
            owner = Node(GradAdd(), (), (), self.builder.nodes[-1].layer)
            parts = (self._gradient[name], gradient)
            gradient = self.emit(GradAdd(), parts, type_, f"d_{name}.sum", owner)
        self._gradient[name] = gradient

    def inside(self, node: Node, lo: int, hi: int) -> str:
        """The gradient of a clamped output: straight through inside its range, zero where cut."""
        y = node.outputs[0]
        bits_type = TensorType(self.type(y).shape, DType.B1)
        bits = self.builder.value(f"{y}.inside", bits_type, Role.ACTIVATION)
        self._after.setdefault(y, []).append(Node(Inside(lo, hi), (y,), (bits,), node.layer))
        d_type = TensorType(self.type(y).shape, DType.F32)
        return self.emit(MaskGrad(), (self.d(y), bits), d_type, f"d_{y}.cut", node)

    def parameter(self, name: str, gradient: str) -> None:
        """Record the gradient of a trainable tensor."""
        self.builder.gradients.append((name, gradient))

    def bias_gradient(self, bias: str, d: str, layer: str) -> None:
        """Sum `d` over pixels into the gradient of `bias`, if that learns."""
        if self.learns(bias):
            d_type = TensorType(self.type(bias).shape, DType.F32)
            owner = Node(BiasGrad(), (), (), layer)
            self.parameter(bias, self.emit(BiasGrad(), (d,), d_type, f"d_{bias}", owner))

    def weight_scale(self, weight: str, count: int) -> str:
        """The weight's scales as a float32 constant, shape (count,)."""
        name = f"{weight}.scale"
        if name in self.builder.values:
            return name
        quant = self.type(weight).quant or Quant((1.0,))
        return self.builder.constant(name, quant.scales_of(count), DType.F32)

    def reduce_to(self, d: str, x: TensorType, node: Node) -> str:
        """Sum `d` over the axes along which x was broadcast, and give it x's shape."""
        if self.type(d).count != x.count:
            width = x.count
            if self.type(d).shape[-1] != width:
                flat = TensorType((self.type(d).count // width, width), DType.F32)
                d = self.emit(Reshape(), (d,), flat, f"{d}.flat", node)
            d = self.emit(BiasGrad(), (d,), TensorType((width,), DType.F32), f"{d}.sum", node)
        if self.type(d).shape != x.shape:
            d = self.emit(Reshape(), (d,), TensorType(x.shape, DType.F32), f"{d}.shaped", node)
        return d

    def finish(self, outputs: Sequence[str]) -> Graph:
        """Forward nodes, each followed by what backward keeps of it, then the gradients."""
        nodes: list[Node] = []
        for node in self.forward:
            nodes.append(node)
            for out in node.outputs:
                nodes += self._after.get(out, [])
        self.builder.nodes = nodes + self.builder.nodes
        self.builder.outputs = list(outputs)
        return self.builder.build()


def _reached_by_trainables(graph: Graph) -> set[str]:
    reached = {v.name for v in graph.with_role(Role.TRAINABLE)}
    for node in graph.nodes:
        if reached.intersection(node.inputs):
            reached.update(node.outputs)
    return reached


def last_row(graph: Graph) -> str:
    """The output, or what it was made from by softmax, dequantisation and reshapes of one row."""
    producers = graph.producers()
    name = graph.outputs[0]
    while name in producers and isinstance(producers[name].op, Softmax | Dequantize | Reshape):
        source = producers[name].inputs[0]
        if not _is_row(graph.type(source)):
            break
        name = source
    return name


def _is_row(type_: TensorType) -> bool:
    return bool(type_.shape) and type_.count == type_.shape[-1]


def logits_of(graph: Graph) -> str:
    """The value that the loss reads: the output, before any final softmax or dequantisation.

    Raises:
        ModelError: the graph does not end in one row of at least two logits.
    """
    name = last_row(graph)
    type_ = graph.type(name)
    if not _is_row(type_) or type_.count < 2:
        raise ModelError(
            f"model '{graph.name}' ends in '{name}' of shape {type_.shape}; training needs one row "
            "of at least 2 logits as the output"
        )
    return name


def backward(graph: Graph) -> Graph:
    """Append softmax cross-entropy and the gradient of every trainable tensor.

    The new graph has one more input, `label` () u32, and the outputs (loss, logits).

    Raises:
        ModelError: a trainable path crosses an operator without a gradient.
    """
    logits = logits_of(graph)
    forward = _until(graph, logits)
    tape = Tape(forward)
    b = tape.builder
    label = b.input("label", TensorType((), DType.U32))
    row = TensorType((1, tape.type(logits).count), DType.F32)
    real, owner = logits, Node(Reshape(), (), (), LOSS_LAYER)
    if tape.type(logits).dtype is DType.I8:
        shaped = TensorType(tape.type(logits).shape, DType.F32)
        real = b.node(Dequantize(), (logits,), [("logits", shaped)], LOSS_LAYER)[0]
    if tape.type(real).shape != row.shape:
        real = b.node(Reshape(), (real,), [("logits.row", row)], LOSS_LAYER)[0]
    loss, d = b.node(
        SoftmaxXent(),
        (real, label),
        [("loss", TensorType((), DType.F32)), ("d_logits", row)],
        LOSS_LAYER,
        Role.GRADIENT,
    )
    if tape.type(logits).shape != row.shape:
        d_type = TensorType(tape.type(logits).shape, DType.F32)
        d = tape.emit(Reshape(), (d,), d_type, "d_logits.shaped", owner)
    tape.add(logits, d)
    for node in reversed(forward.nodes):
        if tape.has(node.outputs[0]) and any(tape.wants(x) for x in node.inputs):
            _differentiate(tape, node)
    return tape.finish((loss, real))


def _until(graph: Graph, value: str) -> Graph:
    b = Builder(graph.name, graph)
    kept: list[Node] = []
    needed = {value}
    for node in reversed(b.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    b.nodes, b.outputs = kept[::-1], [value]
    return b.build()


def _differentiate(tape: Tape, node: Node) -> None:
    try:
        node.op.backward(tape, node)
    except NotImplementedError:
        raise ModelError(
            f"layer '{node.layer}': a trainable path crosses operator '{node.op.kind}', which has "
            "no gradient; freeze what lies before it or end the model there"
        ) from None
