"""A generated folder around tests/fixtures/fake_model.c, and the command line run on it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from codegen.manifest import Border, MarkedLayer, StateTensor, write_manifest
from codegen.paths import firmware_dir
from tests.manifests import manifest
from tinyengine.ir import text
from tinyengine.ir.graph import Builder
from tinyengine.ir.tensor import Array, DType, Role

FIXTURES = Path(__file__).parent / "fixtures"
SAMPLE_BYTES, CLASSES, READ = 6000, 3, 8  # the fake reads the first eight bytes of a sample
HASH = "fa4e" + "00" * 30


def write_fake_folder(folder: Path, **changes: Any) -> Path:
    """Make `folder` what compile would have made of the fake model; return it."""
    te = folder / "src" / "te"
    te.mkdir(parents=True)
    for path in (*firmware_dir().glob("include/*.h"), *firmware_dir().glob("runtime/*.c")):
        shutil.copy(path, te)
    shutil.copy(FIXTURES / "fake_model.c", folder / "src")
    layers = tuple(
        MarkedLayer(layer="head", op=op, phase=phase)
        for op, phase in (("linear", "forward"), ("sgd_f32", "update"))
    )
    fields: dict[str, Any] = {
        "model": "fake",
        "model_hash": HASH,
        "input": Border(shape=(1, SAMPLE_BYTES), dtype="i8", device_dtype="i8", scale=1 / 128,
                        zero_point=0),
        "state": (
            StateTensor(name="head/weight", shape=(CLASSES, READ), dtype="f32"),
            StateTensor(name="head/bias", shape=(CLASSES,), dtype="f32"),
        ),
        "forward_layers": layers[:1],
        "train_layers": layers,
    }  # fmt: skip
    (folder / "te_manifest.json").write_text(write_manifest(manifest(**{**fields, **changes})))
    (folder / "graph.te").write_text(_graph())
    return folder


def _graph() -> str:
    b = Builder("fake")
    for name, shape in (("head/weight", (CLASSES, READ)), ("head/bias", (CLASSES,))):
        b.constant(name, np.zeros(shape), DType.F32, role=Role.TRAINABLE)
        b.updates.append((name, name))
    return text.write(b.build())


def samples(count: int, seed: int = 0) -> tuple[Array, Array]:
    """Random samples (count, 6000) int8 and labels."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (count, SAMPLE_BYTES)).astype(np.int8)
    return x, rng.integers(0, CLASSES, count)


class FakeTrainer:
    """What fake_model.c computes, in the same order of float32 operations."""

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = np.float32(lr)
        self.weight = np.zeros((CLASSES, READ), np.float32)
        self.bias = np.zeros(CLASSES, np.float32)

    def outputs(self, x: Array) -> Array:
        total = self.bias.copy()
        for i in range(READ):
            total += self.weight[:, i] * np.float32(x[i]) / np.float32(128)
        return total

    def step(self, x: Array, label: int) -> float:
        d = self.outputs(x) - (np.arange(CLASSES) == label).astype(np.float32)
        loss = np.float32(0)
        for o in range(CLASSES):
            loss += d[o] * d[o]
            for i in range(READ):
                d_weight = d[o] * np.float32(x[i]) / np.float32(128)
                self.weight[o, i] -= self.lr * d_weight
            self.bias[o] -= self.lr * d[o]
        return float(loss)

    def accuracy(self, x: Array, y: Array) -> float:
        return float(np.mean([self.outputs(a).argmax() == b for a, b in zip(x, y, strict=True)]))


def bench_melt(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a process of its own."""
    argv = [sys.executable, "-c", "from bench_melt.cli import main; main()", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)


def bench_melt_json(*arguments: object) -> dict[str, Any]:
    """Run it with --json, expect success, return the object."""
    done = bench_melt(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
