"""An input that arrives row by row: the same bits, and the input is nowhere whole."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from codegen.compile_model import figures_of
from codegen.report import peak_consumers, render
from tests.cases import CASES, Case
from tests.streams import chained, fed
from tests.training import LR, TRAINABLE, compiled, everything, random_samples, scheme
from tinyengine.compiled import Compiled, compile_graph
from tinyengine.errors import InternalError, UserError
from tinyengine.importers.net import Net
from tinyengine.plan.arena import make_plan
from tinyengine.plan.check import check_plan
from tinyengine.plan.plan import FeedRows, Plan, Slot, Stream
from tinyengine.sim.run import run
from tinyengine.sim.run_plan import FlatMachine
from tinyengine.sim.train import Trainer
from tinyengine.update.scheme import load_scheme

FED = [case for case in CASES if fed(compiled(case, load_scheme("none"))) is not None]


def test_most_small_nets_can_be_fed() -> None:
    assert len(FED) >= 10


@pytest.mark.parametrize("height", [1, 3])
@pytest.mark.parametrize("case", FED, ids=lambda c: c.name)
def test_inference_gives_the_same_bits(case: Case, height: int) -> None:
    made = fed(compiled(case, load_scheme("none")), height)
    assert made is not None
    plan = made.infer
    check_plan(plan)
    name = plan.graph.inputs[0]
    assert name not in plan.slots
    x = np.random.default_rng(2).integers(-128, 128, plan.graph.type(name).shape).astype(np.int8)
    flat, plain = FlatMachine(plan).run({name: x}), run(plan.graph, {name: x})
    assert all((flat[n] == plain[n]).all() for n in plan.graph.outputs)


def steps_equal(made: Compiled) -> None:
    plan = made.train
    assert plan is not None
    machine, trainer = FlatMachine(plan), Trainer(plan.graph, LR, seed=5)
    for step, (x, label) in enumerate(random_samples(plan.graph, 3)):
        scalars = (x, np.uint32(label), np.float32(LR), np.uint32(5), np.uint32(step))
        loss = machine.run(dict(zip(plan.graph.inputs, scalars, strict=True)))
        assert trainer.step(x, label) == float(loss[plan.graph.outputs[0]])
        assert all(np.array_equal(machine.state[n], a) for n, a in trainer.state().items())


@pytest.mark.parametrize("case", TRAINABLE, ids=lambda c: c.name)
def test_training_gives_the_same_bits(case: Case) -> None:
    made = fed(compiled(case, scheme(biases=1, head="int8")), 2)
    if made is None:
        assert case not in FED
        return
    steps_equal(made)


def test_what_the_planner_chooses() -> None:
    made = chained(fed=True)
    assert made.train is not None and made.train.fed is not None and made.infer.fed is not None
    assert made.train.fed.rows == made.infer.fed.rows
    x = made.train.graph.type(made.train.graph.inputs[0])
    assert made.arena_bytes < x.nbytes < make_plan(made.train.graph).arena_bytes
    steps_equal(made)


def test_every_row_comes_once_and_in_order() -> None:
    stream = made_fed().fed
    assert stream is not None
    feeds = [step for step in stream.rows if isinstance(step, FeedRows)]
    rows = [row for feed in feeds for row in range(feed.row, feed.row + feed.count)]
    assert rows == list(range(len(rows)))
    # the last rows that no kernel reaches are not waited for
    height = made_fed().graph.type(str(stream.fed)).shape[1]
    assert height - 2 <= len(rows) <= height


def made_fed() -> Plan:
    return chained(fed=True).infer


def test_reports_show_what_is_there() -> None:
    made = chained(fed=True)
    assert "lines of input" in render(made, "host", figures_of(made))
    assert all(c.name != "input" for c in peak_consumers(made, 50))


def test_an_input_that_is_needed_whole_is_refused() -> None:
    net = Net("flat", seed=1)
    x = net.input((6, 6, 3), 1 / 64, 0)
    graph = net.graph(net.dense(net.flatten(x, name="flat"), 3, name="classifier"))
    with pytest.raises(UserError, match=r"'input' cannot arrive row by row: 'flat' \(reshape\)"):
        compile_graph(graph, load_scheme("none"), fed=True)


def test_a_first_layer_that_learns_needs_its_input_again() -> None:
    case = next(c for c in TRAINABLE if c in FED)
    learns = everything(head="int8")
    graph = compiled(case, learns).forward
    with pytest.raises(UserError, match="needs it whole, or again after other layers"):
        compile_graph(graph, learns, fed=True)


def test_ranges_that_leave_the_input_whole_are_refused() -> None:
    with pytest.raises(ValueError, match="takes the input row by row"):
        make_plan(chained().infer.graph, [], fed=True)


def broken(plan: Plan, **changes: object) -> Plan:
    stream = plan.fed
    assert stream is not None
    made = replace(stream, **changes)  # type: ignore[arg-type]
    return replace(plan, streams=tuple(made if s is stream else s for s in plan.streams))


def with_feed(plan: Plan, index: int, **changes: int) -> Plan:
    assert plan.fed is not None
    rows = list(plan.fed.rows)
    at = [i for i, step in enumerate(rows) if isinstance(step, FeedRows)][index]
    rows[at] = replace(rows[at], **changes)
    return broken(plan, rows=tuple(rows))


def test_the_check_catches_a_plan_that_feeds_wrongly() -> None:
    plan = made_fed()
    assert isinstance(plan.fed, Stream)
    check_plan(plan)
    feeds = [step for step in plan.fed.rows if isinstance(step, FeedRows)]
    with pytest.raises(InternalError, match="comes out of turn"):
        check_plan(with_feed(plan, 1, row=feeds[1].row + 1))
    with pytest.raises(InternalError, match="leave its memory"):
        check_plan(with_feed(plan, 1, out=feeds[1].out + 40))
    with pytest.raises(InternalError, match="are not all in bytes"):
        check_plan(with_feed(plan, 2, out=feeds[2].out - 1))
    with pytest.raises(InternalError, match="read by rows here and whole|are not all in|leave its"):
        lost = tuple(s for s in plan.fed.rows if not isinstance(s, FeedRows))
        check_plan(broken(plan, rows=lost))
    with pytest.raises(InternalError, match="neither in the arena nor fed"):
        check_plan(broken(plan, fed=None))
    slots = MappingProxyType({**plan.slots, "input": Slot(0, 8)})
    with pytest.raises(InternalError, match="is no input or is whole, too"):
        check_plan(replace(plan, slots=slots))
