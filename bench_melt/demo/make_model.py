"""Makes the demo's model and data, with the commands

    python -m bench_melt.demo.make_model           # writes gestures.tflite and gestures.npz here
    python -m bench_melt.demo.make_model --study   # prints the table of docs/demo.md

It needs `seglearn` (extra `data`). About a minute on one core, the study a quarter of an hour.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import numpy as np

from bench_melt.demo.adapt import Task, adapt, make_task
from bench_melt.demo.pretrain import pretrain
from bench_melt.demo.quantise import quantise
from bench_melt.demo.watch import load_recordings
from tinyengine.exporters.tflite import export_tflite
from tinyengine.importers.tflite import parse_tflite
from tinyengine.ir.graph import Graph
from tinyengine.update.scheme import Scheme, load_scheme, parse_scheme

WEARER = 1  # of ten; the study shows the others
EPOCHS = 6
SEED = 0
SAMPLE_EVERY = 4  # of the training windows, for the ranges of the activations
STUDY_STEPS = 1000
# the demo's rate, and for the scheme that moves every weight the one that suits it better
STUDY_RATE, FULL_RATE = 0.03, 0.01


def make_model(task: Task) -> bytes:
    """The .tflite of a net that knows the wearers of `task.before`."""
    folded = pretrain(task.before, EPOCHS, SEED, _tell)
    return export_tflite(quantise(folded, task.before.x[::SAMPLE_EVERY]))


def write_demo(folder: Path) -> None:
    """Write gestures.tflite and gestures.npz into `folder`."""
    recordings, names = load_recordings()
    task = make_task(recordings, WEARER)
    (folder / "gestures.tflite").write_bytes(make_model(task))
    np.savez_compressed(
        folder / "gestures.npz", x=task.learn.x, y=task.learn.y, x_test=task.test.x,
        y_test=task.test.y,
    )  # fmt: skip
    _tell(
        f"{len(task.before.y)} windows of other wearers, {len(task.learn.y)} to learn from, "
        f"{len(task.test.y)} to test; gestures {', '.join(names)}"
    )


def study() -> None:
    """Print, for each of the ten wearers, what each scheme reaches in the simulator."""
    recordings, _ = load_recordings()
    schemes = [(s, STUDY_RATE) for s in (load_scheme("head"), load_scheme("bias"), demo_scheme())]
    schemes.append((load_scheme("full"), FULL_RATE))
    columns = [f"{scheme.name} at {rate}" for scheme, rate in schemes]
    _tell(" | ".join(["| wearer", "windows", "before", *columns]) + " |")
    rows: list[list[float]] = []
    for wearer in sorted({r.wearer for r in recordings}):
        task = make_task(recordings, wearer)
        graph = parse_tflite(make_model(task), "gestures")
        rows.append(_study_row(graph, schemes, task))
        _tell(_table_row(str(wearer), str(len(task.test.y)), rows[-1]))
    _tell(_table_row("mean", "", [float(np.mean(column)) for column in zip(*rows, strict=True)]))


def _study_row(graph: Graph, schemes: list[tuple[Scheme, float]], task: Task) -> list[float]:
    found = [adapt(graph, s, task.learn, task.test, STUDY_STEPS, rate) for s, rate in schemes]
    return [found[0].accuracy_before, *(result.accuracy_after for result in found)]


def _table_row(wearer: str, windows: str, shares: list[float]) -> str:
    return " | ".join([f"| {wearer}", windows, *(f"{100 * s:.0f} %" for s in shares)]) + " |"


def demo_scheme() -> Scheme:
    """The scheme gestures.toml."""
    text = (resources.files("bench_melt.demo") / "gestures.toml").read_text("utf-8")
    return parse_scheme("gestures", text)


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:] == ["--study"]:
        study()
    else:
        write_demo(Path(__file__).parent)
