"""Execute a stream as a device does: row by row on the flat arena, dead rows poisoned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinyengine.ir.tensor import Array, TensorType
from tinyengine.ops.op import Band
from tinyengine.plan.plan import FeedRows, MakeRows, Plan, Slide, Slot, Stream

POISON = 0xA5


class RowMachine:
    """Runs one stream on an arena.

    x_dies: the rows of the stream's input are poisoned after their last use, too.
    """

    def __init__(self, plan: Plan, stream: Stream, arena: Array, x_dies: bool) -> None:
        self.plan, self.stream, self.arena = plan, stream, arena
        self.graph = plan.graph
        nodes = self.graph.nodes[stream.first : stream.end]
        self._made = {out for node in nodes for out in node.outputs}
        if stream.fed is not None:
            self._made.add(stream.fed)
        self._out = nodes[-1].outputs[0]
        self._x_dies = x_dies
        self._last = self._last_uses()

    def run(self, load: Callable[[str], Array]) -> None:
        """load: the array of a value that is not read by rows (constants, state), or is fed."""
        for number, step in enumerate(self.stream.rows):
            if isinstance(step, Slide):
                self._slide(step)
            elif isinstance(step, FeedRows):
                self._feed(step, load)
            else:
                self._make(number, step, load)

    def _band(self, step: MakeRows) -> Band:
        node = self.graph.nodes[step.node]
        band = node.op.band(self.graph.signature(node), step.row, step.count)
        assert band is not None
        return band

    def _last_uses(self) -> dict[tuple[str, int], int]:
        """(value, row) -> number of the step that uses it last."""
        last: dict[tuple[str, int], int] = {}
        for number, step in enumerate(self.stream.rows):
            if isinstance(step, MakeRows):
                node = self.graph.nodes[step.node]
                made = range(step.row, step.row + step.count)
                last.update({(node.outputs[0], r): number for r in made})
                for name, rows in zip(node.inputs, self._band(step).rows, strict=True):
                    last.update({(name, r): number for r in range(*(rows or (0, 0)))})
        return last

    def _bytes(self, name: str, position: int, count: int) -> Slot:
        lines, slots = self.stream.lines, self.plan.slots
        slot = self.plan.line(self.stream, name) if name in lines else slots[name]
        type_ = self.graph.type(name)
        nbytes = type_.nbytes // type_.shape[1]
        return Slot(slot.offset + position * nbytes, count * nbytes)

    def _make(self, number: int, step: MakeRows, load: Callable[[str], Array]) -> None:
        node, band = self.graph.nodes[step.node], self._band(step)
        sig = band.signature(self.graph.signature(node))
        ins, dead = [], []
        for name, rows, at, type_ in zip(node.inputs, band.rows, step.ins, sig.ins, strict=True):
            if rows is None or at is None:
                ins.append(load(name))
                continue
            ins.append(self._read(self._bytes(name, at, rows[1] - rows[0]), type_))
            if name in self._made or self._x_dies:
                dead += [
                    self._bytes(name, at + r - rows[0], 1)
                    for r in range(*rows)
                    if self._last[name, r] == number
                ]
        made = band.op.evaluate(sig, ins)[0]
        if f"#{step.node}" in self.stream.lines:
            dead.append(self.plan.line(self.stream, f"#{step.node}"))
        for slot in dead:
            self.arena[slot.offset : slot.end] = POISON
        out = self._bytes(node.outputs[0], step.out, step.count)
        self.arena[out.offset : out.end] = made.reshape(-1).view(np.uint8)

    def _read(self, slot: Slot, type_: TensorType) -> Array:
        raw = self.arena[slot.offset : slot.end].copy()
        return raw.view(type_.dtype.numpy).reshape(type_.shape)

    def _feed(self, step: FeedRows, load: Callable[[str], Array]) -> None:
        assert self.stream.fed is not None
        rows = load(self.stream.fed)[:, step.row : step.row + step.count]
        goal = self._bytes(self.stream.fed, step.out, step.count)
        self.arena[goal.offset : goal.end] = np.ascontiguousarray(rows).reshape(-1).view(np.uint8)

    def _slide(self, step: Slide) -> None:
        start = self._bytes(step.name, step.start, step.count)
        to = self._bytes(step.name, 0, step.count)
        kept = self.arena[start.offset : start.end].copy()
        self.arena[start.offset : start.end] = POISON
        self.arena[to.offset : to.end] = kept
