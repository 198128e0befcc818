"""The plan: executed on a flat arena with poisoned dead bytes, and refused where it is wrong."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from tests.cases import CASES, Case
from tests.training import LR, TRAINABLE, compiled, everything, random_samples, scheme
from tinyengine.errors import InternalError
from tinyengine.plan.arena import make_plan
from tinyengine.plan.check import check_plan
from tinyengine.plan.lifetime import Buffer
from tinyengine.plan.place import place
from tinyengine.plan.plan import Plan, Slot
from tinyengine.sim.run import run
from tinyengine.sim.run_plan import FlatMachine
from tinyengine.sim.train import Trainer
from tinyengine.update.scheme import Scheme

SCHEMES = {
    "everything": everything(),
    "master16": everything(rounding="master16"),
    "accumulate": everything(accumulate=3),
    "int8-head": everything(head="int8"),
}


def from_name(name: str) -> Scheme:
    from tinyengine.ops.sgd import Rounding

    chosen = SCHEMES[name]
    rounding = chosen.rounding
    return replace(chosen, rounding=Rounding(rounding) if isinstance(rounding, str) else rounding)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_inference_on_a_flat_arena_equals_the_graph(case: Case) -> None:
    plan = compiled(case, scheme(head="frozen")).infer
    machine, rng = FlatMachine(plan), np.random.default_rng(1)
    name = plan.graph.inputs[0]
    for _ in range(3):
        x = rng.integers(-128, 128, plan.graph.type(name).shape).astype(np.int8)
        flat = machine.run({name: x})
        plain = run(plan.graph, {name: x})
        assert all((flat[n] == plain[n]).all() for n in plan.graph.outputs)


@pytest.mark.parametrize("update", SCHEMES)
@pytest.mark.parametrize("case", TRAINABLE, ids=lambda c: c.name)
def test_training_on_a_flat_arena_equals_the_simulator(case: Case, update: str) -> None:
    try:
        plan = compiled(case, from_name(update)).train
    except Exception as error:  # a case without a fully connected head keeps its own
        assert "fully connected" in str(error)
        plan = compiled(case, replace(from_name(update), head="int8")).train
    assert plan is not None
    machine, trainer = FlatMachine(plan), Trainer(plan.graph, LR, seed=5)
    for step, (x, label) in enumerate(random_samples(plan.graph, 4)):
        scalars = (x, np.uint32(label), np.float32(LR), np.uint32(5), np.uint32(step))
        loss = machine.run(dict(zip(plan.graph.inputs, scalars, strict=True)))
        assert trainer.step(x, label) == float(loss[plan.graph.outputs[0]])
        for name, array in trainer.state().items():
            assert np.array_equal(machine.state[name], array), (step, name)


def small_plan() -> Plan:
    plan = compiled(TRAINABLE[0], everything()).train
    assert plan is not None
    return plan


def moved(plan: Plan, name: str, offset: int) -> Plan:
    slots = {**plan.slots, name: Slot(offset, plan.slots[name].nbytes)}
    return replace(plan, slots=MappingProxyType(slots))


def test_checker_accepts_what_the_planner_makes() -> None:
    check_plan(small_plan())


def test_checker_refuses_a_value_moved_over_a_live_one() -> None:
    plan = small_plan()
    refused = 0
    for name, slot in plan.slots.items():
        for other, place_ in plan.slots.items():
            if other != name and place_.offset != slot.offset:
                try:
                    check_plan(moved(plan, name, place_.offset))
                except InternalError:
                    refused += 1
    assert refused > len(plan.slots)  # some moves are harmless, most are not


def test_checker_names_reader_and_thief() -> None:
    plan = small_plan()
    label = plan.graph.inputs[0]
    victim = next(n.outputs[0] for n in plan.graph.nodes if label not in n.inputs)
    with pytest.raises(InternalError, match=r"reads '.*', but byte \d+ holds|writes '.*' over"):
        check_plan(moved(plan, victim, plan.slots[label].offset))


def test_checker_refuses_slots_outside_the_arena() -> None:
    plan = small_plan()
    name = next(iter(plan.slots))
    with pytest.raises(InternalError, match="leaves the arena"):
        check_plan(moved(plan, name, plan.arena_bytes))


def test_arena_never_beats_its_lower_bound() -> None:
    for case in TRAINABLE:
        plan = compiled(case, everything(head="int8")).train
        assert plan is not None
        assert plan.arena_bytes >= plan.lower_bound_bytes
        assert make_plan(plan.graph).arena_bytes == plan.arena_bytes


def test_place_keeps_buffers_of_one_moment_apart() -> None:
    rng = np.random.default_rng(7)
    found = []
    for i in range(60):
        first = int(rng.integers(40))
        last = first + int(rng.integers(10))
        found.append(Buffer([str(i)], int(rng.integers(1, 5000)), first, last))
    offsets = place(found).offsets
    for a, at_a in zip(found, offsets, strict=True):
        for b, at_b in zip(found, offsets, strict=True):
            if a is not b and a.overlaps(b):
                assert at_a + a.nbytes <= at_b or at_b + b.nbytes <= at_a
