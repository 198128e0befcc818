"""Every numbered rule is broken once, and the message names what a person must know."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pytest

from tests.graphs import Net, residual_net, window
from tinyengine.errors import InternalError, ModelError
from tinyengine.ir.graph import Builder, Graph, Node
from tinyengine.ir.tensor import DType, Quant, Role, TensorType, Value
from tinyengine.ir.verify import RULES, Stage, verify
from tinyengine.ops.bias_grad import BiasGrad
from tinyengine.ops.conv2d import Conv2dBwdInput
from tinyengine.ops.mask import Inside
from tinyengine.ops.pool import AvgPool
from tinyengine.ops.sgd import SgdI8, SgdI32, tensor_key
from tinyengine.passes.backward import backward

Mutation = Callable[[Graph], Graph]


def trained(graph: Graph) -> Graph:
    """Backward's graph with a plain update of every trainable: what a schedule starts from."""
    b = Builder(graph.name, graph)
    scalars = (("lr", DType.F32), ("seed", DType.U32), ("step", DType.U32))
    tail = tuple(b.input(name, TensorType((), dtype)) for name, dtype in scalars)
    for name, gradient in graph.gradients:
        type_ = graph.type(name)
        axis = type_.quant.axis if type_.quant else 0
        assert axis is not None
        ratio = b.constant(f"{name}.ratio", np.ones(type_.shape[axis]), DType.F32)
        op = (
            SgdI32("nearest", tensor_key(name))
            if type_.dtype is DType.I32
            else SgdI8("nearest", axis, tensor_key(name))
        )
        out = b.node(op, (name, gradient, ratio, *tail), [(f"{name}.next", type_)], name)
        b.updates.append((name, out[0]))
    b.gradients = []
    return b.build()


FORWARD = residual_net()
BACKWARD = backward(FORWARD)
SCHEDULED = trained(BACKWARD)
BASE = {
    Stage.IMPORT: FORWARD,
    Stage.FOLD: FORWARD,
    Stage.QUANTISE: FORWARD,
    Stage.BACKWARD: BACKWARD,
    Stage.PRUNE: BACKWARD,
    Stage.FUSE: BACKWARD,
    Stage.SIMPLIFY: BACKWARD,
    Stage.UPDATE: SCHEDULED,
    Stage.SCHEDULE: SCHEDULED,
}


def with_value(at: str, **changes: object) -> Mutation:
    def mutate(graph: Graph) -> Graph:
        values = dict(graph.values)
        values[at] = replace(values[at], **changes)
        return replace(graph, values=MappingProxyType(values))

    return mutate


def with_quant(name: str, quant: Quant | None) -> Mutation:
    return lambda graph: with_value(name, type=replace(graph.type(name), quant=quant))(graph)


def with_new(*new: Value) -> Mutation:
    return lambda graph: replace(
        graph, values=MappingProxyType({**graph.values, **{v.name: v for v in new}})
    )


def with_node(of_layer: str, **changes: object) -> Mutation:
    def mutate(graph: Graph) -> Graph:
        nodes = list(graph.nodes)
        at = next(i for i, node in enumerate(nodes) if node.layer == of_layer)
        nodes[at] = replace(nodes[at], **changes)
        return replace(graph, nodes=tuple(nodes))

    return mutate


def with_data(name: str, change: Callable[[np.ndarray], object]) -> Mutation:
    def mutate(graph: Graph) -> Graph:
        data = np.array(graph.values[name].require_data())
        change(data)
        data.setflags(write=False)
        return with_value(name, data=data)(graph)

    return mutate


def appended(node: Node, *values: Value) -> Mutation:
    return lambda graph: replace(with_new(*values)(graph), nodes=(*graph.nodes, node))


def hoisted(name: str) -> Mutation:
    """Gradient and update of `name` before the input gradient, which reads the old value."""

    def mutate(graph: Graph) -> Graph:
        early = [n for n in graph.nodes if n.outputs[0] in (f"d_{name}", f"{name}.next")]
        rest = [n for n in graph.nodes if n not in early]
        at = next(
            i for i, n in enumerate(rest) if isinstance(n.op, Conv2dBwdInput) and name in n.inputs
        )
        return replace(graph, nodes=(*rest[:at], *early, *rest[at:]))

    return mutate


def two_samples() -> Graph:
    net = Net()
    x = net.b.input("x", net.act((2, 4, 4, 2), 0.1))
    return net.graph(net.conv(x, 2, window(1)))


def without_trainable(name: str) -> Mutation:
    return lambda graph: replace(graph, gradients=tuple(p for p in graph.gradients if p[0] != name))


@dataclass(frozen=True, slots=True)
class BiasGradFork(BiasGrad):
    """Looks like a registered operator, is another class."""


W, B = "conv3/weight", "conv3/bias"
BITS = TensorType((1, 5), DType.B1)
SPARE = Value(
    "spare", TensorType((2,), DType.F32), Role.CONSTANT, np.broadcast_to(np.float32(1), (2,))
)
THREE = MappingProxyType({n: Quant.per_axis(np.full(n, 0.01), 0) for n in (3, 6)})

THREE_AXIS_3 = Quant.per_axis(np.full(6, 0.01), 3)

# rule, stage, how the valid graph is broken, what the message must say
BROKEN: list[tuple[str, Stage, Mutation, str]] = [
    ("V01", Stage.IMPORT, with_new(Value("a b", BITS, Role.ACTIVATION)), "value 'a b'"),
    ("V01", Stage.FOLD, with_value("conv1", name="other"), "under the name 'conv1'"),
    (
        "V02",
        Stage.FOLD,
        with_node("add4", inputs=("conv1", "ghost")),
        "layer 'add4', value 'ghost': no such value",
    ),
    ("V02", Stage.FOLD, lambda g: replace(g, outputs=("gone",)), "value 'gone'"),
    ("V03", Stage.FOLD, appended(FORWARD.nodes[3]), "nodes 3 and 7 both make it"),
    ("V03", Stage.FOLD, lambda g: replace(g, inputs=("x", "x")), "input twice"),
    ("V04", Stage.IMPORT, with_value(W, data=None), "not given data"),
    ("V04", Stage.FOLD, with_value(W, role=Role.ACTIVATION), "it is not made by a node"),
    ("V04", Stage.FOLD, with_value("conv1", role=Role.STATE), "it is made by a node"),
    ("V04", Stage.FOLD, lambda g: replace(g, inputs=()), "not listed as an input"),
    ("V05", Stage.FOLD, lambda g: replace(g, nodes=g.nodes[::-1]), "node 0 reads it"),
    ("V06", Stage.FOLD, with_new(replace(SPARE, type=TensorType((0,), DType.F32))), "(0,)"),
    ("V07", Stage.FOLD, with_value(B, data=np.zeros(6, np.int64)), "declared int32 (6,)"),
    ("V07", Stage.FOLD, with_value(B, data=np.zeros(5, np.int32)), "data is int32 (5,)"),
    ("V07", Stage.FOLD, with_value(B, data=np.zeros(6, np.int32)), "can be written to"),
    ("V08", Stage.FOLD, with_quant(W, THREE[3]), "3 scales where 6 are expected"),
    ("V08", Stage.FOLD, with_quant(W, Quant((0.1,), 0, 4)), "axis 4 does not exist"),
    ("V08", Stage.IMPORT, with_quant("conv1", Quant((0.0,), 0)), "scale 0 is not a positive"),
    ("V08", Stage.IMPORT, with_quant("conv1", Quant((float("nan"),), 0)), "scale nan"),
    ("V08", Stage.IMPORT, with_quant("conv1", Quant((float("inf"),), 0)), "scale inf"),
    ("V08", Stage.IMPORT, with_quant("conv1", Quant((0.1,), 128)), "zero point 128 is outside"),
    ("V08", Stage.IMPORT, with_quant(B, Quant((0.1,), 3)), "zero point 3 is outside [0, 0]"),
    ("V09", Stage.BACKWARD, with_node("conv7", op=BiasGradFork()), "'bias_grad' is not reg"),
    ("V09", Stage.FOLD, with_node("conv7", layer=""), "no layer name"),
    ("V10", Stage.FOLD, with_node("add4", inputs=("conv1", "x")), "does not broadcast"),
    ("V10", Stage.FOLD, with_node("conv1", op=replace(FORWARD.nodes[0].op, hi=128)), "[-100, 128]"),
    (
        "V11",
        Stage.FOLD,
        with_data("conv3/multiplier", lambda a: np.add(a, 4000, out=a)),
        "channel 0 is multiplied by",
    ),
    ("V11", Stage.IMPORT, with_data("conv3/shift", lambda a: a.fill(-40)), "beyond [-31, 30]"),
    ("V11", Stage.FOLD, with_quant("conv3/bias", THREE[6]), "off input x weight"),
    ("V10", Stage.FOLD, with_quant(W, None), "weight must be symmetric"),
    ("V10", Stage.FOLD, with_quant(W, THREE_AXIS_3), "one per index of axis 0"),
    ("V12", Stage.FOLD, lambda g: replace(g, outputs=()), "has no output"),
    ("V12", Stage.FOLD, lambda _: two_samples(), "value 'x': its shape (2, 4, 4, 2) holds 2"),
    ("V13", Stage.FOLD, lambda g: replace(g, meta={"weather": "fine"}), "meta key 'weather'"),
    ("V14", Stage.QUANTISE, lambda g: replace(g, updates=((W, "conv3"),)), "paired with 'conv3'"),
    ("V14", Stage.QUANTISE, with_value("conv3", role=Role.GRADIENT), "before differentiation"),
    (
        "V15",
        Stage.BACKWARD,
        lambda g: replace(g, gradients=(*g.gradients, ("conv3/shift", f"d_{B}"))),
        "role constant",
    ),
    (
        "V15",
        Stage.BACKWARD,
        lambda g: replace(g, gradients=(*g.gradients, g.gradients[0])),
        "two gradients",
    ),
    ("V15", Stage.BACKWARD, lambda g: replace(g, gradients=((W, f"d_{B}"),)), "f32 (6,) is the"),
    ("V16", Stage.BACKWARD, without_trainable(W), f"value '{W}': no gradient reaches it"),
    (
        "V17",
        Stage.SCHEDULE,
        lambda g: replace(g, updates=((W, f"{B}.next"),)),
        "i32 (6,) takes the place of 'conv3/weight' i8 (6, 1, 1, 6)",
    ),
    (
        "V17",
        Stage.UPDATE,
        lambda g: replace(g, updates=(("conv3/shift", f"{B}.next"),)),
        "role constant",
    ),
    ("V17", Stage.UPDATE, lambda g: replace(g, updates=((B, B),)), "not made by a node"),
    (
        "V18",
        Stage.UPDATE,
        lambda g: replace(g, updates=(*g.updates, (B, f"{B}.next"))),
        "stands in 2 updates",
    ),
    (
        "V19",
        Stage.PRUNE,
        appended(
            Node(Inside(0, 1), ("conv7",), ("bits",), "extra"),
            Value("bits", TensorType((1, 1, 1, 5), DType.B1), Role.ACTIVATION),
        ),
        "layer 'extra', value 'bits': nothing needs",
    ),
    ("V19", Stage.SIMPLIFY, with_new(SPARE), "value 'spare': nothing reads it"),
    (
        "V20",
        Stage.SCHEDULE,
        with_value("conv3/shift", role=Role.STATE),
        "value 'conv3/shift': its role is state, but nothing updates it",
    ),
    ("V21", Stage.SCHEDULE, hoisted(W), f"value '{W}': node"),
    ("V22", Stage.SCHEDULE, lambda g: replace(g, gradients=((B, f"d_{B}"),)), "still a result"),
]


def test_valid_graphs_pass_after_every_stage() -> None:
    for stage, graph in BASE.items():
        verify(graph, stage)


@pytest.mark.parametrize(
    ("code", "stage", "mutate", "said"), BROKEN, ids=[f"{b[0]}-{i}" for i, b in enumerate(BROKEN)]
)
def test_broken_rule_is_named(code: str, stage: Stage, mutate: Mutation, said: str) -> None:
    kind = ModelError if stage is Stage.IMPORT else InternalError
    with pytest.raises(kind) as caught:
        verify(mutate(BASE[stage]), stage)
    message = str(caught.value)
    assert message.startswith(f"rule {code} (")
    assert f"after '{stage.value}'" in message
    assert said in message


def test_scales_whose_product_vanishes_are_a_fault_and_no_warning() -> None:
    tiny = Quant.per_tensor(1e-44)
    broken = with_quant("conv1", tiny)(with_quant(W, tiny)(with_quant(B, tiny)(FORWARD)))
    with pytest.raises(ModelError, match="rule V11"):
        verify(broken, Stage.IMPORT)


def test_every_rule_is_broken_by_a_test() -> None:
    assert {code for code, *_ in BROKEN} == {rule.code for rule in RULES}


def test_rule_numbers_are_in_order_and_texts_differ() -> None:
    assert [rule.code for rule in RULES] == [f"V{i:02}" for i in range(1, len(RULES) + 1)]
    assert len({rule.text for rule in RULES}) == len(RULES)


def test_message_shows_the_lines_around() -> None:
    broken = with_node("add4", inputs=("conv1", "x"))(FORWARD)
    with pytest.raises(InternalError) as caught:
        verify(broken, Stage.FOLD)
    lines = str(caught.value).splitlines()[1:]
    starts = [f"{'>' if i == 3 else ' '} {i:4} |" for i in range(1, 6)]
    assert [line[:8] for line in lines] == starts
    assert '= add(%conv1, %x) {lo=-128, hi=127} @"add4"' in lines[2]
    assert max(map(len, lines)) <= 170


def test_rules_hold_only_at_their_stages() -> None:
    verify(with_new(SPARE)(BACKWARD), Stage.BACKWARD)  # not trimmed yet
    verify(hoisted(W)(SCHEDULED), Stage.UPDATE)  # not in its final order yet
    verify(FORWARD, Stage.PRUNE)  # an inference graph keeps trainables that nothing updates


def test_a_graph_of_many_layers_is_checked_quickly() -> None:
    net = Net()
    x = net.input(4, 4, 4)
    for _ in range(14):  # 42 convolutions and 14 additions, as MCUNet-5FPS has
        inner = net.depthwise(net.conv(x, 8, window(1)), 1, window(3, 1, 1))
        x = net.add(x, net.conv(inner, 4, window(1)))
    head = net.conv(net.pool(x, AvgPool, window(4)), 10, window(1))
    graph = backward(net.graph(head))
    best = min(_seconds(lambda: verify(graph, Stage.BACKWARD)) for _ in range(3))
    assert best < 0.15  # 10 to 20 ms on an idle core


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
