"""An independent look at a plan: byte by byte, who wrote what is about to be read?

Shares no code with the planner. Every byte of the arena carries the name of the value that was
written there last; a read of anything else is an error.
"""

from __future__ import annotations

import numpy as np

from tinyengine.errors import InternalError
from tinyengine.ir.tensor import Array
from tinyengine.plan.check_rows import check_stream
from tinyengine.plan.plan import Plan, Slot
from tinyengine.plan.scratch import PORTABLE, Kernels, constants


def check_plan(plan: Plan, kernels: Kernels = PORTABLE) -> None:
    """Raise InternalError where a value would be read after its bytes were given away."""
    graph = plan.graph
    numbers = {name: i + 1 for i, name in enumerate(plan.slots)}
    owner = np.zeros(plan.arena_bytes, np.int64)
    for name in graph.inputs:
        if name in plan.slots:
            _write(plan, owner, plan.slots[name], numbers[name], f"input '{name}'")
    streams = {s.first: s for s in plan.streams}
    fed = {s.fed for s in plan.streams} - {None}
    absent = {n for n in graph.inputs if graph.type(n).shape} - set(plan.slots) - fed
    if absent:
        raise InternalError(f"inputs {sorted(absent)} are neither in the arena nor fed")
    behind = 0  # the end of the stream that has run last
    for step, node in enumerate(graph.nodes):
        if step in streams:
            behind = streams[step].end
            check_stream(plan, streams[step], owner, numbers)
        if step < behind:
            continue
        where = f"step {step} ('{node.layer}', {node.op.kind})"
        for name in node.inputs:
            if name in fed:
                raise InternalError(f"{where} reads '{name}', of which there are only rows")
            if name in plan.slots:
                _read(plan, owner, name, numbers, where)
        scratch = plan.scratch[step]
        if scratch is not None:
            _write(plan, owner, scratch, -1, where)
            for name in node.inputs:
                if name in plan.slots:
                    _read(plan, owner, name, numbers, f"{where} over its scratch")
        shared = _may_share(plan, step, kernels)
        for name in node.outputs:
            if name not in plan.slots:
                continue
            slot = plan.slots[name]
            for other in node.inputs:
                if other in plan.slots and other not in shared and _meet(plan.slots[other], slot):
                    raise InternalError(f"{where} writes '{name}' over its own input '{other}'")
            if scratch is not None and _meet(scratch, slot):
                raise InternalError(f"{where} writes '{name}' over its own scratch")
            _write(plan, owner, slot, numbers[name], where)
        for name in node.outputs:
            if name in plan.slots:
                _read(plan, owner, name, numbers, f"{where} after writing all outputs")
    for name in graph.outputs:
        if name in plan.slots:
            _read(plan, owner, name, numbers, "the end")


def _may_share(plan: Plan, step: int, kernels: Kernels) -> set[str]:
    """Inputs over which output 0 may be written, because the kernel allows it.

    On the same bytes exactly, or over input 0 from enough bytes before it on.
    """
    node = plan.graph.nodes[step]
    asked = (node.op, plan.graph.signature(node), constants(plan.graph, node))
    allowed = kernels.inplace(*asked)
    out = plan.slots.get(node.outputs[0])
    shared = {node.inputs[i] for i in allowed if plan.slots.get(node.inputs[i]) == out}
    lead = kernels.lead_bytes(*asked)
    first = plan.slots.get(node.inputs[0])
    if lead is not None and out and first and first.offset - out.offset >= lead:
        shared.add(node.inputs[0])
    return shared


def _meet(a: Slot, b: Slot) -> bool:
    return a.offset < b.offset + b.nbytes and b.offset < a.offset + a.nbytes


def _write(plan: Plan, owner: Array, slot: Slot, number: int, where: str) -> None:
    if slot.offset < 0 or slot.offset + slot.nbytes > plan.arena_bytes or slot.offset % 8:
        raise InternalError(
            f"{where}: slot [{slot.offset}, {slot.offset + slot.nbytes}) is misaligned or leaves "
            f"the arena of {plan.arena_bytes} B"
        )
    owner[slot.offset : slot.offset + slot.nbytes] = number


def _read(plan: Plan, owner: Array, name: str, numbers: dict[str, int], where: str) -> None:
    slot = plan.slots[name]
    if slot.nbytes < plan.graph.type(name).nbytes:
        raise InternalError(f"{where}: '{name}' has a slot of {slot.nbytes} B, too small")
    held = owner[slot.offset : slot.offset + slot.nbytes]
    wrong = np.flatnonzero(held != numbers[name])
    if len(wrong):
        names = {number: n for n, number in numbers.items()}
        thief = names.get(int(held[wrong[0]]), "scratch or nothing")
        raise InternalError(
            f"{where} reads '{name}', but byte {slot.offset + int(wrong[0])} holds '{thief}'"
        )
