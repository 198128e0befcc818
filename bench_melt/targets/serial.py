"""A link that is already there: a board on a serial port, or a program behind a socket."""

from bench_melt.targets.base import StoppedAtExit
from bench_melt.targets.counter import InstructionCounter


class SerialTarget(StoppedAtExit):
    """Starts and stops nothing; the firmware has been flashed."""

    counter: InstructionCounter | None = None

    def __init__(self, url: str, baud: int | None = None) -> None:
        """Name the port (a device or any pyserial URL) and its speed in bits per second."""
        self._url = url
        self.baud = baud

    def start(self) -> str:
        """Return the port's URL."""
        return self._url

    def stop(self) -> None:
        """Leave the board running."""

    def failure_note(self) -> str:
        """Return nothing: a board says all it has to say over the link."""
        return ""
