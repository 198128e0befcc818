"""Placing buffers in one arena: greedy first fit over several orders, with the lower bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType

import numpy as np

from tinyengine.ir.graph import Graph
from tinyengine.plan.lifetime import Buffer, buffers
from tinyengine.plan.plan import ALIGN_BYTES, Plan, Slot
from tinyengine.plan.schedule import schedule

_ORDERS: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
    lambda b: (-b.nbytes, b.first),
    lambda b: (-(b.last - b.first), -b.nbytes),
    lambda b: (-b.nbytes * (b.last - b.first + 1), b.first),
    lambda b: (b.first, -b.nbytes),
    lambda b: (-b.last, -b.nbytes),
)
SHUFFLES = 24  # seeded perturbations of the best order; each costs a few milliseconds


def make_plan(graph: Graph) -> Plan:
    """Schedule the graph and give every arena value a slot."""
    graph = schedule(graph)
    found = buffers(graph)
    offsets = place(found)
    slots = {
        name: Slot(offset, b.nbytes if name.startswith("#") else graph.type(name).nbytes)
        for b, offset in zip(found, offsets, strict=True)
        for name in b.names
    }
    scratch = tuple(slots.pop(f"#{i}", None) for i in range(len(graph.nodes)))
    top = max((o + b.nbytes for b, o in zip(found, offsets, strict=True)), default=0)
    return Plan(graph, MappingProxyType(slots), scratch, _aligned(top), lower_bound(found, graph))


def _aligned(n: int) -> int:
    return -(-n // ALIGN_BYTES) * ALIGN_BYTES


def lower_bound(found: Sequence[Buffer], graph: Graph) -> int:
    """The most bytes alive in any one step: no placement of this schedule can need fewer."""
    alive = np.zeros(len(graph.nodes) + 1, np.int64)
    for b in found:
        alive[b.first : b.last + 1] += _aligned(b.nbytes)
    return int(alive.max(initial=0))


def place(found: Sequence[Buffer]) -> list[int]:
    """An offset for each buffer: the best of several greedy orders and perturbations of it."""
    orders = [sorted(range(len(found)), key=lambda i: key(found[i])) for key in _ORDERS]
    best = min((_first_fit(found, order) for order in orders), key=lambda r: r[0])
    bound = _bound(found)
    rng = np.random.default_rng(0)
    order = best[2]
    for _ in range(SHUFFLES if best[0] > bound else 0):
        ranks = np.arange(len(order)) + rng.normal(0.0, 0.08 * len(order), len(order))
        tried = _first_fit(found, [order[i] for i in np.argsort(ranks)])
        best = min(best, tried, key=lambda r: r[0])
    return best[1]


def _bound(found: Sequence[Buffer]) -> int:
    return max(
        (
            sum(_aligned(o.nbytes) for o in found if o.overlaps(b) and o.first <= b.first <= o.last)
            for b in found
        ),
        default=0,
    )


def _first_fit(
    found: Sequence[Buffer], order: Sequence[int]
) -> tuple[int, list[int], Sequence[int]]:
    """(arena bytes, offsets, order): each buffer at the lowest gap among those alive with it."""
    offsets = [0] * len(found)
    placed: list[int] = []
    top = 0
    for i in order:
        taken = sorted(
            (offsets[j], offsets[j] + _aligned(found[j].nbytes))
            for j in placed
            if found[j].overlaps(found[i])
        )
        size, at = _aligned(found[i].nbytes), 0
        for start, end in taken:
            if start - at >= size:
                break
            at = max(at, end)
        offsets[i] = at
        placed.append(i)
        top = max(top, at + size)
    return top, offsets, order
