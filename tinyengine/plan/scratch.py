"""How much scratch a node's kernel needs: the operator's word, or that of who writes the code."""

from __future__ import annotations

from collections.abc import Callable

from tinyengine.ir.graph import Graph, Node
from tinyengine.ir.tensor import Array, Role
from tinyengine.ops.op import Op, Signature

Data = tuple[Array | None, ...]  # of each input that lies in flash; None: it is in RAM
Scratch = Callable[[Op, Signature, Data], int]  # bytes


def op_scratch(op: Op, sig: Signature, data: Data) -> int:
    """Bytes of scratch that the portable kernel needs."""
    return op.scratch_bytes(sig)


def constants(graph: Graph, node: Node) -> Data:
    """Return the data of each input that lies in flash, None for all others."""
    values = [graph.values[name] for name in node.inputs]
    return tuple(v.data if v.role is Role.CONSTANT else None for v in values)
