"""What the planner must know of the core and the board that the code is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinyengine.ops.op import Op, Signature
from tinyengine.plan.scratch import PORTABLE, Kernels

Setup = Callable[[Op, Signature], int]


def no_setup(op: Op, sig: Signature) -> int:
    """Of a kernel that prepares nothing."""
    return 0


@dataclass(frozen=True, slots=True)
class Target:
    """A core's kernels and a board's memory.

    setup_of: instructions that each call of a node's kernel spends on preparing operands, which
    several rows in one call share. ram_bytes: of the board; None where nothing limits it.
    """

    kernels: Kernels = PORTABLE
    setup_of: Setup = no_setup
    ram_bytes: int | None = None


PLAIN = Target()
