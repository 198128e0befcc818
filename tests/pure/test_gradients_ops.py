"""Every operator's gradient rule against central differences in float64, on random shapes.

One node, its operands marked trainable, a random gradient at its output. The differences are taken
of the oracle's real function, which is itself held to the operator's integer meaning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphs import Net
from tinyengine.ir.graph import Graph
from tinyengine.ir.tensor import Array, DType, Quant, Role, TensorType, dequantise
from tinyengine.ops.add import Add
from tinyengine.ops.borders import Dequantize
from tinyengine.ops.conv2d import Conv2d
from tinyengine.ops.depthwise import DepthwiseConv2d
from tinyengine.ops.layout import Concat, Pad, Reshape, Transpose
from tinyengine.ops.linear import Linear
from tinyengine.ops.loss import SoftmaxXent
from tinyengine.ops.lut import Lut
from tinyengine.ops.mean import Mean
from tinyengine.ops.mul import Mul
from tinyengine.ops.op import Op, Signature
from tinyengine.ops.pool import AvgPool, MaxPool
from tinyengine.ops.registry import OPS
from tinyengine.ops.window import Window
from tinyengine.passes.backward import Tape
from tinyengine.sim import oracle, real
from tinyengine.sim.run import run

quick = settings(max_examples=25, deadline=None)
sizes = st.integers(1, 6)
seeds = st.integers(0, 2**16)


def operand(net: Net, shape: tuple[int, ...], scale: float = 0.03, hint: str = "x") -> str:
    """A random int8 operand whose gradient is wanted; its zero point is not 0."""
    type_ = net.act(shape, scale)
    return net.b.constant(hint, net.codes(shape, -128), DType.I8, type_.quant, Role.TRAINABLE)


def compiled_gradients(graph: Graph, d: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """All values of one node and the real gradient of each trainable operand, by the tape."""
    (node,) = graph.nodes
    tape = Tape(graph)
    seed = tape.builder.input("d", TensorType(d.shape, DType.F32))
    tape.add(node.outputs[0], seed)
    node.op.backward(tape, node)
    found = dict(tape.builder.gradients)
    found.update({n: tape.d(n) for n in node.inputs if tape.has(n)})
    full = tape.finish(list(node.outputs))
    for each in full.nodes:
        each.op.check(full.signature(each))
    values = run(full, {"d": d})
    return values, {n: dequantise(full.type(g).quant, values[g]) for n, g in found.items()}


def differences(graph: Graph, d: Array, values: dict[str, Array]) -> dict[str, Array]:
    """Central differences of sum(d * cut output) for each trainable operand, by name."""
    (node,) = graph.nodes
    sig, stored = graph.signature(node), [values[n] for n in node.inputs]
    operands = dict(oracle.parameters_of(graph, [node], values))
    bounds = real.cut(node.op, sig)
    y = values[node.outputs[0]]
    weight = d if bounds is None else d * ((y > bounds[0]) & (y < bounds[1]))

    def loss(at: dict[str, Array]) -> float:
        ins = [
            at[n] if n in at else oracle.real_operand(graph, node, i, values[n])
            for i, n in enumerate(node.inputs)
        ]
        return float((weight * real.forward(node.op, sig, ins, stored)).sum())

    found = {}
    for name, value in operands.items():
        slope = np.zeros(value.size)
        for i in range(value.size):
            step = np.zeros(value.size)
            step[i] = 1e-4
            step = step.reshape(value.shape)
            ahead, behind = (loss({**operands, name: value + s}) for s in (step, -step))
            slope[i] = (ahead - behind) / 2e-4
        found[name] = slope.reshape(value.shape)
    return found


def assert_gradients(net: Net, y: str, wanted: Sequence[str] | None = None) -> None:
    """Tape and differences agree for every trainable operand of the one node that makes y."""
    graph = net.graph(y)
    d = net.random.normal(size=graph.type(y).shape).astype(np.float32)
    values, found = compiled_gradients(graph, d)
    expected = differences(graph, d.astype(np.float64), values)
    assert sorted(found) == sorted(wanted if wanted is not None else expected)
    for name, gradient in found.items():
        largest = np.abs(expected[name]).max(initial=0.0)
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-4, atol=3e-6 * largest + 1e-9)
    assert_meaning(graph, values)


def assert_meaning(graph: Graph, values: dict[str, Array]) -> None:
    """The real function, clamped, is what the integers say, to one step of the output."""
    (node,) = graph.nodes
    sig, y = graph.signature(node), node.outputs[0]
    ins = [oracle.real_operand(graph, node, i, values[n]) for i, n in enumerate(node.inputs)]
    linear = real.forward(node.op, sig, ins, [values[n] for n in node.inputs])
    quant = graph.type(y).quant
    if quant is None:
        np.testing.assert_allclose(values[y], linear, rtol=1e-5, atol=1e-5)
        return
    lo, hi = dequantise(quant, np.array(real.cut(node.op, sig) or (-128, 127)))
    assert np.abs(dequantise(quant, values[y]) - np.clip(linear, lo, hi)).max() <= 1.01 * max(
        quant.scale
    )


@st.composite
def windows(draw: st.DrawFn, dilated: bool = True, pool: bool = False) -> tuple[Window, int, int]:
    """A window with a picture that it fits: kernel, stride, four paddings and dilation differ."""
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if dilated else (1, 1)
    most = [kernel[i] - 1 if pool else 2 for i in (0, 0, 1, 1)]
    a, b, c, d = (draw(st.integers(0, m)) for m in most)
    made = Window(kernel, stride, (a, b, c, d), dilation)
    reach = [(k - 1) * s + 1 for k, s in zip(kernel, dilation, strict=True)]
    h = draw(st.integers(max(1, reach[0] - a - b), 6))
    w = draw(st.integers(max(1, reach[1] - c - d), 6))
    return made, h, w


ranges = st.sampled_from([(-128, 127), (-90, 127), (-60, 70)])


@quick
@given(windows(), st.integers(1, 4), st.integers(1, 4), ranges, seeds)
def test_conv2d(
    shape: tuple[Window, int, int], c: int, k: int, span: tuple[int, int], seed: int
) -> None:
    net, (win, h, w) = Net(seed), shape
    x = operand(net, (1, h, w, c))
    assert_gradients(net, net.conv(x, k, win, 0.04, *span))


@quick
@given(windows(), st.integers(1, 3), st.integers(1, 3), ranges, seeds)
def test_depthwise(
    shape: tuple[Window, int, int], c: int, many: int, span: tuple[int, int], seed: int
) -> None:
    net, (win, h, w) = Net(seed), shape
    x = operand(net, (1, h, w, c))
    assert_gradients(net, net.depthwise(x, many, win, 0.03, *span))


def second_shape(kind: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A second operand of the same shape, one per channel in two ways, or one value in two ways."""
    return {
        "same": shape,
        "channel": (1, 1, 1, shape[3]),
        "row": shape[3:],
        "one": (1, 1, 1, 1),
        "scalar": (1,),
    }[kind]


kinds = st.sampled_from(["same", "channel", "row", "one", "scalar"])


@quick
@given(sizes, sizes, st.integers(1, 4), kinds, ranges, st.booleans(), seeds)
def test_add(
    h: int, w: int, c: int, kind: str, span: tuple[int, int], fixed: bool, seed: int
) -> None:
    net = Net(seed)
    a = operand(net, (1, h, w, c))
    b = operand(net, second_shape(kind, (1, h, w, c)), 0.02, "b")
    if fixed:
        freeze(net, b)
    assert_gradients(net, net.add(a, b, 0.035, *span), ["x"] if fixed else ["b", "x"])


@quick
@given(sizes, sizes, st.integers(1, 4), kinds, ranges, st.sampled_from(["", "x", "b"]), seeds)
def test_mul(
    h: int, w: int, c: int, kind: str, span: tuple[int, int], fixed: str, seed: int
) -> None:
    net = Net(seed)
    a = operand(net, (1, h, w, c))
    b = operand(net, second_shape(kind, (1, h, w, c)), 0.02, "b")
    if fixed:
        freeze(net, fixed)
    assert_gradients(net, net.mul(a, b, 0.04, *span), [n for n in ("b", "x") if n != fixed])


def freeze(net: Net, name: str) -> None:
    value = net.b.values.pop(name)
    net.b.constant(name, value.require_data(), DType.I8, value.type.quant)


@quick
@given(windows(dilated=False, pool=True), st.integers(1, 3), ranges, seeds)
def test_avg_pool(shape: tuple[Window, int, int], c: int, span: tuple[int, int], seed: int) -> None:
    net, (win, h, w) = Net(seed), shape
    assert_gradients(net, net.pool(operand(net, (1, h, w, c)), AvgPool, win, *span))


@quick
@given(windows(dilated=False, pool=True), st.integers(1, 3), ranges, st.booleans(), seeds)
def test_max_pool(
    shape: tuple[Window, int, int], c: int, span: tuple[int, int], ties: bool, seed: int
) -> None:
    net, (win, h, w) = Net(seed), shape
    x = operand(net, (1, h, w, c))
    if ties:
        value = net.b.values.pop(x)
        few = np.asarray(value.require_data()) // 64
        net.b.constant(x, few, DType.I8, value.type.quant, Role.TRAINABLE)
    assert_gradients(net, net.pool(x, MaxPool, win, *span))


@quick
@given(
    sizes,
    sizes,
    sizes,
    st.sampled_from([(1, 1), (1, 2), (2, 2), (2, 3), (3, 3)]),
    st.sampled_from([None, 0.012]),
    seeds,
)
def test_mean(
    h: int, w: int, c: int, axes: tuple[int, int], scale: float | None, seed: int
) -> None:
    net = Net(seed)
    x = operand(net, (1, h, w, c))
    shape = (*(1, h, w, c)[: axes[0]], *(1, h, w, c)[axes[1] + 1 :])
    out = net.act(shape, scale) if scale else TensorType(shape, DType.I8, net.b.type(x).quant)
    assert_gradients(net, net.apply(Mean(*axes), (x,), out))


@quick
@given(sizes, sizes, st.sampled_from(["logistic", "relu", "requantise"]), seeds)
def test_lut(h: int, c: int, function: str, seed: int) -> None:
    net = Net(seed)
    assert_gradients(net, net.lut(operand(net, (1, h, c)), function))


pads = st.tuples(*[st.integers(0, 2)] * 4)


@quick
@given(sizes, sizes, st.integers(1, 3), pads, pads, seeds)
def test_pad(
    h: int, w: int, c: int, before: tuple[int, ...], after: tuple[int, ...], seed: int
) -> None:
    net, before, after = Net(seed), (0, *before[1:]), (0, *after[1:])
    shape = tuple(n + b + a for n, b, a in zip((1, h, w, c), before, after, strict=True))
    assert_gradients(net, net.move(Pad(before, after), operand(net, (1, h, w, c)), shape))


@quick
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 3), seeds)
def test_concat(widths: list[int], axis: int, seed: int) -> None:
    net = Net(seed)
    quant = Quant.per_tensor(0.02, 7)
    parts = []
    for width in widths:
        shape = [1, 2, 3, 2]
        shape[axis] = width
        parts.append(net.b.constant("x", net.codes(tuple(shape)), DType.I8, quant, Role.TRAINABLE))
    assert_gradients(net, net.concat(axis, *parts))


@quick
@given(sizes, sizes, sizes, st.permutations([0, 1, 2, 3]), seeds)
def test_reshape_and_transpose(h: int, w: int, c: int, order: list[int], seed: int) -> None:
    net = Net(seed)
    assert_gradients(net, net.move(Reshape(), operand(net, (1, h, w, c)), (1, w, h * c)))
    net = Net(seed)
    turned = tuple((1, h, w, c)[i] for i in order)
    op = Transpose(tuple(order))
    assert_gradients(net, net.move(op, operand(net, (1, h, w, c)), turned))


@quick
@given(sizes, st.integers(2, 5), seeds)
def test_linear_and_dequantize(c: int, classes: int, seed: int) -> None:
    net = Net(seed)
    weight = net.random.normal(size=(classes, c))
    names = [
        net.b.constant(n, data, DType.F32, role=Role.TRAINABLE)
        for n, data in (("x", net.random.normal(size=(1, c))), ("w", weight), ("b", weight[:, 0]))
    ]
    assert_gradients(net, net.apply(Linear(), tuple(names), TensorType((1, classes), DType.F32)))
    net = Net(seed)
    out = TensorType((1, c), DType.F32)
    assert_gradients(net, net.apply(Dequantize(), (operand(net, (1, c)),), out))


@given(st.lists(st.floats(-40, 40, width=32), min_size=2, max_size=12), st.data())
def test_loss(row: list[float], data: st.DataObject) -> None:
    label = data.draw(st.integers(0, len(row) - 1))
    logits = np.array([row], np.float32)
    loss, d = SoftmaxXent().evaluate(Signature((), ()), [logits, np.uint32(label)])
    wide = logits.astype(np.float64)
    assert abs(loss - oracle.cross_entropy(wide, label)) < 1e-5 * max(1.0, float(loss))
    for k in range(len(row)):
        step = np.eye(len(row))[[k]] * 1e-4
        ends = (oracle.cross_entropy(wide + s, label) for s in (step, -step))
        ahead, behind = ends
        assert abs(d[0, k] - (ahead - behind) / 2e-4) < 1e-6


def test_every_differentiable_operator_is_here() -> None:
    with_rule = {kind for kind, op in OPS.items() if op.backward is not Op.backward}
    tested = {
        op.kind
        for op in (
            Conv2d,
            DepthwiseConv2d,
            Add,
            Mul,
            AvgPool,
            MaxPool,
            Mean,
            Lut,
            Pad,
            Concat,
            Reshape,
            Transpose,
            Dequantize,
            Linear,
        )
    }
    assert with_rule == tested
