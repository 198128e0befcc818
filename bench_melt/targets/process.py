"""A child process that never outlives us and whose last words are kept."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from typing import IO, Any

from tinyengine.errors import DeviceError

_TAIL_LINES = 8
_END_S = 2.0


class Child:
    """One process; its stderr goes to an unnamed file, of which the tail explains a failure."""

    def __init__(self, argv: Sequence[str], *, pass_fds: Sequence[int] = ()) -> None:
        """Start `argv` with pipes on stdin and stdout.

        Raises:
            DeviceError: it cannot be executed.
        """
        self._name = argv[0]
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as we do
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [*_dies_with_us(), *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                pass_fds=tuple(pass_fds),
            )
        except OSError as error:
            self._log.close()
            raise DeviceError(f"cannot start '{argv[0]}': {error.strerror}") from error

    @property
    def stdout(self) -> IO[bytes]:
        """What it prints."""
        stream: Any = self._process.stdout
        return stream  # type: ignore[no-any-return]

    def exit_code(self, wait_s: float = 0.0) -> int | None:
        """Return its exit code, or None while it runs."""
        try:
            return self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None

    def note(self) -> str:
        """Return how it ended and the last lines of its stderr; "" if there is nothing to say."""
        code = self.exit_code(0.1)
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", errors="replace").strip().splitlines()
        parts = [] if code is None else [f"'{self._name}' ended with exit code {code}"]
        if lines:
            parts.append("it said: " + " | ".join(lines[-_TAIL_LINES:]))
        return "; ".join(parts)

    def stop(self) -> None:
        """Close its stdin, end it if it is still there, and reap it."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Stop it and forget what it said."""
        self.stop()
        self._log.close()


def _dies_with_us() -> list[str]:
    """Return a prefix that makes the kernel end the child with us, where there is one."""
    tool = shutil.which("setpriv")
    return [tool, "--pdeathsig", "TERM", "--"] if tool else []
