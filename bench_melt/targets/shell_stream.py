"""A program's output through adb's shell protocol, read in a thread of its own.

Source: AOSP packages/modules/adb, shell_protocol.h: packets of one byte id, four bytes length
(little-endian) and data; 0 is stdin, 1 stdout, 2 stderr, 3 the exit code.
"""

import contextlib
import socket
import struct
import threading
from typing import Protocol

_HEAD = struct.Struct("<BI")
_STDIN, _STDOUT, _STDERR, _EXIT = 0, 1, 2, 3
_CHUNK = 1 << 16


class Connection(Protocol):
    """What is needed of `adbutils.AdbConnection`."""

    @property
    def conn(self) -> socket.socket:
        """Its socket."""

    def close(self) -> None:
        """Let go of it."""


class ShellStream:
    """What one remote command writes, until its end or until the connection breaks."""

    def __init__(self, connection: Connection) -> None:
        """Take over a connection on which `shell,v2` was accepted."""
        self._connection, self._socket = connection, connection.conn
        self._texts = {_STDOUT: bytearray(), _STDERR: bytearray()}
        self._code: int | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._read, daemon=True, name="adb-shell")
        self._thread.start()

    @property
    def code(self) -> int | None:
        """The exit code; None: none has come."""
        return self._code

    @property
    def ended(self) -> bool:
        """True once nothing more comes. Without an exit code the connection broke."""
        return self._ended

    def stdout(self) -> str:
        """Return what came on stdout so far."""
        return self._text(_STDOUT)

    def stderr(self) -> str:
        """Return what came on stderr so far."""
        return self._text(_STDERR)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end; return whether it came."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended, timeout_s)

    def wait_more(self, seen: int, timeout_s: float) -> int:
        """Wait until more than `seen` bytes have come, or the end; return how many there are."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._count() > seen, timeout_s)
            return self._count()

    def send(self, data: bytes) -> None:
        """Write to its stdin; a broken connection shows at the reading end."""
        with contextlib.suppress(OSError):
            self._socket.sendall(_HEAD.pack(_STDIN, len(data)) + data)

    def forget(self) -> None:
        """Drop what came so far."""
        with self._changed:
            for text in self._texts.values():
                text.clear()

    def close(self) -> None:
        """Let go of the connection; what came stays. Harmless twice."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the reader
        self._thread.join(2.0)
        self._connection.close()

    def _count(self) -> int:
        return sum(len(text) for text in self._texts.values())

    def _text(self, which: int) -> str:
        with self._changed:
            return self._texts[which].decode("utf-8", errors="replace")

    def _read(self) -> None:
        data = b""
        try:
            while part := self._socket.recv(_CHUNK):
                data = self._take(data + part)
        except OSError:
            pass  # a broken connection and its end are the same to us
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self, data: bytes) -> bytes:
        """Use the whole packets at the start of `data`; return the rest."""
        while len(data) >= _HEAD.size:
            which, size = _HEAD.unpack_from(data)
            end = _HEAD.size + size
            if len(data) < end:
                break
            with self._changed:
                if which in self._texts:
                    self._texts[which] += data[_HEAD.size : end]
                elif which == _EXIT and size:
                    self._code = data[_HEAD.size]
                    self._ended = True
                self._changed.notify_all()
            data = data[end:]
        return data
