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


def fed(made: Compiled, height: int = 1) -> Compiled | None:
    """A model whose input arrives row by row; None: its input cannot."""
    plans = (made.infer, made.train) if made.train else (made.infer,)
    fronts = [[r for r in all_ranges(p.graph) if _takes_input(p.graph, r)] for p in plans]
    common = set(fronts[0]).intersection(*fronts)
    if not common:
        return None
    front = max(common, key=lambda r: r[1])
    found = [make_plan(p.graph, [front], height=height, fed=True) for p in plans]
    return replace(made, infer=found[0], train=found[1] if made.train else None)


def _takes_input(graph: Graph, r: Range) -> bool:
    x = graph.inputs[0]
    readers = [i for i, node in enumerate(graph.nodes) if x in node.inputs]
    return bool(readers) and all(r[0] <= i < r[1] for i in readers) and r[0] == readers[0]


def with_streams(made: Compiled, height: int = 1) -> Compiled:
    """Both plans of a model streamed as far as possible, `height` rows at a time."""
    train = streamed(made.train, height) if made.train else None
    return replace(made, infer=streamed(made.infer, height), train=train)


def chain(t: Net, size: tuple[int, int] = (40, 32)) -> Tensor:
    """Inverted residuals, as at the front of a MobileNet: wide maps between narrow ones."""
    x = t.input((*size, 3), 1 / 64, 0)
    x = t.conv(x, 8, kernel=3, stride=2, activation="relu6", name="stem")
    for i, (stride, kernel) in enumerate(((1, 3), (2, 5), (1, 7), (1, 3))):
        y = t.conv(x, 32, kernel=1, activation="relu6", name=f"b{i}/expand")
        y = t.depthwise(y, kernel=kernel, stride=stride, activation="relu6", name=f"b{i}/mix")
        y = t.conv(y, 8, kernel=1, name=f"b{i}/project")
        x = t.add(y, x, name=f"b{i}/join") if stride == 1 else y
    return t.dense(t.mean(x), 4, name="classifier")


def chained(biases: int = 1, gradients: str = "f32", fed: bool = False) -> Compiled:
    """The chain with a few biases that learn at its end; one that is fed has a large input."""
    net = Net("chain", seed=2)
    graph = net.graph(chain(net, (90, 80) if fed else (40, 32)))
    return compile_graph(graph, scheme(biases=biases, gradients=gradients), None, seed=3, fed=fed)
