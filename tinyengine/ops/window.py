"""Sliding windows: the geometry shared by convolutions and pools."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tinyengine.ops.op import expect

Pair = tuple[int, int]


class Tap(NamedTuple):
    """One kernel position: which outputs it reaches, and which inputs they read."""

    ky: int
    kx: int
    out: tuple[slice, slice]
    into: tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class Window:
    """Kernel, stride, explicit padding (top, bottom, left, right) and dilation, in pixels."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    @staticmethod
    def same(kernel: Pair, stride: Pair, in_size: Pair, dilation: Pair = (1, 1)) -> Window:
        """TFLite's SAME: output = ceil(input / stride), the odd pixel of padding goes last."""
        pads: list[int] = []
        for k, s, n, d in zip(kernel, stride, in_size, dilation, strict=True):
            out = -(-n // s)
            total = max((out - 1) * s + (k - 1) * d + 1 - n, 0)
            pads += [total // 2, total - total // 2]
        return Window(kernel, stride, (pads[0], pads[1], pads[2], pads[3]), dilation)

    def out_size(self, in_size: Pair) -> Pair:
        """Output height and width for an input height and width."""
        pads = (self.padding[0] + self.padding[1], self.padding[2] + self.padding[3])
        sizes = [
            (n + p - (k - 1) * d - 1) // s + 1
            for n, p, k, d, s in zip(
                in_size, pads, self.kernel, self.dilation, self.stride, strict=True
            )
        ]
        return sizes[0], sizes[1]

    def check(self) -> None:
        """Raise TypeRuleError for a geometry that makes no sense."""
        expect(min(self.kernel) >= 1, f"kernel {self.kernel} must be positive")
        expect(min(self.stride) >= 1, f"stride {self.stride} must be positive")
        expect(min(self.dilation) >= 1, f"dilation {self.dilation} must be positive")
        expect(min(self.padding) >= 0, f"padding {self.padding} must not be negative")

    def taps(self, in_size: Pair) -> Iterator[Tap]:
        """Kernel positions in raster order; positions that only see padding are left out."""
        out_size = self.out_size(in_size)
        for ky in range(self.kernel[0]):
            rows = self._reach(0, ky, in_size, out_size)
            for kx in range(self.kernel[1]):
                columns = self._reach(1, kx, in_size, out_size)
                if rows and columns:
                    yield Tap(ky, kx, (rows[0], columns[0]), (rows[1], columns[1]))

    def band(self, row: int, count: int, in_h: int) -> tuple[Window, tuple[int, int]] | None:
        """The window that makes `count` output rows from `row` on alone, and the input rows
        (first, end) that it reads.

        3x3, padding 1, 8 rows: row 0 reads rows 0 to 1 below one row of padding, row 1 rows 0 to 2,
        both together rows 0 to 2 below one row of padding. None: a row sees padding alone.
        """
        reach = (self.kernel[0] - 1) * self.dilation[0] + 1
        start = row * self.stride[0] - self.padding[0]
        last = start + (count - 1) * self.stride[0]
        end = last + reach
        if start + reach <= 0 or last >= in_h:
            return None
        rows = (max(start, 0), min(end, in_h))
        padding = (rows[0] - start, end - rows[1], *self.padding[2:])
        return Window(self.kernel, self.stride, padding, self.dilation), rows

    def first_reader(self, row: int) -> int:
        """The first output row that reads input row `row`, or would if there were so many."""
        behind = row + self.padding[0] - (self.kernel[0] - 1) * self.dilation[0]
        return max(-(-behind // self.stride[0]), 0)

    def _reach(
        self, axis: int, k: int, in_size: Pair, out_size: Pair
    ) -> tuple[slice, slice] | None:
        """Outputs o with 0 <= o * stride + offset < input size, and the inputs they read."""
        stride = self.stride[axis]
        offset = k * self.dilation[axis] - self.padding[2 * axis]
        first = max(0, -(offset // stride))
        last = min(out_size[axis] - 1, (in_size[axis] - 1 - offset) // stride)
        if first > last:
            return None
        start = first * stride + offset
        return slice(first, last + 1), slice(start, last * stride + offset + 1, stride)
