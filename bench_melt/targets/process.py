"""A child process that never outlives us and whose last words are kept."""

import contextlib
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import IO

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
                [*dies_with_us(), *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                pass_fds=tuple(pass_fds),
            )
        except OSError as error:
            self._log.close()
            raise DeviceError(f"cannot start '{argv[0]}': {error.strerror}") from error

    def tell(self, data: bytes) -> None:
        """Write to its stdin; a child that is gone is not an error here."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(data)
                self._process.stdin.flush()

    def read_until(self, wanted: bytes, timeout_s: float) -> str:
        """Return what it prints up to `wanted`, its end, or the time-out."""
        stdout = self._process.stdout
        end = time.monotonic() + timeout_s
        data = b""
        while stdout is not None and wanted not in data and (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([stdout], [], [], left)
            part = os.read(stdout.fileno(), 4096) if ready else b""
            if not part:
                break
            data += part
        return data.decode("utf-8", errors="replace").strip()

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
                with contextlib.suppress(BrokenPipeError):
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


def dies_with_us() -> list[str]:
    """Return a prefix that makes the kernel end the child with us, where there is one."""
    tool, shell = shutil.which("setpriv"), shutil.which("sh")
    if tool is None or shell is None:
        return []
    # whoever was killed before the kernel was told is no parent any more
    script = 'test "$PPID" = "$1" && shift && exec "$@"'
    check = [shell, "-c", script, "start", str(os.getpid())]
    return [tool, "--pdeathsig", "TERM", "--", *check]
