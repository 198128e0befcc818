"""Plans with streams that the planner would not choose for nets as small as the cases."""

from __future__ import annotations

from dataclasses import replace

from tests.training import scheme
from tinyengine.compiled import Compiled, compile_graph
from tinyengine.importers.net import Net
from tinyengine.importers.tracer import Tensor
from tinyengine.ir.graph import Graph
from tinyengine.plan.arena import make_plan
from tinyengine.plan.plan import Plan
from tinyengine.plan.rows import Reach
from tinyengine.plan.search import Range, is_range


def all_ranges(graph: Graph) -> list[Range]:
    """Every run of nodes that can be streamed."""
    reach, count = Reach(graph), len(graph.nodes)
    pairs = ((a, b) for a in range(count) for b in range(a + 1, count + 1))
    return [r for r in pairs if is_range(reach, *r)]


def longest(graph: Graph) -> list[Range]:
    """Streams that do not overlap, the longest first."""
    chosen: list[Range] = []
    for a, b in sorted(all_ranges(graph), key=lambda r: (r[0] - r[1], r)):
        if all(b <= c or d <= a for c, d in chosen):
            chosen.append((a, b))
    return sorted(chosen)


def streamed(plan: Plan, height: int = 1) -> Plan:
    """The same graph with as much of it streamed as possible, `height` rows at a time."""
    return make_plan(plan.graph, longest(plan.graph), height=height)


def with_streams(made: Compiled, height: int = 1) -> Compiled:
    """Both plans of a model streamed as far as possible, `height` rows at a time."""
    train = streamed(made.train, height) if made.train else None
    return replace(made, infer=streamed(made.infer, height), train=train)


def chain(t: Net) -> Tensor:
    """Inverted residuals, as at the front of a MobileNet: wide maps between narrow ones."""
    x = t.input((40, 32, 3), 1 / 64, 0)
    x = t.conv(x, 8, kernel=3, stride=2, activation="relu6", name="stem")
    for i, (stride, kernel) in enumerate(((1, 3), (2, 5), (1, 7), (1, 3))):
        y = t.conv(x, 32, kernel=1, activation="relu6", name=f"b{i}/expand")
        y = t.depthwise(y, kernel=kernel, stride=stride, activation="relu6", name=f"b{i}/mix")
        y = t.conv(y, 8, kernel=1, name=f"b{i}/project")
        x = t.add(y, x, name=f"b{i}/join") if stride == 1 else y
    return t.dense(t.mean(x), 4, name="classifier")


def chained(biases: int = 1, gradients: str = "f32") -> Compiled:
    """The chain with a few biases that learn at its end."""
    net = Net("chain", seed=2)
    graph = net.graph(chain(net))
    return compile_graph(graph, scheme(biases=biases, gradients=gradients), None, seed=3)
