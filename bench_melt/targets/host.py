"""The firmware as a process of this computer; its link is a TCP port that it picks itself."""

from pathlib import Path

from bench_melt.targets.base import StoppedAtExit
from bench_melt.targets.counter import InstructionCounter
from bench_melt.targets.process import Child
from tinyengine.errors import DeviceError

_START_S = 10.0


class HostTarget(StoppedAtExit):
    """Runs a native firmware, which prints `port N` once it listens."""

    counter: InstructionCounter | None = None
    baud: int | None = None

    def __init__(self, program: Path) -> None:
        """Name the program; start() runs it."""
        self._program = program
        self._child: Child | None = None

    def start(self) -> str:
        """Start the process; return the URL of its link.

        Raises:
            DeviceError: it cannot be executed, or ends or stays silent before it listens.
        """
        self.stop()
        self._child = Child([str(self._program)])
        line = self._child.read_until(b"\n", _START_S)
        word, _, port = line.partition(" ")
        if word != "port" or not port.isdigit():
            note = self.failure_note()
            self.stop()
            raise DeviceError(
                f"'{self._program}' did not say 'port N' in {_START_S:.0f} s but {line!r}; {note}"
            )
        return f"socket://127.0.0.1:{port}"

    def stop(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def failure_note(self) -> str:
        """Return how the process ended and what it said last."""
        return self._child.note() if self._child else ""
