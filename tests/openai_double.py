"""A server with known delays that speaks the OpenAI-compatible streaming API.

Run as `python -m tests.openai_double ...`: prints `listening HOST:PORT`. It works on `slots`
requests at a time; others wait in order. Tokens leave by an absolute schedule, so a late one does
not delay those behind it.
"""

import argparse
import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Delays:
    """Seconds from the start of a request's service to its first token, and between tokens."""

    first_s: float = 0.1
    gaps_s: tuple[float, ...] = (0.02,)  # repeated in a cycle
    slots: int = 1
    break_after: int | None = None  # close the connection after so many tokens
    status: int = 200


class Double:
    """The server."""

    def __init__(self, delays: Delays, mark: Path | None = None) -> None:
        """`mark` is a file that appears with the first token."""
        self.delays = delays
        self._mark = mark
        self.requests: list[dict[str, object]] = []
        self._free = asyncio.Semaphore(delays.slots)

    async def serve(self, port: int = 0) -> asyncio.Server:
        return await asyncio.start_server(self._connection, "127.0.0.1", port)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").split("\r\n")
                fields = dict(line.split(": ", 1) for line in lines if ": " in line)
                length = int({k.lower(): v for k, v in fields.items()}.get("content-length", "0"))
                body = await reader.readexactly(length)
                method, path, _ = first.split(" ")
                if method == "GET":
                    _answer(writer, 200, {"status": "ok"})
                elif not await self._stream(path, json.loads(body), writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _stream(
        self, path: str, body: dict[str, object], writer: asyncio.StreamWriter
    ) -> bool:
        self.requests.append(body)
        if self.delays.status != 200:
            _answer(writer, self.delays.status, {"error": {"message": "model is asleep"}})
            return True
        async with self._free:
            return await self._tokens("chat" in path, int(str(body["max_tokens"])), writer)

    async def _tokens(self, chat: bool, count: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        loop = asyncio.get_running_loop()
        due = loop.time() + self.delays.first_s
        for index in range(count):
            if index == self.delays.break_after:
                return False
            await asyncio.sleep(max(0.0, due - loop.time()))
            text = f"t{index} "
            choice = {"delta": {"content": text}} if chat else {"text": text}
            _event(writer, {"choices": [choice]})
            await writer.drain()
            if self._mark is not None:
                self._mark.touch()
            due += self.delays.gaps_s[index % len(self.delays.gaps_s)]
        usage = {"prompt_tokens": 7, "completion_tokens": count}
        _event(writer, {"choices": [], "usage": usage})
        _chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def _answer(writer: asyncio.StreamWriter, status: int, value: object) -> None:
    data = json.dumps(value).encode()
    writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)


def _event(writer: asyncio.StreamWriter, value: object) -> None:
    _chunk(writer, f"data: {json.dumps(value)}\n\n".encode())


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def _main(delays: Delays, port: int, mark: Path | None) -> None:
    server = await Double(delays, mark).serve(port)
    host, port = server.sockets[0].getsockname()
    sys.stdout.write(f"listening {host}:{port}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--first-s", type=float, default=0.1)
    parser.add_argument("--gaps-s", type=float, nargs="+", default=[0.02])
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tag")  # for whoever looks for the process
    parser.add_argument("--mark", type=Path)
    given = parser.parse_args()
    asked = Delays(given.first_s, tuple(given.gaps_s), given.slots)
    try:
        asyncio.run(_main(asked, given.port, given.mark))
    except KeyboardInterrupt:
        sys.exit(0)
