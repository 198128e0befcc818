"""What every target offers to the code that drives it."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from bench_melt.targets.counter import InstructionCounter
from codegen.board import Board
from tinyengine.errors import UserError


class StoppedAtExit:
    """A context manager whose end is its `stop()`."""

    def stop(self) -> None:
        """End what runs."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Target(Protocol):
    """Something that runs a firmware and has a link. Use as a context manager."""

    counter: InstructionCounter | None  # None: nobody counts instructions here
    baud: int | None  # speed of the port; None: it has none

    def start(self) -> str:
        """Start the firmware; return the pyserial URL of its link.

        Raises:
            DeviceError: it does not start.
            UserError: a tool that it needs is missing.
        """

    def stop(self) -> None:
        """End what start() began; harmless when nothing runs."""

    def failure_note(self) -> str:
        """Return what the target itself said about its end: exit code, last lines; or ""."""

    def __enter__(self) -> "Target": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def make_target(board: Board, elf: Path, *, port: str | None = None) -> Target:
    """Return the target that runs `elf` on `board`.

    Args:
        board: What to run on.
        elf: The linked firmware (a native program for the host).
        port: pyserial URL of a link that is already there; needed by real boards, and for the
            others it means: start nothing, talk to that.

    Raises:
        UserError: a real board without a port.
    """
    from bench_melt.targets.host import HostTarget
    from bench_melt.targets.qemu import QemuTarget
    from bench_melt.targets.serial import SerialTarget

    if port is not None:
        return SerialTarget(port, board.serial.baud if board.serial else None)
    if board.run.kind == "host":
        return HostTarget(elf)
    if board.run.kind == "qemu" and board.run.machine is not None:
        counts = board.meters.instructions == "qemu-plugin"
        return QemuTarget(elf, board.run.machine, uart=board.run.uart, count=counts)
    raise UserError(
        f"board '{board.name}' is real hardware: name its port, for instance '--port /dev/ttyACM0'"
    )
