"""A link's bytes, through pyserial: `/dev/ttyACM0`, `/dev/pts/3`, `socket://127.0.0.1:PORT`."""

import io
import os
import select
import socket
import time
from collections import deque
from typing import Any, Protocol

import serial

from tinyengine.errors import DeviceError

_READ_BYTES = 4096
_TAIL_BYTES = 48
_POLL_S = 0.001
_DEFAULT_BAUD = 115200

# slowest emulated UART: 25 KB/s; a spurious repeat costs more than a late one
_SOCKET_SECONDS_PER_BYTE = 40e-6


class Transport(Protocol):
    """Where bytes come from and go to."""

    name: str
    seconds_per_byte: float  # a cautious guess of what one byte takes

    def write(self, data: bytes) -> None:
        """Send all of `data`."""

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived; wait up to `timeout_s` for the first byte, then b""."""

    def tail(self) -> str:
        """Return the last bytes received, for an error message."""

    def close(self) -> None:
        """Let go of the port."""


class SerialTransport:
    """A pyserial port that never blocks longer than it is told to."""

    def __init__(self, url: str, baud: int | None = None) -> None:
        """Open `url`.

        Raises:
            DeviceError: no such port, it is in use, or nobody listens there.
        """
        self.name = url
        try:
            self._port: Any = serial.serial_for_url(url, baudrate=baud or _DEFAULT_BAUD, timeout=0)
        except (serial.SerialException, OSError, ValueError) as error:
            raise DeviceError(
                f"no device at '{url}': {error}; check the cable and the port's name "
                "('python -m serial.tools.list_ports' lists what is connected)"
            ) from error
        self._fileno = _fileno(self._port)
        self.seconds_per_byte = _SOCKET_SECONDS_PER_BYTE
        if url.startswith("socket://"):
            _send_at_once(self._fileno)
        else:
            self.seconds_per_byte = max(20.0 / (baud or _DEFAULT_BAUD), _SOCKET_SECONDS_PER_BYTE)
        self._last: deque[int] = deque(maxlen=_TAIL_BYTES)

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        try:
            self._port.write(data)
        except (serial.SerialException, OSError) as error:
            raise DeviceError(f"the link '{self.name}' broke while sending: {error}") from error

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived; wait up to `timeout_s` for the first byte, then b""."""
        try:
            if self._fileno is None:
                data = self._read_polling(timeout_s)
            else:
                select.select([self._fileno], [], [], max(timeout_s, 0.0))
                data = bytes(self._port.read(_READ_BYTES))
        except (serial.SerialException, OSError) as error:
            raise DeviceError(
                f"the device closed the link '{self.name}' ({error}); last bytes: {self.tail()}"
            ) from error
        self._last.extend(data)
        return data

    def _read_polling(self, timeout_s: float) -> bytes:
        end = time.monotonic() + timeout_s
        while True:
            data = bytes(self._port.read(_READ_BYTES))
            if data or time.monotonic() >= end:
                return data
            time.sleep(_POLL_S)

    def tail(self) -> str:
        """Return the last bytes received, for an error message."""
        return describe_bytes(bytes(self._last))

    def close(self) -> None:
        """Let go of the port."""
        # pyserial forgets to close a socket whose other end is gone, and always sleeps 0.3 s
        socket_behind = getattr(self._port, "_socket", None)
        if socket_behind is None:
            self._port.close()
        else:
            socket_behind.close()
            self._port.is_open = False


def describe_bytes(data: bytes) -> str:
    """Return bytes as a person reads them: text where it is text, else hexadecimal."""
    if not data:
        return "none"
    text = data.decode("ascii", errors="replace")
    if all(char.isprintable() or char in "\r\n\t" for char in text) and "\ufffd" not in text:
        return repr(text)
    return data.hex(" ")


def _fileno(port: Any) -> int | None:
    try:
        return int(port.fileno())
    except (AttributeError, io.UnsupportedOperation, OSError):
        return None


def _send_at_once(fileno: int | None) -> None:
    """Switch Nagle's algorithm off: a repeat must not wait for the lost frame's acknowledgement."""
    if fileno is not None:
        with socket.socket(fileno=os.dup(fileno)) as view:
            view.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
