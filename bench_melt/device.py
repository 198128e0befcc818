"""From a generated folder to a device that answers: build, start, greet, check, reset."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench_melt.link.fault import DeviceFaultError
from bench_melt.link.session import Session
from bench_melt.targets.base import make_target
from bench_melt.targets.counter import InstructionCounter
from codegen.board import Board
from codegen.build import build
from codegen.manifest import Manifest
from tinyengine.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Device:
    """A board that runs the folder's model, as compiled, with an open session.

    counter: None where nobody counts instructions. ram_bytes: static data and worst-case stack of
    the linked firmware, None where the firmware was not built here.
    """

    board: Board
    session: Session
    counter: InstructionCounter | None
    ram_bytes: int | None


@contextmanager
def open_device(
    directory: Path,
    manifest: Manifest,
    board: Board,
    *,
    port: str | None = None,
    patience_s: float = 10.0,
) -> Iterator[Device]:
    """Build the folder for `board` if need be, start it, open a session; ends with the block.

    Args:
        directory: What `tinyengine-codegen compile` made.
        manifest: Its manifest.
        board: What to run on.
        port: pyserial URL of a device (or proxy) that runs the firmware already: nothing is
            built or started.
        patience_s: How long the device may leave a question unanswered that needs no computing.

    Raises:
        UserError: the toolchain or the emulator is missing, or a real board was given no port.
        BudgetError: the program does not fit the board.
        DeviceError: no device, a silent one, one with another model, or one that fails on the way.
    """
    elf = directory / "build" / board.name / "firmware.elf"
    ram_bytes = None
    if port is None or elf.is_file():
        result = build(directory, board)
        elf, ram_bytes = result.elf, result.ram_bytes
    with make_target(board, elf, port=port) as target:
        url = target.start()
        try:
            with Session.open(url, baud=target.baud, patience_s=patience_s) as session:
                _require_model(session, manifest, board)
                session.reset()
                yield Device(board, session, target.counter, ram_bytes)
        except DeviceFaultError:
            raise
        except DeviceError as error:
            note = target.failure_note()
            raise DeviceError(f"board '{board.name}': {error}{f'; {note}' if note else ''}") from (
                error
            )


def _require_model(session: Session, manifest: Manifest, board: Board) -> None:
    """Refuse a device that runs another model.

    Raises:
        DeviceError: names both models.
    """
    info = session.info
    if info.model_hash != manifest.model_hash:
        raise DeviceError(
            f"wrong firmware: the device runs model '{info.model}' ({info.model_hash[:12]}), the "
            f"folder holds '{manifest.model}' ({manifest.model_hash[:12]}); build the folder for "
            f"'{board.name}' and flash it"
        )
