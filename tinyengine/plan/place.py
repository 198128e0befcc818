"""Placing memory areas over one another: greedy first fit over several orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tinyengine.ir.tensor import Array
from tinyengine.plan.lifetime import Buffer
from tinyengine.plan.plan import aligned

_ORDERS: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
    lambda b: (-b.nbytes, b.first),
    lambda b: (-(b.last - b.first), -b.nbytes),
    lambda b: (-b.nbytes * (b.last - b.first + 1), b.first),
    lambda b: (b.first, -b.nbytes),
    lambda b: (-b.last, -b.nbytes),
)
SHUFFLES = 24  # seeded perturbations of the best order; each costs a few milliseconds


@dataclass(frozen=True, slots=True)
class Placement:
    """Where buffers lie in the arena, in their order.

    bound_bytes: no placement of these buffers ends below it, which is proven. placer: who made it.
    """

    offsets: tuple[int, ...]
    arena_bytes: int
    bound_bytes: int
    placer: str = "greedy"

    @property
    def is_optimal(self) -> bool:
        """Whether no placement of these buffers needs fewer bytes."""
        return self.arena_bytes == self.bound_bytes


Placer = Callable[[Sequence[Buffer]], Placement]


def joint_bytes(b: Buffer) -> int:
    """Bytes of a buffer together with the one that it overwrites."""
    assert b.over is not None
    return max(b.lead_bytes + aligned(b.over.nbytes), aligned(b.nbytes))


def alive_bytes(found: Sequence[Buffer], steps: int) -> Array:
    """Bytes alive per step, (steps,) int64."""
    alive = np.zeros(max(steps, 1), np.int64)
    for b in found:
        alive[b.first : b.last + 1] += aligned(b.nbytes)
        if b.over is not None:
            alive[b.first] += joint_bytes(b) - aligned(b.nbytes) - aligned(b.over.nbytes)
    return alive


def place(found: Sequence[Buffer]) -> Placement:
    """Place buffers by the best of several greedy orders and perturbations of it."""
    first, last = np.array([b.first for b in found]), np.array([b.last for b in found])
    task = Task(
        [b.nbytes for b in found],
        (first[:, None] <= last) & (first <= last[:, None]),
        _groups(found),
    )
    orders = [sorted(range(len(found)), key=lambda i: key(found[i])) for key in _ORDERS]
    best, order = min(((task.first_fit(o), o) for o in orders), key=lambda t: t[0][0])
    bound = int(alive_bytes(found, int(last.max(initial=0)) + 1).max())
    rng = np.random.default_rng(0)
    for _ in range(SHUFFLES if best[0] > bound else 0):
        ranks = np.arange(len(order)) + rng.normal(0.0, 0.08 * len(order), len(order))
        other = task.first_fit([order[i] for i in np.argsort(ranks)])
        best = min(best, other, key=lambda r: r[0])
    return Placement(tuple(best[1]), best[0], bound)


def _groups(found: Sequence[Buffer]) -> list[list[tuple[int, int]]]:
    """For each buffer, those whose offsets are tied to its own: (index, bytes behind the first)."""
    number = {id(b): i for i, b in enumerate(found)}
    groups = [[(i, 0)] for i in range(len(found))]
    for i, b in enumerate(found):  # what is overwritten stands before what overwrites it
        if b.over is not None:
            group = groups[number[id(b.over)]]
            at = dict(group)[number[id(b.over)]] - b.lead_bytes
            low = min(at, 0)
            group[:] = [(j, d - low) for j, d in (*group, (i, at))]
            groups[i] = group
    return groups


class Task:
    """Areas to place: their bytes, which are ever alive together, which are tied together.

    rivals: (n, n) bool. groups: for each area, (index, bytes behind the group's beginning) of all
    that move with it; areas of one group may meet.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        rivals: Array,
        groups: Sequence[Sequence[tuple[int, int]]] | None = None,
    ) -> None:
        self._sizes = [aligned(n) for n in sizes]
        self._rivals = rivals.tolist()
        self._groups = groups or [[(i, 0)] for i in range(len(sizes))]

    def first_fit(self, order: Sequence[int]) -> tuple[int, list[int]]:
        """(bytes in all, offsets): each group at the lowest place that it fits into."""
        sizes = self._sizes
        offsets = [-1] * len(sizes)
        placed: list[int] = []
        for i in order:
            if offsets[i] >= 0:
                continue
            group = self._groups[i]
            taken = sorted(
                (offsets[j] - behind - sizes[k], offsets[j] + sizes[j] - behind)
                for k, behind in group
                for j in placed
                if self._rivals[k][j]
            )
            at = 0
            for start, end in taken:
                if at <= start:
                    break
                at = max(at, end)
            for k, behind in group:
                offsets[k] = at + behind
                placed.append(k)
        return max((o + n for o, n in zip(offsets, sizes, strict=True)), default=0), offsets
