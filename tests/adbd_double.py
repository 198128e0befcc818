"""An adb daemon on 127.0.0.1 that a real adb server connects to, in place of a phone's.

It speaks the transport protocol (CNXN, AUTH, OPEN, OKAY, WRTE, CLSE) and the services `shell,v2:`,
`shell:`, `exec:`, `sync:` (STAT, SEND, RECV) and `tcp:PORT`. Commands run for real, in a shell of
this computer whose PATH begins with `folder/bin`; `/data/local/tmp` is a folder below `folder`.

Sources: AOSP packages/modules/adb, protocol.txt, SYNC.TXT, SERVICES.TXT and shell_protocol.h.
"""

import asyncio
import contextlib
import os
import signal
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

HOME = "/data/local/tmp"
_VERSION, _MOST = 0x0100_0000, 1 << 18
_TOKEN, _PUBLIC_KEY = 1, 3
_CHUNK = 1 << 15
Result = TypeVar("Result")


@dataclass
class Phone:
    """What the daemon says and does. authorised: False asks its owner, who never answers."""

    folder: Path
    model: str = "SM-S911B"
    features: str = "shell_v2,cmd"
    authorised: bool = True
    free_bytes: int = 1 << 40  # what `sync:` accepts before it says that the disk is full
    shell: tuple[str, ...] = ("mksh", "-c")
    running: list[asyncio.subprocess.Process] = field(default_factory=list)

    def path(self, remote: str) -> Path:
        """Where a path of the phone lies here."""
        if remote == HOME or remote.startswith(f"{HOME}/"):
            return self.folder / remote.lstrip("/")
        return Path(remote)


class Adbd:
    """The daemon, in a thread of its own."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = self._run(self._listen(0))
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    def vanish(self) -> None:
        """Unplug the phone: the link breaks at once, and what it ran is of no more account."""
        self._run(self._break())
        for process in self.phone.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def come_back(self) -> None:
        """Plug the phone in again."""
        self._server = self._run(self._listen(self.port))

    def close(self) -> None:
        self.vanish()
        self._run(self._reap())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._connection, "127.0.0.1", port)

    async def _break(self) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports that were closed end in the next round

    async def _reap(self) -> None:
        for process in self.phone.running:
            await process.wait()
        await asyncio.sleep(0.05)  # the ends of their pipes are seen

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        link = Link(self.phone, writer)
        try:
            await link.serve(reader)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            link.end()
            writer.transport.abort()
            self._tasks.discard(task)


class Link:
    """One connection of an adb server."""

    def __init__(self, phone: Phone, writer: asyncio.StreamWriter) -> None:
        self.phone = phone
        self._writer = writer
        self._streams: dict[int, Stream] = {}
        self._next = 1

    async def serve(self, reader: asyncio.StreamReader) -> None:
        while True:
            word, first, second, size, _, _ = struct.unpack("<6I", await reader.readexactly(24))
            data = await reader.readexactly(size)
            match word.to_bytes(4, "little"):
                case b"CNXN" if self.phone.authorised:
                    self._greet()
                case b"CNXN" | b"AUTH" if first != _PUBLIC_KEY:
                    self.send(b"AUTH", _TOKEN, 0, bytes(range(20)))
                case b"OPEN":
                    self._open(first, data.rstrip(b"\0").decode())
                case b"OKAY" if second in self._streams:
                    self._streams[second].acknowledged.set()
                case b"WRTE" if second in self._streams:
                    self._streams[second].arrived.put_nowait(data)
                case b"CLSE" if second in self._streams:
                    self._streams.pop(second).cancel()

    def send(self, word: bytes, first: int, second: int, data: bytes = b"") -> None:
        number = int.from_bytes(word, "little")
        head = (number, first, second, len(data), sum(data) & 0xFFFF_FFFF, number ^ 0xFFFF_FFFF)
        self._writer.write(struct.pack("<6I", *head) + data)

    def end(self) -> None:
        for stream in self._streams.values():
            stream.cancel()
        self._streams.clear()

    def close(self, stream: "Stream") -> None:
        """The service has ended."""
        if self._streams.pop(stream.here, None) is not None:
            self.send(b"CLSE", stream.here, stream.there)

    def _greet(self) -> None:
        model = self.phone.model
        banner = f"device::ro.product.name=x;ro.product.model={model};ro.product.device=x"
        self.send(b"CNXN", _VERSION, _MOST, f"{banner};features={self.phone.features}\0".encode())

    def _open(self, there: int, service: str) -> None:
        work = service_of(self.phone, service)
        if work is None:
            self.send(b"CLSE", 0, there)
            return
        stream = Stream(self, self._next, there)
        self._streams[self._next] = stream
        self._next += 1
        self.send(b"OKAY", stream.here, there)
        stream.start(work)


class Stream:
    """One open service: bytes both ways, each packet acknowledged before the next."""

    def __init__(self, link: Link, here: int, there: int) -> None:
        self.here, self.there = here, there
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self.acknowledged = asyncio.Event()
        self._link = link
        self._rest = b""
        self._sending = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self, work: Callable[["Stream"], Awaitable[None]]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._serve(work))

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def read(self) -> bytes:
        """Return what came next."""
        data = await self.arrived.get()
        self._link.send(b"OKAY", self.here, self.there)
        return data

    async def read_exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            self._rest += await self.read()
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    async def write(self, data: bytes) -> None:
        async with self._sending:
            for at in range(0, len(data), _CHUNK):
                self.acknowledged.clear()
                self._link.send(b"WRTE", self.here, self.there, data[at : at + _CHUNK])
                await self.acknowledged.wait()

    async def _serve(self, work: Callable[["Stream"], Awaitable[None]]) -> None:
        with contextlib.suppress(ConnectionError):
            await work(self)
        self._link.close(self)


def service_of(phone: Phone, name: str) -> Callable[[Stream], Awaitable[None]] | None:
    kind, _, rest = name.partition(":")
    match kind.split(",")[0]:
        case "shell" if "v2" in kind.split(","):
            return lambda stream: _shell(phone, stream, rest)
        case "shell" | "exec":
            return lambda stream: _plain(phone, stream, rest)
        case "sync":
            return lambda stream: _sync(phone, stream)
        case "tcp":
            return lambda stream: _tcp(stream, int(rest))
    return None


async def _process(phone: Phone, command: str) -> asyncio.subprocess.Process:
    # as a phone: a session of its own for each command
    made = await asyncio.create_subprocess_exec(
        *phone.shell,
        command.replace(HOME, str(phone.path(HOME))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=phone.folder,
        env={"PATH": f"{phone.folder / 'bin'}:{os.environ['PATH']}", "HOME": "/"},
        start_new_session=True,
    )
    phone.running.append(made)
    return made


async def _shell(phone: Phone, stream: Stream, command: str) -> None:
    process = await _process(phone, command)
    assert process.stdout is not None and process.stderr is not None

    async def copy(which: int, source: asyncio.StreamReader) -> None:
        while data := await source.read(_CHUNK - 5):
            await stream.write(struct.pack("<BI", which, len(data)) + data)

    taking = asyncio.get_running_loop().create_task(_stdin(stream, process))
    try:
        await asyncio.gather(copy(1, process.stdout), copy(2, process.stderr))
        code = await process.wait()
    except asyncio.CancelledError:
        # whoever asked for it is gone: so does a phone's daemon end it
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGHUP)
        raise
    finally:
        taking.cancel()
    phone.running.remove(process)
    # a program that a signal ended: 128 and its number, as the shell says
    await stream.write(struct.pack("<BIB", 3, 1, code if code >= 0 else 128 - code))


async def _stdin(stream: Stream, process: asyncio.subprocess.Process) -> None:
    """Hand packets of stdin (0) to a command until its end (4)."""
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):
        while True:
            which, size = struct.unpack("<BI", await stream.read_exactly(5))
            data = await stream.read_exactly(size)
            if which == 4:
                process.stdin.close()
            elif which == 0:
                process.stdin.write(data)
                await process.stdin.drain()


async def _plain(phone: Phone, stream: Stream, command: str) -> None:
    process = await _process(phone, command)
    out, errors = await process.communicate()
    phone.running.remove(process)
    await stream.write(out + errors)


async def _tcp(stream: Stream, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def up() -> None:
        while True:
            writer.write(await stream.read())
            await writer.drain()

    upward = asyncio.get_running_loop().create_task(up())
    try:
        while data := await reader.read(_CHUNK):
            await stream.write(data)
    finally:
        upward.cancel()
        writer.close()


async def _sync(phone: Phone, stream: Stream) -> None:
    while True:
        head = await stream.read_exactly(8)
        word, size = head[:4], struct.unpack("<I", head[4:])[0]
        name = (await stream.read_exactly(size)).decode()
        match word:
            case b"STAT":
                await stream.write(b"STAT" + _stat(phone.path(name)))
            case b"RECV":
                await _give(phone.path(name), stream)
            case b"SEND":
                path, _, mode = name.rpartition(",")
                await _take(phone, phone.path(path), int(mode), stream)
            case _:
                return


def _stat(path: Path) -> bytes:
    try:
        facts = path.stat()
    except OSError:
        return bytes(12)
    return struct.pack("<3I", facts.st_mode, facts.st_size, int(facts.st_mtime))


async def _give(path: Path, stream: Stream) -> None:
    try:
        data = path.read_bytes()
    except OSError as error:
        await _refuse(stream, f"open failed: {error.strerror}")
        return
    for at in range(0, len(data), _CHUNK):
        part = data[at : at + _CHUNK]
        await stream.write(struct.pack("<4sI", b"DATA", len(part)) + part)
    await stream.write(struct.pack("<4sI", b"DONE", 0))


async def _take(phone: Phone, path: Path, mode: int, stream: Stream) -> None:
    parts, problem, size = [], None, 0
    while True:
        word, number = struct.unpack("<4sI", await stream.read_exactly(8))
        if word == b"DONE":
            break
        parts.append(await stream.read_exactly(number))
        size += number
    if size > phone.free_bytes:
        problem = "write failed: No space left on device"
    else:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(parts))
            path.chmod(mode & 0o777)
            phone.free_bytes -= size
        except OSError as error:
            problem = f"couldn't create file: {error.strerror}"
    if problem is None:
        await stream.write(struct.pack("<4sI", b"OKAY", 0))
    else:
        await _refuse(stream, problem)


async def _refuse(stream: Stream, reason: str) -> None:
    await stream.write(struct.pack("<4sI", b"FAIL", len(reason)) + reason.encode())
