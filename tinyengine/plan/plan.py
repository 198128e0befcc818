"""The plan: when each node runs, and where in the arena each value lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinyengine.ir.graph import Graph

ALIGN_BYTES = 8


@dataclass(frozen=True, slots=True)
class Slot:
    """A run of bytes in the arena; the offset is a multiple of 8."""

    offset: int
    nbytes: int

    @property
    def end(self) -> int:
        """First byte behind the slot."""
        return self.offset + self.nbytes


@dataclass(frozen=True, slots=True)
class Plan:
    """A scheduled graph with a slot for every value that lives in the arena.

    Not in the arena: constants (flash), trainables and states (static RAM), next values of updates
    (in the place of what they update), and the scalar inputs.
    """

    graph: Graph
    slots: Mapping[str, Slot]
    scratch: tuple[Slot | None, ...]
    arena_bytes: int
    lower_bound_bytes: int


def storage(graph: Graph) -> dict[str, str]:
    """Next value of an update -> the trainable or state whose memory it takes over."""
    return {new: old for old, new in graph.updates}


def in_arena(graph: Graph) -> set[str]:
    """Names of the values that need arena memory."""
    made = {out for node in graph.nodes for out in node.outputs}
    arrays = {n for n in graph.inputs if graph.type(n).shape}
    return (made | arrays) - set(storage(graph))
