"""Samples with labels. Samples stay as they were read: each is converted when it is needed."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tinyengine.errors import UserError
from tinyengine.ir.tensor import Array
from tinyengine.ops.fixed import mix32

_HELD_OUT_SHARE = 5  # one sample in five
_SPLIT_SEED = 0x5EED


@dataclass(frozen=True, slots=True)
class Samples:
    """Item i is sample i as the device takes it: the model's input shape without the batch.

    raw: (n, ...) in the form it was read, often much smaller than what the device takes.
    """

    raw: Array
    convert: Callable[[Array], Array]

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: int) -> Array:
        return self.convert(self.raw[index])

    def take(self, rows: Array) -> "Samples":
        """Return the samples whose numbers are in `rows`."""
        return replace(self, raw=self.raw[rows])


@dataclass(frozen=True, slots=True)
class Dataset:
    """Training and test samples; y, y_test: (n,) int64 labels in [0, classes)."""

    name: str
    x: Samples
    y: Array
    x_test: Samples
    y_test: Array
    classes: int

    def with_test(self) -> "Dataset":
        """Return it with test samples: where there are none, one training sample in five is held
        out, always the same ones; the others keep their order.

        Raises:
            UserError: there are too few samples to hold one out.
        """
        if len(self.y_test):
            return self
        if len(self.y) < 2:
            raise UserError(
                f"data '{self.name}' has {len(self.y)} sample and no test samples; "
                "give more samples, or x_test and y_test"
            )
        rows = shuffled(len(self.y), _SPLIT_SEED)
        held = rows[: max(1, len(rows) // _HELD_OUT_SHARE)]
        kept = np.setdiff1d(rows, held)
        return replace(
            self,
            x=self.x.take(kept),
            y=self.y[kept],
            x_test=self.x.take(held),
            y_test=self.y[held],
        )


def shuffled(count: int, seed: int) -> Array:
    """Return 0..count-1 in the order of a counter-based generator: equal on every computer and
    with every version of numpy. Shape (count,), int64.
    """
    keys = mix32(np.arange(count, dtype=np.uint64) + np.uint64(int(mix32(seed & 0xFFFFFFFF))))
    return np.argsort(keys, kind="stable")


def visiting_order(count: int, seed: int) -> Array:
    """Return the order in which training visits samples: file order for seed 0, else shuffled."""
    return np.arange(count) if seed == 0 else shuffled(count, seed)


def check_labels(y: Array, count: int, classes: int, where: str) -> Array:
    """Return labels as int64 (count,).

    Raises:
        UserError: they are not whole numbers, not as many as samples, or not in [0, classes).
    """
    y = np.asarray(y)
    if y.shape != (count,):
        raise UserError(
            f"{where} has shape {y.shape}; there are {count} samples, so it must be ({count},)"
        )
    if y.dtype.kind not in "iu":
        raise UserError(f"{where} has dtype {y.dtype}; labels must be integers")
    wrong = np.flatnonzero((y < 0) | (y >= classes))
    if len(wrong):
        raise UserError(
            f"{where}[{wrong[0]}] is {y[wrong[0]]} ({len(wrong)} of {count} labels are out of "
            f"range); the model has {classes} classes, 0..{classes - 1}; correct the labels, or "
            "compile with --classes"
        )
    return y.astype(np.int64)
