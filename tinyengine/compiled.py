"""Model and scheme in, plans out: the pass pipeline, in order, verified after every step."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tinyengine.ir import text
from tinyengine.ir.graph import Builder, Graph, retain
from tinyengine.ir.tensor import Role
from tinyengine.ir.verify import Stage, verify
from tinyengine.passes.backward import backward
from tinyengine.passes.fold import fold
from tinyengine.passes.fuse import fuse
from tinyengine.passes.head import find_head, replace_head
from tinyengine.passes.integer import FORMATS, integer_gradients
from tinyengine.passes.prune import prune
from tinyengine.passes.simplify import simplify
from tinyengine.passes.update import attach_update
from tinyengine.plan.arena import make_plan
from tinyengine.plan.check import check_plan
from tinyengine.plan.place import Placer, place
from tinyengine.plan.plan import Plan
from tinyengine.plan.target import PLAIN, Target
from tinyengine.sim.calibrate import largest_gradients
from tinyengine.update.scheme import Learning, Scheme, resolve

Dump = Callable[[str, Graph], None]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A model ready for C: its inference plan and, unless the scheme is `none`, a training plan.

    name: a C identifier. hash: SHA-256 of both graphs' texts, the model's identity on the wire.
    """

    name: str
    infer: Plan
    train: Plan | None
    hash: str
    learning: Learning
    forward: Graph  # folded, with its head: the layers that people see

    @property
    def trainable_bytes(self) -> int:
        """RAM of everything that changes from step to step: tensors, fractions, sums."""
        graph = (self.train or self.infer).graph
        return sum(v.type.nbytes for v in graph.state())

    @property
    def arena_bytes(self) -> int:
        """The one arena serves both plans."""
        return max(p.arena_bytes for p in (self.infer, self.train) if p)

    @property
    def lower_bound_bytes(self) -> int:
        """No placement of these schedules needs fewer bytes of arena."""
        return max(p.lower_bound_bytes for p in (self.infer, self.train) if p)

    @property
    def placement_bound_bytes(self) -> int:
        """No placement of these plans' blocks needs fewer bytes of arena."""
        return max(p.placement_bound_bytes for p in (self.infer, self.train) if p)

    @property
    def feeding(self) -> Plan:
        """The plan at whose addresses the input arrives: training's, if there is one."""
        return self.train or self.infer

    @property
    def larger(self) -> Plan:
        """The plan that fills the arena."""
        return max((p for p in (self.infer, self.train) if p), key=lambda p: p.arena_bytes)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Graphs on the way: the forward graph with its head, and the pruned one with gradients."""

    forward: Graph
    gradients: Graph
    learning: Learning


def no_dump(stage: str, graph: Graph) -> None:
    """Write nothing."""


def prepare(
    graph: Graph, scheme: Scheme, classes: int | None = None, seed: int = 0, dump: Dump = no_dump
) -> Prepared:
    """Import -> fold -> head -> backward -> prune -> integer: everything up to the gradients.

    Raises:
        UserError: the scheme does not fit the model, or the model cannot be trained as asked.
    """

    def step(stage: Stage, made: Graph) -> Graph:
        verify(made, stage)
        dump(stage.value, made)
        return made

    step(Stage.IMPORT, graph)
    graph = step(Stage.FOLD, fold(graph))
    kind = "float32" if classes and not scheme.trains else scheme.head
    graph = step(Stage.HEAD, replace_head(graph, kind, classes, seed))
    head = find_head_layer(graph)
    learning = resolve(scheme, graph, head)
    if not scheme.trains:
        frozen = _all_constant(graph)
        return Prepared(frozen, frozen, learning)
    full = step(Stage.BACKWARD, _keep_outputs(backward(graph), graph))
    pruned = step(Stage.PRUNE, prune(full, learning))
    if scheme.gradients in FORMATS:
        pruned = integer_gradients(pruned, FORMATS[scheme.gradients], largest_gradients(pruned))
        step(Stage.INTEGER, pruned)
    return Prepared(graph, pruned, learning)


def find_head_layer(graph: Graph) -> str | None:
    """Name of the layer that makes the logits, if it is a classifier head."""
    producers = graph.producers()
    node = producers.get(graph.outputs[0])
    if node is not None and node.op.kind == "linear":
        return node.layer
    found = find_head(graph)
    return found.layer if found else None


def compile_graph(
    graph: Graph,
    scheme: Scheme,
    classes: int | None = None,
    seed: int = 0,
    dump: Dump = no_dump,
    target: Target = PLAIN,
    placer: Placer = place,
    fed: bool = False,
) -> Compiled:
    """The whole pipeline: graph and scheme in, checked plans out.

    target: the core and the board that the code is for. placer, fed: as of `make_plan`.

    Raises:
        UserError: as `prepare`.
    """
    prepared = prepare(graph, scheme, classes, seed, dump)
    whole = prepared.gradients
    planner = partial(make_plan, target=target, placer=placer, fed=fed)
    if not scheme.trains:
        return _finish(prepared, whole, None, dump, target, planner)
    outputs = whole.outputs
    updated = attach_update(whole, prepared.learning)
    for stage, apply in ((Stage.UPDATE, None), (Stage.FUSE, fuse), (Stage.SIMPLIFY, simplify)):
        updated = apply(updated) if apply else updated
        verify(updated, stage)
        dump(stage.value, updated)
    train = _with_outputs(updated, outputs[:2], updated.updates, updated.inputs)
    infer = _with_outputs(updated, outputs[2:], (), updated.inputs[:1])
    return _finish(prepared, infer, train, dump, target, planner)


def _finish(
    prepared: Prepared,
    infer: Graph,
    train: Graph | None,
    dump: Dump,
    target: Target,
    planner: Callable[..., Plan],
) -> Compiled:
    train_plan = planner(train) if train is not None else None
    plans = (planner(infer, beside=train_plan), train_plan)
    for plan in plans:
        if plan is not None:
            verify(plan.graph, Stage.SCHEDULE)
            dump(f"{Stage.SCHEDULE.value}-{'infer' if plan is plans[0] else 'train'}", plan.graph)
            check_plan(plan, target.kernels)
    digest = hashlib.sha256()
    for plan in plans:
        if plan is not None:
            digest.update(text.write(plan.graph).encode())
    name = identifier(prepared.forward.name)
    learning, forward = prepared.learning, prepared.forward
    return Compiled(name, plans[0], plans[1], digest.hexdigest(), learning, forward)


def identifier(name: str) -> str:
    """A C identifier made from a model's name."""
    cleaned = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "model"
    return f"m_{cleaned}" if cleaned[0].isdigit() else cleaned


def _keep_outputs(full: Graph, forward: Graph) -> Graph:
    """Outputs (loss, logits, model output): one graph for training and inference."""
    b = Builder(full.name, full)
    tail = [n for n in forward.nodes if not set(n.outputs) <= set(b.values)]
    for node in tail:
        for out in node.outputs:
            b.values[out] = forward.values[out]
        b.nodes.append(node)
    b.outputs += forward.outputs
    b.meta = dict(forward.meta)
    return b.build()


def _with_outputs(
    graph: Graph,
    outputs: tuple[str, ...],
    updates: tuple[tuple[str, str], ...],
    inputs: tuple[str, ...],
) -> Graph:
    b = Builder(graph.name, graph)
    b.outputs, b.updates, b.inputs = list(outputs), list(updates), list(inputs)
    made = b.build()
    return retain(made, made.roots())


def _all_constant(graph: Graph) -> Graph:
    b = Builder(graph.name, graph)
    for value in graph.with_role(Role.TRAINABLE):
        b.values[value.name] = type(value)(value.name, value.type, Role.CONSTANT, value.data)
    return b.build()
