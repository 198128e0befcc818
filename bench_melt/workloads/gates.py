"""Counts and bytes that must not grow: how they are measured, and compared with a record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from bench_melt.device import open_device
from bench_melt.workloads.counting import Tally
from bench_melt.workloads.kernel_check import require_instructions
from codegen.board import Board
from codegen.build import build
from codegen.compile_model import compile_model
from codegen.manifest import Manifest, load_manifest
from codegen.toolchain import find_tool, find_toolchain
from tinyengine.errors import DeviceError, UserError
from tinyengine.ir.graph import Graph
from tinyengine.update.scheme import Scheme, load_scheme

TOLERANCE = 0.01
_STEPS = 3  # a step's count depends a little on the data: the mean over the same fake samples


@dataclass(frozen=True, slots=True)
class Subject:
    """A net with a scheme on boards.

    shared: its file belongs to others and may be absent. fed: its input arrives row by row.
    """

    name: str
    model: str | Graph
    scheme: str
    boards: tuple[str, ...]
    classes: int | None = None
    gradients: str = "f32"
    shared: bool = False
    fed: bool = False

    def key(self, board: str) -> str:
        """The name of its row on a board."""
        format_ = f" {self.gradients}" if load_scheme(self.scheme).trains else ""
        scheme = Path(self.scheme).stem
        return f"{self.name}, {scheme}{format_}{', rows fed' if self.fed else ''}, {board}"


@dataclass(frozen=True, slots=True)
class Counts:
    """Figures of one net on one board; None: it does not train. All but macs_forward are gated."""

    instructions_per_step: int | None
    instructions_forward: int
    ram_bytes: int
    flash_bytes: int
    arena_bytes: int
    macs_forward: int


def weigh(subject: Subject, board: Board, folder: Path) -> Counts:
    """Compile, build and run a subject; instructions are exact and repeat.

    folder: scratch; used again, it spares compiling the runtime.

    Raises:
        UserError: nothing counts here, a tool is missing, or the flags leave out instructions that
            the board has.
        BudgetError: it does not fit the board even without its artificial limit.
    """
    board = board.without_ram_limit()
    scheme: Scheme = replace(load_scheme(subject.scheme), gradients=subject.gradients)
    compile_model(subject.model, board, scheme, folder, subject.classes, fed=subject.fed)
    built, manifest = build(folder, board), load_manifest(folder)
    assert built.ram_bytes is not None
    require_instructions(board, built.elf)
    step, forward = _run(folder, manifest, board)
    return Counts(
        instructions_per_step=step,
        instructions_forward=forward,
        ram_bytes=built.ram_bytes,
        flash_bytes=built.flash_bytes,
        arena_bytes=manifest.arena_bytes,
        macs_forward=manifest.macs_forward,
    )


def _run(folder: Path, manifest: Manifest, board: Board) -> tuple[int | None, int]:
    """Instructions of a training step (mean over _STEPS fake samples) and of a forward pass."""
    with open_device(folder, manifest, board) as device:
        counter, session = device.counter, device.session
        if counter is None:
            raise UserError("nothing counts instructions here; 'bench-melt doctor' says why")
        step = Tally.of(manifest.train_layers, fed=manifest.input_fed)
        forward = Tally.of(manifest.forward_layers, fed=manifest.input_fed)
        counter.read()
        for index in range(_STEPS if manifest.trains else 0):
            label = session.fill(0, index)
            session.train(label)
            step.add(counter.read())
        session.fill(0, 0)
        session.forward()
        forward.add(counter.read())
    return (_counted(step, "training step") if manifest.trains else None), _counted(
        forward, "forward pass"
    )


def _counted(tally: Tally, what: str) -> int:
    """Return the mean of runs that were counted: without one the gate would pass unseen."""
    total = tally.mean_total()
    if total is None:
        raise DeviceError(f"a {what} left other marks than the manifest's layers")
    return total


def toolchain_of(board: Board) -> dict[str, str]:
    """Versions that decide the counts on an emulated board: compiler and emulator."""
    emulator = find_tool("qemu-system-arm")
    return {
        "gcc": find_toolchain(board.build.toolchain).gcc.version,
        "qemu": emulator.version if emulator else "absent",
    }


def grown(
    key: str, record: Mapping[str, int | None], now: Counts, tolerance: float = TOLERANCE
) -> Iterator[str]:
    """Yield one line for each gated figure that is more than `tolerance` above its record, or gone.

    A figure that the record has not is not gated.
    """
    for field in fields(now):
        before, after = record.get(field.name), getattr(now, field.name)
        if field.name == "macs_forward" or before is None:
            continue
        if after is None:
            yield f"{key}: {field.name} was {before:,}, is not counted any more"
        elif after > before * (1 + tolerance):
            more = 100 * (after / before - 1)
            yield f"{key}: {field.name} grew from {before:,} to {after:,} ({more:+.1f} %)"
