"""Streams: any range of any net, row by row, leaves the same bits in less memory."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from codegen.compile_model import figures_of
from codegen.report import alive, peak_consumers, render
from tests.cases import CASES, Case
from tests.streams import all_ranges, chained, longest, with_streams
from tests.training import LR, TRAINABLE, compiled, everything, random_samples, scheme
from tinyengine.errors import InternalError
from tinyengine.plan.arena import make_plan
from tinyengine.plan.check import check_plan
from tinyengine.plan.plan import MakeRows, Plan, Slide, Slot, Stream
from tinyengine.plan.target import PLAIN, Target
from tinyengine.plan.widen import INSTRUCTIONS_PER_BYTE, RESERVED_BYTES
from tinyengine.sim.run import run
from tinyengine.sim.run_plan import FlatMachine
from tinyengine.sim.train import Trainer


def same_outputs(plan: Plan) -> None:
    machine, rng = FlatMachine(plan), np.random.default_rng(1)
    name = plan.graph.inputs[0]
    x = rng.integers(-128, 128, plan.graph.type(name).shape).astype(np.int8)
    flat, plain = machine.run({name: x}), run(plan.graph, {name: x})
    assert all((flat[n] == plain[n]).all() for n in plan.graph.outputs)


@pytest.mark.parametrize("height", [1, 2, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_range_of_every_net(case: Case, height: int) -> None:
    graph = compiled(case, scheme(head="frozen")).infer.graph
    for chosen in all_ranges(graph):
        plan = make_plan(graph, [chosen], height=height)
        check_plan(plan)
        assert plan.lower_bound_bytes <= plan.arena_bytes
        same_outputs(plan)


@pytest.mark.parametrize("height", [1, 2])
@pytest.mark.parametrize("case", TRAINABLE, ids=lambda c: c.name)
def test_training_with_streams_equals_the_simulator(case: Case, height: int) -> None:
    made = with_streams(compiled(case, scheme(biases=1, head="int8")), height)
    plan = made.train
    assert plan is not None
    check_plan(plan)
    machine, trainer = FlatMachine(plan), Trainer(plan.graph, LR, seed=5)
    for step, (x, label) in enumerate(random_samples(plan.graph, 3)):
        scalars = (x, np.uint32(label), np.float32(LR), np.uint32(5), np.uint32(step))
        loss = machine.run(dict(zip(plan.graph.inputs, scalars, strict=True)))
        assert trainer.step(x, label) == float(loss[plan.graph.outputs[0]])
        assert all(np.array_equal(machine.state[n], a) for n, a in trainer.state().items())


def test_the_planner_streams_a_frozen_front() -> None:
    made = chained()
    assert made.train is not None
    for plan in (made.infer, made.train):
        whole = make_plan(plan.graph, [])
        assert plan.streams and plan.arena_bytes <= 0.5 * whole.arena_bytes
        assert plan.lower_bound_bytes <= plan.arena_bytes
        assert make_plan(plan.graph).arena_bytes <= made.arena_bytes
    same_outputs(made.infer)


def test_no_row_is_computed_twice_and_the_output_lies_over_the_input() -> None:
    plan = make_plan(chained().infer.graph)
    for stream in plan.streams:
        calls = [r for r in stream.rows if isinstance(r, MakeRows)]
        rows = [(c.node, row) for c in calls for row in range(c.row, c.row + c.count)]
        assert len(set(rows)) == len(rows)
    first = plan.streams[0]
    x = plan.slots[plan.graph.inputs[0]]
    out = plan.slots[plan.graph.nodes[first.end - 1].outputs[0]]
    assert out.offset < x.end and x.offset < out.end


def planned(target: Target) -> Plan:
    return make_plan(chained().infer.graph, target=target)


def test_streams_are_as_high_as_saves_more_than_it_costs() -> None:
    found = [planned(Target(setup_of=lambda op, sig, n=n: n)) for n in (0, 1000, 3000, 10**6)]
    calls = [sum(isinstance(r, MakeRows) for s in p.streams for r in s.rows) for p in found]
    arena_bytes = [plan.arena_bytes for plan in found]
    assert arena_bytes == sorted(arena_bytes) and calls == sorted(calls, reverse=True)
    assert len(set(arena_bytes)) >= 3
    assert min(s.height for s in found[-1].streams) > 2
    for plan in found:
        check_plan(plan)
        same_outputs(plan)
    # at the third price the second step is paid for, at the first it is not
    growth, saved = arena_bytes[2] - arena_bytes[0], calls[0] - calls[2]
    assert 3000 * saved > INSTRUCTIONS_PER_BYTE * growth > 0


@pytest.mark.parametrize("spare_bytes", [-5000, 0, 700, 2000, 10**6])
def test_streams_are_no_higher_than_the_board_has_room_for(spare_bytes: int) -> None:
    low = planned(PLAIN)
    ram_bytes = low.arena_bytes + spare_bytes + RESERVED_BYTES
    plan = planned(Target(setup_of=lambda op, sig: 10**6, ram_bytes=ram_bytes))
    check_plan(plan)
    assert plan.arena_bytes <= low.arena_bytes + max(spare_bytes, 0)
    assert (plan.arena_bytes > low.arena_bytes) == (spare_bytes >= 700)


def test_the_report_shows_lines_at_their_places() -> None:
    made = chained()
    plan = made.infer
    shown = {name: (slot, first, last) for name, slot, first, last in alive(plan)}
    for stream in plan.streams:
        for name in stream.lines:
            slot, first, last = shown[f"lines of {name}"]
            assert (first, last) == (stream.first, stream.end - 1)
            assert slot.end <= plan.arena_bytes
    page = render(made, "host", figures_of(made))
    assert page.count('<rect class="lines"') == sum(
        len(s.lines) for p in (plan, made.train) if p for s in p.streams
    )
    assert "B of line buffers stand for maps of" in page
    assert any(c.name.startswith("lines of ") for c in peak_consumers(made))


def test_ranges_that_cannot_be_streamed_are_refused() -> None:
    graph = chained().infer.graph
    names = [n.layer for n in graph.nodes]
    join = names.index("b0/join")
    with pytest.raises(ValueError, match="cannot run row by row"):
        make_plan(graph, [(0, join)])  # the sum behind it needs the stem's output, too
    with pytest.raises(ValueError, match="cannot run row by row"):
        make_plan(graph, [(0, names.index("classifier") + 1)])


def broken(plan: Plan, stream: Stream) -> Plan:
    return replace(plan, streams=(stream, *plan.streams[1:]))


@pytest.mark.parametrize("height", [1, 2])
def test_the_checker_refuses_every_broken_schedule(height: int) -> None:
    graph = compiled(CASES[1], scheme(head="frozen")).infer.graph
    plan = make_plan(graph, longest(graph), height=height)
    check_plan(plan)
    stream, refused = plan.streams[0], 0
    for i, step in enumerate(stream.rows):
        without = replace(stream, rows=stream.rows[:i] + stream.rows[i + 1 :])
        with pytest.raises(InternalError):
            check_plan(broken(plan, without))
        later = replace(step, start=step.start + 1) if isinstance(step, Slide) else replace(
            step, out=step.out + 1
        )  # fmt: skip
        for other in (later, replace(step, count=step.count + 1)):
            rows = (*stream.rows[:i], other, *stream.rows[i + 1 :])
            try:
                check_plan(broken(plan, replace(stream, rows=rows)))
            except InternalError:
                refused += 1
    slides = sum(isinstance(step, Slide) for step in stream.rows)
    assert refused >= 2 * len(stream.rows) - 1 - slides  # a row too much may slide along


def test_the_checker_refuses_lines_that_meet() -> None:
    graph = chained().infer.graph
    plan = make_plan(graph, [(0, 1 + [n.layer for n in graph.nodes].index("b1/project"))])
    stream = plan.streams[0]
    names, refused = list(stream.lines), 0
    for name in names[1:]:
        moved = {
            **stream.lines,
            name: Slot(stream.lines[names[0]].offset, stream.lines[name].nbytes),
        }
        try:
            check_plan(broken(plan, replace(stream, lines=MappingProxyType(moved))))
        except InternalError:
            refused += 1
    assert refused


def test_an_output_before_its_input_is_consumed_is_refused() -> None:
    graph = compiled(CASES[1], scheme(head="frozen")).infer.graph
    plan = make_plan(graph, [(0, 1)])
    out = graph.nodes[0].outputs[0]
    x = plan.slots[graph.inputs[0]]
    slot = Slot(x.offset + x.nbytes // 16 * 8, plan.slots[out].nbytes)
    with pytest.raises(InternalError):
        check_plan(replace(plan, slots=MappingProxyType({**plan.slots, out: slot})))


def test_everything_that_learns_is_not_streamed() -> None:
    made = compiled(CASES[0], everything(head="int8"))
    assert made.train is not None
    assert longest(made.train.graph) == [] or not made.train.streams
