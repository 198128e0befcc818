"""A shell of a phone that stays: reading a meter costs a round trip, and no process there."""

import threading
import time

from bench_melt.targets.adb import Phone
from bench_melt.targets.shell_stream import ShellStream
from tinyengine.errors import DeviceError

_ANSWER_S = 20.0
_END = "--bench-melt-end--"


class StandingShell:
    """Runs command lines one after the other, from any thread."""

    def __init__(self, phone: Phone) -> None:
        """Remember the phone; the shell starts with the first line."""
        self._phone = phone
        self._lock = threading.Lock()
        self._stream: ShellStream | None = None

    def run(self, line: str) -> str:
        """Return what a command line prints on stdout. It must not read stdin.

        Raises:
            DeviceError: the phone is gone, or the line does not end.
        """
        with self._lock:
            if self._stream is None:
                self._stream = self._phone.shell("sh")
            try:
                return self._ask(self._stream, line)
            except DeviceError:
                self._drop()  # what is left of its answer must not become the next one's
                raise

    def close(self) -> None:
        """End the shell; harmless twice."""
        with self._lock:
            self._drop()

    def _ask(self, stream: ShellStream, line: str) -> str:
        # the empty line ends a last line that the command left open
        stream.send(f"{line}\necho; echo {_END}\n".encode())
        end_s = time.monotonic() + _ANSWER_S
        told, seen = "", 0
        while not told.endswith(f"\n{_END}\n"):
            if stream.ended:
                raise self._phone.gone("reading a meter")
            if time.monotonic() > end_s:
                raise DeviceError(
                    f"{self._phone.label}: '{line[:60]}' did not end within {_ANSWER_S:g} s"
                )
            seen = stream.wait_more(seen, 0.2)
            told = stream.stdout()
        stream.forget()
        return told.removesuffix(f"\n{_END}\n")

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
