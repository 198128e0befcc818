"""Smartwatch recordings of seven shoulder exercises, cut into windows for the demo's net.

Source: `seglearn` (BSD 3-clause), ten wearers x two wrists x seven exercises, one recording of
about twenty repetitions each; three axes of acceleration (g) and three of rotation (rad/s) at 50 Hz
(arXiv 1802.01489). Only `make_model.py` reads it: what `bench-melt demo` needs lies beside this.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyengine.errors import UserError
from tinyengine.ir.tensor import Array, Quant

LEFT, RIGHT = 0, 1
WINDOW = 64  # samples at 25 Hz: 2.56 s, longer than one repetition
CHANNELS = 6
# int8 steps of 1/32 g and, rotation being halved, 1/16 rad/s: +-4 g and +-8 rad/s fit
INPUT_QUANT = Quant.per_tensor(1 / 32)
_UNITS = np.array([1.0, 1.0, 1.0, 0.5, 0.5, 0.5])


@dataclass(frozen=True, slots=True)
class Recording:
    """One wearer's repetitions of one exercise: samples (n, 6) int8 at 25 Hz, in time order."""

    samples: Array
    gesture: int
    wearer: int
    wrist: int


@dataclass(frozen=True, slots=True)
class Windows:
    """x (n, 64, 1, 6) int8 and the gesture y (n,) of each window."""

    x: Array
    y: Array

    def shuffled(self, seed: int) -> Windows:
        """The same windows in a seeded order."""
        order = np.random.default_rng(seed).permutation(len(self.y))
        return Windows(self.x[order], self.y[order])


def load_recordings() -> tuple[list[Recording], list[str]]:
    """All 140 recordings and the names of the gestures.

    Raises:
        UserError: seglearn is not installed.
    """
    # the package itself is not imported: it would pull pandas and scikit-learn for one array
    spec = importlib.util.find_spec("seglearn")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("the watch data set is missing; install it with: pip install seglearn")
    path = Path(spec.submodule_search_locations[0]) / "data" / "watch_dataset.npy"
    data = np.load(path, allow_pickle=True).item()
    rows = zip(data["X"], data["y"], data["subject"], data["side"], strict=True)
    recordings = [Recording(_int8(x), int(y), int(who), int(side)) for x, y, who, side in rows]
    return recordings, [str(name) for name in data["y_labels"]]


def _int8(samples: Array) -> Array:
    """(n, 6) at 50 Hz, physical units -> (n // 2, 6) int8 at 25 Hz."""
    pairs = np.asarray(samples, np.float64)[: len(samples) // 2 * 2].reshape(-1, 2, CHANNELS)
    steps = np.rint(pairs.mean(axis=1) * _UNITS / INPUT_QUANT.per_tensor_scale)
    clipped: Array = np.clip(steps, -128, 127).astype(np.int8)
    return clipped


def cut(recordings: list[Recording], stride: int, part: tuple[float, float] = (0, 1)) -> Windows:
    """Windows every `stride` samples from the given part of each recording.

    part: begin and end as shares of a recording's length. A window lies wholly inside its part, so
    windows of different parts share no sample.
    """
    x: list[Array] = []
    y: list[int] = []
    for recording in recordings:
        begin, end = (int(share * len(recording.samples)) for share in part)
        for start in range(begin, end - WINDOW + 1, stride):
            x.append(recording.samples[start : start + WINDOW].reshape(WINDOW, 1, CHANNELS))
            y.append(recording.gesture)
    return Windows(np.stack(x), np.array(y, np.int64))
