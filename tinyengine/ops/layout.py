"""Operators that only move elements: reshape, transpose, pad, crop, concatenate, channels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tinyengine.ir.tensor import Array, DType, TensorType
from tinyengine.ops.op import Op, Signature, expect, expect_count, expect_quantised, expect_shape

if TYPE_CHECKING:
    from tinyengine.ir.graph import Node
    from tinyengine.passes.backward import Tape


def same_elements(sig: Signature) -> None:
    """Every input and output has one dtype and quantisation."""
    first = sig.ins[0]
    for type_ in (*sig.ins, *sig.outs):
        expect(type_.dtype is first.dtype, f"dtype {type_.dtype.value} is not {first.dtype.value}")
        expect(type_.quant == first.quant, "quantisation must not change")


@dataclass(frozen=True, slots=True)
class Reshape(Op):
    """The same elements under another shape, any dtype."""

    kind: ClassVar[str] = "reshape"

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        same_elements(sig)
        a, b = sig.ins[0], sig.outs[0]
        expect(a.count == b.count, f"{a.shape} has not as many elements as {b.shape}")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        return (ins[0].reshape(-1, *sig.outs[0].shape[1:]),)

    def backward(self, tape: Tape, node: Node) -> None:
        x = node.inputs[0]
        d_type = TensorType(tape.type(x).shape, DType.F32)
        d = tape.d(node.outputs[0])
        tape.add(x, tape.emit(Reshape(), (d,), d_type, f"d_{x}", node))

    def inplace(self, sig: Signature) -> tuple[int, ...]:
        return (0,)


@dataclass(frozen=True, slots=True)
class Transpose(Op):
    """y.shape[i] = x.shape[order[i]], any dtype, rank at most 4."""

    kind: ClassVar[str] = "transpose"
    order: tuple[int, ...]

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        same_elements(sig)
        x = sig.ins[0].shape
        expect(len(x) <= 4, "rank must be at most 4")
        expect(sorted(self.order) == list(range(len(x))), f"order {self.order} does not fit {x}")
        expect_shape(sig.outs[0], tuple(x[i] for i in self.order), "output")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        return (np.ascontiguousarray(np.transpose(ins[0], self.order)),)

    def backward(self, tape: Tape, node: Node) -> None:
        x = node.inputs[0]
        back = tuple(self.order.index(i) for i in range(len(self.order)))
        d_type = TensorType(tape.type(x).shape, DType.F32)
        d = tape.d(node.outputs[0])
        tape.add(x, tape.emit(Transpose(back), (d,), d_type, f"d_{x}", node))


@dataclass(frozen=True, slots=True)
class Pad(Op):
    """Surround an int8 tensor of rank 4 with its zero point; `before`, `after` per axis."""

    kind: ClassVar[str] = "pad"
    before: tuple[int, int, int, int]
    after: tuple[int, int, int, int]

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        same_elements(sig)
        expect_quantised(sig.ins[0], "input")
        expect(len(sig.ins[0].shape) == 4, "input must have rank 4")
        expect(min(*self.before, *self.after) >= 0, "padding must not be negative")
        shape = zip(sig.ins[0].shape, self.before, self.after, strict=True)
        expect_shape(sig.outs[0], tuple(n + b + a for n, b, a in shape), "output")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        widths = list(zip(self.before, self.after, strict=True))
        return (np.pad(ins[0], widths, constant_values=sig.ins[0].zero_point),)

    def backward(self, tape: Tape, node: Node) -> None:
        x = node.inputs[0]
        d_type = TensorType(tape.type(x).shape, DType.F32)
        d = tape.d(node.outputs[0])
        tape.add(x, tape.emit(Crop(self.before), (d,), d_type, f"d_{x}", node))


@dataclass(frozen=True, slots=True)
class Crop(Op):
    """The block of the output's shape that starts at `start`, any dtype, rank 4."""

    kind: ClassVar[str] = "crop"
    start: tuple[int, int, int, int]

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        same_elements(sig)
        expect(len(sig.ins[0].shape) == len(sig.outs[0].shape) == 4, "rank must be 4")
        for s, n, m in zip(self.start, sig.outs[0].shape, sig.ins[0].shape, strict=True):
            expect(s >= 0 and s + n <= m, f"crop [{s}, {s + n}) leaves [0, {m})")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        block = zip(self.start, sig.outs[0].shape, strict=True)
        return (np.ascontiguousarray(ins[0][tuple(slice(s, s + n) for s, n in block)]),)


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """Join tensors of rank 4 and equal quantisation along `axis`."""

    kind: ClassVar[str] = "concat"
    axis: int

    def check(self, sig: Signature) -> None:
        expect(len(sig.ins) >= 1 and len(sig.outs) == 1, "takes at least 1 input and 1 output")
        same_elements(sig)
        expect(len(sig.outs[0].shape) == 4 and 0 <= self.axis < 4, "rank must be 4")
        total = sum(t.shape[self.axis] for t in sig.ins)
        for type_ in sig.ins:
            shape = list(type_.shape)
            shape[self.axis] = total
            expect_shape(sig.outs[0], tuple(shape), "output")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        return (np.concatenate(list(ins), axis=self.axis),)

    def backward(self, tape: Tape, node: Node) -> None:
        d = tape.d(node.outputs[0])
        sizes = [tape.type(x).shape[self.axis] for x in node.inputs]
        for x, offset in zip(node.inputs, itertools.accumulate(sizes, initial=0), strict=False):
            if tape.wants(x):
                start = [0, 0, 0, 0]
                start[self.axis] = offset
                op = Crop((start[0], start[1], start[2], start[3]))
                d_type = TensorType(tape.type(x).shape, DType.F32)
                tape.add(x, tape.emit(op, (d,), d_type, f"d_{x}", node))


@dataclass(frozen=True, slots=True)
class GatherChannels(Op):
    """y[..., i] = x[..., channels[i]]: brings the channels that learn together; any dtype.

    `channels` may be shorter than the input has (the rest is dropped).
    """

    kind: ClassVar[str] = "gather_channels"
    channels: tuple[int, ...]

    def check(self, sig: Signature) -> None:
        expect_count(sig, 1)
        same_elements(sig)
        x = sig.ins[0].shape
        expect(all(0 <= c < x[-1] for c in self.channels), f"channels leave [0, {x[-1]})")
        expect(len(set(self.channels)) == len(self.channels), "channels must be distinct")
        expect_shape(sig.outs[0], (*x[:-1], len(self.channels)), "output")

    def evaluate(self, sig: Signature, ins: Sequence[Array]) -> tuple[Array, ...]:
        return (np.ascontiguousarray(ins[0][..., list(self.channels)]),)
