"""HTTP/1.1 requests whose answers are read as they arrive, cheaply.

The standard library's connection: a general client's layers cost some 0.3 ms of processor time per
streamed token here, which a one-core machine under test would pay. One connection per request,
opened before its clock starts: servers that close theirs after a stream then do no harm.
"""

import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tinyengine.errors import UserError

# what a server, or what lies before it, may do wrong
FAILURES = (OSError, http.client.HTTPException)
_READ_BYTES = 1 << 16


class Link:
    """An open connection, for one request."""

    def __init__(self, connection: http.client.HTTPConnection, prefix: str) -> None:
        """Take a connection that is open."""
        self._connection, self._prefix = connection, prefix

    def ask(self, method: str, path: str, body: object = None) -> http.client.HTTPResponse:
        """Send a request, `body` as JSON (None: none); return the answer, its body unread."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        self._connection.request(method, self._prefix + path, data, headers)
        return self._connection.getresponse()


class Http:
    """One server. Any number of threads may ask at a time."""

    def __init__(self, base: str) -> None:
        """Name the server, "http://HOST:PORT/PREFIX"; nothing is connected yet.

        Raises:
            UserError: no such address can be.
        """
        parts = urlsplit(base)
        try:
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise UserError(f"'{base}' is no address of a server: {error}") from error
        if parts.scheme not in ("http", "https") or host is None:
            raise UserError(f"'{base}' is no address of a server; for instance http://host:8080")
        self._host, self._port, self._prefix = host, port, parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None

    @contextmanager
    def link(self, timeout_s: float) -> Iterator[Link]:
        """Have an open connection while the block runs; no wait in it outlasts `timeout_s`.

        It, and what is asked in it, raises any of FAILURES; TimeoutError is one of them.
        """
        connection = self._connection(timeout_s)
        try:
            connection.connect()
            yield Link(connection, self._prefix)
        finally:
            connection.close()

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=timeout_s, context=self._tls
        )


def lines(
    answer: http.client.HTTPResponse, longest_bytes: int, before_read: Callable[[], None]
) -> Iterator[bytes]:
    """Yield an answer's lines as they arrive, without their ends; the last may lack its end.

    Raises:
        ValueError: a line is longer than `longest_bytes`.
    """
    held = b""
    while True:
        before_read()
        if not (data := answer.read1(_READ_BYTES)):
            break
        held += data
        *whole, held = held.split(b"\n")
        yield from whole
        if len(held) > longest_bytes:
            raise ValueError(f"a line of more than {longest_bytes:,} bytes")
    if held:
        yield held
