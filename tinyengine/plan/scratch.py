"""What a plan must know of nodes' kernels: the operators' word, or that of who writes the code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinyengine.ir.graph import Graph, Node
from tinyengine.ir.tensor import Array, Role
from tinyengine.ops.op import Op, Signature

Data = tuple[Array | None, ...]  # of each input that lies in flash; None: it is in RAM
Scratch = Callable[[Op, Signature, Data], int]  # bytes
Choice = Callable[[Op, Signature, Data], bool]


def op_scratch(op: Op, sig: Signature, data: Data) -> int:
    """Bytes of scratch that the portable kernel needs."""
    return op.scratch_bytes(sig)


def by_rows(op: Op, sig: Signature, data: Data) -> bool:
    """No portable kernel goes by channels."""
    return False


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels of a kind of core.

    scratch: what a node's kernel needs while it runs. by_channel: whether it makes output 0 channel
    by channel, a channel of input 0 read before the same of the output is written. Then it may work
    in place, but never promises what `Op.lead_bytes` says.
    """

    scratch: Scratch = op_scratch
    by_channel: Choice = by_rows

    def inplace(self, op: Op, sig: Signature, data: Data) -> tuple[int, ...]:
        """Indices of the inputs whose memory output 0 may take over."""
        return (0,) if self.by_channel(op, sig, data) else op.inplace(sig)

    def lead_bytes(self, op: Op, sig: Signature, data: Data) -> int | None:
        """How far before input 0 output 0 must begin to be written over it; None: never."""
        return None if self.by_channel(op, sig, data) else op.lead_bytes(sig)


PORTABLE = Kernels()


def constants(graph: Graph, node: Node) -> Data:
    """Return the data of each input that lies in flash, None for all others."""
    values = [graph.values[name] for name in node.inputs]
    return tuple(v.data if v.role is Role.CONSTANT else None for v in values)
