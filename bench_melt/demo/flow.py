"""The demonstration from model to result: compile, build, start the board, teach it, weigh it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench_melt.data import Dataset, load_dataset
from bench_melt.device import open_device
from bench_melt.progress import bars
from bench_melt.workloads.training import TrainingPlan, TrainingResult, train
from codegen.board import Board, load_board
from codegen.build import BuildResult, build
from codegen.compile_model import compile_model
from codegen.manifest import Manifest, load_manifest
from codegen.toolchain import QEMU_PACKAGES, find_tool, find_toolchain, how_to_install
from tinyengine.errors import UserError

BOARD, FALLBACK = "qemu_mps2_an500", "host"
STEPS = 1000
RATE = 0.03  # with STEPS the best of a few over all ten wearers, docs/demo.md

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demonstration showed. ram_limit_bytes: of the board that the code was made for."""

    board: Board
    ram_limit_bytes: int | None
    built: BuildResult
    result: TrainingResult
    steps: int
    tests: int
    report: Path


def files() -> tuple[Path, Path, Path]:
    """The demo's model, update scheme and data, which travel with the package."""
    folder = Path(__file__).parent
    return folder / "gestures.tflite", folder / "gestures.toml", folder / "gestures.npz"


def choose_board(tell: Tell) -> Board:
    """The emulated Cortex-M7, or this computer where its tools are missing, and then it is said."""
    board = load_board(BOARD)
    try:
        find_toolchain(board.build.toolchain)
        if find_tool("qemu-system-arm") is None:
            raise UserError(f"qemu-system-arm is not installed; {how_to_install(QEMU_PACKAGES)}")
    except UserError as error:
        tell(f"note: {error}")
        tell(
            f"note: board '{BOARD}' cannot run here: the same C code runs on this computer "
            f"instead (board '{FALLBACK}'); its sizes are not a microcontroller's"
        )
        return load_board(FALLBACK)
    return board


def run_demo(out: Path, board: Board, steps: int, tell: Tell) -> Demo:
    """Generate the folder `out` for the emulated Cortex-M7, build and run it on `board`.

    tell: receives a line before each part.

    Raises:
        UserError: `out` holds something that is not ours, or a tool is missing.
        DeviceError: the device fails on the way.
    """
    model, scheme, data = files()
    made_for = load_board(BOARD)
    tell(f"compile: {model.name}, scheme {scheme.name} -> {out}")
    compiled = compile_model(str(model), made_for, str(scheme), out)
    tell(f"build: {board.name}")
    built = build(out, board)
    manifest = load_manifest(out)
    samples = load_dataset(str(data), manifest.input, manifest.classes)
    tell(f"train: {steps} steps on {len(samples.y)} windows of the new wearer, at batch 1")
    result = _train(out, manifest, board, samples, steps)
    return Demo(
        board, made_for.ram_usable_bytes, built, result, steps, len(samples.y_test), compiled.report
    )


def _train(
    out: Path, manifest: Manifest, board: Board, samples: Dataset, steps: int
) -> TrainingResult:
    plan = TrainingPlan(steps=steps, eval_count=len(samples.y_test), seed=0, lr=RATE)
    with open_device(out, manifest, board) as device, bars() as shown:
        return train(device, manifest, samples, plan, shown)
