"""A firmware in the QEMU emulator; its UART is a TCP port, its instructions are counted."""

import shutil
import socket
import tempfile
from pathlib import Path

from bench_melt.targets.base import StoppedAtExit
from bench_melt.targets.counter import InstructionCounter, mark_address
from bench_melt.targets.plugin import plugin_library
from bench_melt.targets.process import Child
from tinyengine.errors import DeviceError, UserError

_PROGRAM = "qemu-system-arm"
_START_S = 20.0


class QemuTarget(StoppedAtExit):
    """Runs an ELF on a machine that `qemu-system-arm` emulates."""

    baud: int | None = None

    def __init__(
        self,
        elf: Path,
        machine: str,
        *,
        uart: int = 0,
        count: bool = True,
        watch_stack: tuple[int, int] | None = None,
    ) -> None:
        """Name the firmware and the machine; start() runs it.

        Args:
            elf: The linked firmware.
            machine: QEMU's name of the board, as after `-M`.
            uart: Which of the machine's serial ports is the session's.
            count: Count instructions, where the plug-in can be built.
            watch_stack: Addresses [low, high) in which to note the lowest store; costs speed.
        """
        self.counter: InstructionCounter | None = None
        self._elf = elf
        self._machine = machine
        self._uart = uart
        self._count = count
        self._watch_stack = watch_stack
        self._child: Child | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def start(self) -> str:
        """Start the emulator; return the URL of the firmware's UART.

        It starts at once: nothing is lost, since a device speaks only when asked.

        Raises:
            UserError: QEMU is not installed.
            DeviceError: it does not start.
        """
        self.stop()
        if shutil.which(_PROGRAM) is None:
            raise UserError(
                f"'{_PROGRAM}' is not installed; install package qemu-system-arm, "
                "or run 'tinyengine-codegen doctor --install'"
            )
        if not self._elf.is_file():
            raise UserError(f"no firmware at '{self._elf}'; run 'tinyengine-codegen build' first")
        if self._count:
            url = self._start_counting()
            if url is not None:
                return url
        return self._launch([])

    def _start_counting(self) -> str | None:
        """Start with the plug-in; None where it cannot be built or this QEMU does not load it."""
        library = plugin_library()
        mark = mark_address(self._elf)
        if library is None or mark is None:
            return None
        self._folder = tempfile.TemporaryDirectory(prefix="te-count-")
        ring = Path(self._folder.name) / "ring"
        options = f"{library},out={ring},mark={mark:#x}"
        if self._watch_stack is not None:
            options += f",stack={self._watch_stack[0]:#x}:{self._watch_stack[1]:#x}"
        try:
            url = self._launch(["-plugin", options])
            self.counter = InstructionCounter(ring)
        except (DeviceError, OSError, ValueError):
            self.stop()
            return None
        return url

    def _launch(self, extra: list[str]) -> str:
        # we bind the port and hand the socket down: nobody can take it in between
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            port = listener.getsockname()[1]
            child = Child(self._argv(listener.fileno(), extra), pass_fds=[listener.fileno()])
        self._child = child
        self._wait_for_life(child)
        return f"socket://127.0.0.1:{port}"

    def _argv(self, listener: int, extra: list[str]) -> list[str]:
        # "mux" puts a buffer before the UART, which takes one byte at a time: ten times the speed.
        # Its escape character, which the stream must not contain, is set to what is no byte.
        link = f"socket,id=link,fd={listener},server=on,wait=off,mux=on"
        return [
            *(_PROGRAM, "-M", self._machine, "-nodefaults", "-display", "none", "-qmp", "stdio"),
            *("-chardev", link, "-echr", "0x100"),
            *(["-serial", "null"] * self._uart),
            *("-serial", "chardev:link", "-kernel", str(self._elf)),
            *extra,
        ]

    def _wait_for_life(self, child: Child) -> None:
        """Ask QEMU's control channel: it answers once the machine has been set up."""
        child.tell(b'{"execute":"qmp_capabilities"}{"execute":"query-status"}')
        said = child.read_until(b'"running"', _START_S)
        if '"running"' not in said:
            note = child.note()
            self.stop()
            raise DeviceError(f"the emulated board '{self._machine}' does not start: {note}")

    def stop(self) -> None:
        """End the emulator and remove its files."""
        if self._child is not None:
            self._child.close()
            self._child = None
        if self.counter is not None:
            self.counter.close()
            self.counter = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def failure_note(self) -> str:
        """Return how the emulator ended and what it said last."""
        return self._child.note() if self._child else ""
