"""The independent look at streams: does every row read hold that row, whole, at that moment?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinyengine.errors import InternalError
from tinyengine.ir.tensor import Array
from tinyengine.plan.plan import FeedRows, MakeRows, Plan, Slide, Slot, Stream


def check_stream(plan: Plan, stream: Stream, owner: Array, numbers: Mapping[str, int]) -> None:
    """Run a stream's rows on `owner`, which names what each byte of the arena holds.

    Raises:
        InternalError: a row is read that is not there, or written over what is being read.
    """
    checker = _Checker(plan, stream, owner, numbers)
    for step in stream.rows:
        if isinstance(step, Slide):
            checker.slide(step)
        elif isinstance(step, FeedRows):
            checker.feed(step)
        else:
            checker.make(step)
    checker.finish()


class _Checker:
    def __init__(
        self, plan: Plan, stream: Stream, owner: Array, numbers: Mapping[str, int]
    ) -> None:
        self.plan, self.stream, self.owner, self.numbers = plan, stream, owner, numbers
        self.graph = plan.graph
        self.made: dict[str, int] = {}  # rows made so far
        nodes = self.graph.nodes[stream.first : stream.end]
        self.inside = {out for node in nodes for out in node.outputs}
        self.out = nodes[-1].outputs[0]
        if stream.fed is not None:
            if stream.fed not in self.graph.inputs or stream.fed in plan.slots:
                raise InternalError(f"'{stream.fed}' is fed, but is no input or is whole, too")
            self.inside.add(stream.fed)
        self.base = {name: -(10**6) * (i + 2) for i, name in enumerate(sorted(self.inside))}

    def slot(self, name: str) -> Slot:
        if name in self.stream.lines:
            return self.plan.line(self.stream, name)
        return self.plan.slots[name]

    def row_slot(self, name: str, position: int, count: int, where: str) -> Slot:
        """The bytes of `count` rows from `position` on of a value's memory."""
        slot, type_ = self.slot(name), self.graph.type(name)
        nbytes = type_.nbytes // type_.shape[1]
        found = Slot(slot.offset + position * nbytes, count * nbytes)
        inside = slot.offset <= found.offset and found.end <= min(slot.end, len(self.owner))
        if not inside or slot.offset < 0 or slot.offset % 8:
            raise InternalError(
                f"{where}: rows {position} to {position + count - 1} of '{name}' leave its memory "
                f"[{slot.offset}, {slot.end}) or the arena of {len(self.owner)} B"
            )
        return found

    def holds(self, name: str, slot: Slot, first: int, count: int, where: str) -> None:
        """Check that bytes hold rows `first` and up of a value."""
        held = self.owner[slot.offset : slot.end].reshape(count, -1)
        if name in self.inside:
            want = self.base[name] - np.arange(first, first + count)[:, None]
        else:
            want = np.full((count, 1), self.numbers[name])
        if (held != want).any():
            raise InternalError(
                f"{where}: rows {first} to {first + count - 1} of '{name}' are not all in bytes "
                f"[{slot.offset}, {slot.end})"
            )

    def make(self, step: MakeRows) -> None:
        node = self.graph.nodes[step.node]
        made = f"rows {step.row} to {step.row + step.count - 1}"
        where = f"{made} of step {step.node} ('{node.layer}', {node.op.kind})"
        if not 1 <= step.count <= self.stream.height:
            raise InternalError(f"{where}: at most {self.stream.height} rows were to be made")
        band = node.op.band(self.graph.signature(node), step.row, step.count)
        if band is None or not self.stream.first <= step.node < self.stream.end:
            raise InternalError(f"{where} cannot be made alone")
        out = node.outputs[0]
        if step.row != self.made.get(out, 0) or (out == self.out and step.out != step.row):
            raise InternalError(f"{where} comes out of turn")
        read = []
        for name, rows, position in zip(node.inputs, band.rows, step.ins, strict=True):
            if (rows is None) != (position is None):
                raise InternalError(f"{where}: '{name}' is read by rows here and whole there")
            if rows is not None and position is not None:
                count = rows[1] - rows[0]
                read.append(self.row_slot(name, position, count, where))
                self.holds(name, read[-1], rows[0], count, where)
        written = self.row_slot(out, step.out, step.count, where)
        if f"#{step.node}" in self.stream.lines:
            scratch = self.plan.line(self.stream, f"#{step.node}")
            self.apart([*read, written], scratch, where)
            self.owner[scratch.offset : scratch.end] = -1
        self.apart(read, written, where)
        marks = self.base[out] - np.arange(step.row, step.row + step.count)
        self.owner[written.offset : written.end] = marks.repeat(written.nbytes // step.count)
        self.made[out] = step.row + step.count

    def feed(self, step: FeedRows) -> None:
        where = f"feeding rows {step.row} to {step.row + step.count - 1}"
        name = self.stream.fed
        if name is None or step.row != self.made.get(name, 0) or step.count < 1:
            raise InternalError(f"{where} comes out of turn")
        if step.row + step.count > self.graph.type(name).shape[1]:
            raise InternalError(f"{where}: '{name}' has {self.graph.type(name).shape[1]}")
        written = self.row_slot(name, step.out, step.count, where)
        marks = self.base[name] - np.arange(step.row, step.row + step.count)
        self.owner[written.offset : written.end] = marks.repeat(written.nbytes // step.count)
        self.made[name] = step.row + step.count

    def apart(self, others: list[Slot], slot: Slot, where: str) -> None:
        """Check that nothing is written over what the same kernel reads."""
        if any(o.offset < slot.end and slot.offset < o.end for o in others):
            raise InternalError(f"{where} writes [{slot.offset}, {slot.end}) over its own rows")

    def slide(self, step: Slide) -> None:
        where = f"a slide of '{step.name}'"
        if step.name not in self.inside:
            raise InternalError(f"{where}: it is not made in the stream")
        start = self.row_slot(step.name, step.start, step.count, where)
        to = self.row_slot(step.name, 0, step.count, where)
        self.owner[to.offset : to.end] = self.owner[start.offset : start.end].copy()

    def finish(self) -> None:
        """Check that the whole output is there; from now on it is a value like any other."""
        height = self.graph.type(self.out).shape[1]
        if self.made.get(self.out) != height:
            raise InternalError(f"the stream makes {self.made.get(self.out)} rows of '{self.out}'")
        slot = self.row_slot(self.out, 0, height, "the end of a stream")
        self.holds(self.out, slot, 0, height, "the end of a stream")
        self.owner[slot.offset : slot.end] = self.numbers[self.out]
