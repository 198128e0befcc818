"""One command's channel of an ssh connection: what it says, how it ends; any thread may look."""

import contextlib
import secrets
import shlex
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import asyncssh

from tinyengine.errors import DeviceError

_LAST_WORDS_S = 0.5  # an exit status may overtake the end of the output
_SIGNALLED = 128  # what a shell adds to the number of a signal that ended a program


class Channel(asyncssh.SSHClientSession[bytes]):
    """A command's stdout and stderr so far, and its exit code. `changed` guards and tells."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.out = bytearray()
        self.err = bytearray()
        self.lost: str | None = None  # why the connection ended, if it ended before the command
        self._code: int | None = None
        self._code_s = 0.0
        self._complete = False
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Called by asyncssh."""
        self._channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Called by asyncssh."""
        with self.changed:
            (self.out if datatype is None else self.err).extend(data)
            self.changed.notify_all()

    def eof_received(self) -> bool:
        """Called by asyncssh. True: its stdin stays open, since the program may go on."""
        with self.changed:
            self._complete = True
            self.changed.notify_all()
        return True

    def exit_status_received(self, status: int) -> None:
        """Called by asyncssh."""
        with self.changed:
            self._code, self._code_s = status, time.monotonic()
            self.changed.notify_all()

    def exit_signal_received(self, name: str, core: bool, msg: str, lang: str) -> None:
        """Called by asyncssh."""
        number = getattr(signal, f"SIG{name}", signal.SIGKILL)
        self.exit_status_received(_SIGNALLED + int(number))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncssh."""
        with self.changed:
            self._complete = True
            if self._code is None:
                self.lost = str(exc or "the channel was closed")
            self.changed.notify_all()

    def code(self) -> int | None:
        """Return the exit code once all output is here; None before, and when it was lost."""
        if self._code is None:
            return None
        late = time.monotonic() - self._code_s > _LAST_WORDS_S
        return self._code if self._complete or late else None

    def over(self) -> bool:
        """Return whether nothing more will come."""
        return self.lost is not None or self.code() is not None

    # what follows is for the loop's thread

    def write(self, data: bytes) -> None:
        """Send to its stdin; nothing happens when it is gone."""
        if self._channel is not None and not self._channel.is_closing():
            with contextlib.suppress(OSError):
                self._channel.write(data)

    def end_input(self) -> None:
        """Close its stdin."""
        if self._channel is not None and not self._channel.is_closing():
            with contextlib.suppress(OSError):
                self._channel.write_eof()

    def close(self) -> None:
        """Let go of it."""
        if self._channel is not None:
            self._channel.close()


class Opener(Protocol):
    """Who opens channels: an ssh connection."""

    name: str

    def open(self, command: str, first: bytes) -> Channel:
        """Run a command, with its first input."""

    def soon(self, act: Callable[[], Any]) -> None:
        """Have the loop's thread do something."""


class RemoteShell:
    """One `sh` that stays: a command of builtins costs a round trip, but no process there."""

    def __init__(self, link: Opener) -> None:
        """Open nothing yet."""
        self._link = link
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._mark = f"bench-melt-{secrets.token_hex(8)}"
        self._count = 0

    def run(self, line: str, timeout_s: float = 20.0) -> str:
        """Run a command line, return what it printed on both streams.

        Raises:
            DeviceError: no answer in time, or the connection is gone.
        """
        with self._lock:
            if self._channel is None or self._channel.over():
                self._channel = self._link.open("exec sh", b"exec 2>&1\n")
            channel = self._channel
            self._count += 1
            mark = f"{self._mark}-{self._count}"
            # 'command' keeps a syntax error from ending the shell
            text = f"cd; command eval {shlex.quote(line)} </dev/null; printf '\\n%s\\n' {mark}\n"
            self._link.soon(lambda: channel.write(text.encode()))
            return self._answer(channel, f"\n{mark}\n".encode(), line, timeout_s)

    def _answer(self, channel: Channel, mark: bytes, line: str, timeout_s: float) -> str:
        with channel.changed:
            done = channel.changed.wait_for(
                lambda: mark in channel.out or channel.over(), timeout_s
            )
            found, text = mark in channel.out, bytes(channel.out)
            channel.out.clear()
        shown = line if len(line) < 60 else f"{line[:57]}..."
        if found:
            return text.partition(mark)[0].decode("utf-8", errors="replace")
        self.close()
        if channel.lost is not None:
            raise DeviceError(f"the connection to '{self._link.name}' was lost: {channel.lost}")
        said = text.decode("utf-8", errors="replace").strip()
        if done:
            raise DeviceError(f"the shell of '{self._link.name}' ended in '{shown}'; said: {said}")
        raise DeviceError(
            f"'{self._link.name}' did not answer '{shown}' within {timeout_s:g} s; said: {said}"
        )

    def close(self) -> None:
        """End the shell; the next command starts another."""
        channel, self._channel = self._channel, None
        if channel is not None:
            self._link.soon(channel.close)
