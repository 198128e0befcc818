"""Apple's file conduit (AFC) over a folder: the server's side, what the tests need of it.

A packet is "CFA6LPAA", its whole length, the length of its head, a number and an operation (64 bits
each, little-endian), and data. Source: libimobiledevice, afc.h.
"""

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_HEAD = struct.Struct("<8s4Q")
_MAGIC = b"CFA6LPAA"
_STATUS, _DATA, _OPENED = 1, 2, 14
_OK, _NOT_FOUND, _NO_SPACE, _UNSUPPORTED = 0, 8, 18, 15
_MODES = {1: "rb", 3: "wb"}


class Problem(Exception):  # noqa: N818 - a status of the protocol
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Conduit:
    """One connection."""

    def __init__(self, root: Path, free_bytes: Callable[[], int]) -> None:
        self._root, self._free_bytes = root, free_bytes
        self._files: dict[int, BinaryIO] = {}

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def answer(self, operation: int, data: bytes) -> tuple[int, bytes]:
        """Return operation and data of the answer."""
        names = [part.decode(errors="replace") for part in data.split(b"\0")]
        match operation:
            case 8:
                self._path(names[0]).unlink(missing_ok=True)
            case 9:
                self._path(names[0]).mkdir(parents=True, exist_ok=True)
            case 10:
                return _DATA, self._facts(self._path(names[0]))
            case 11:
                pairs = {"Model": "iPhone15,2", "FSFreeBytes": self._free_bytes()}
                return _DATA, _pairs(pairs)
            case 13:
                return _OPENED, struct.pack("<Q", self._open(data))
            case 15:
                handle, size = struct.unpack("<2Q", data)
                return _DATA, self._files[handle].read(size)
            case 16:
                if len(data) - 8 > self._free_bytes():
                    raise Problem(_NO_SPACE)
                self._files[struct.unpack("<Q", data[:8])[0]].write(data[8:])
            case 20:
                self._files.pop(struct.unpack("<Q", data)[0]).close()
            case 24:
                self._path(names[0]).rename(self._path(names[1]))
            case _:
                raise Problem(_UNSUPPORTED)
        return _STATUS, struct.pack("<Q", _OK)

    def _path(self, name: str) -> Path:
        return self._root / name.lstrip("/")

    def _open(self, data: bytes) -> int:
        mode = struct.unpack("<Q", data[:8])[0]
        handle = len(self._files) + 1
        self._files[handle] = self._path(data[8:].split(b"\0")[0].decode()).open(_MODES[mode])
        return handle

    def _facts(self, path: Path) -> bytes:
        facts = path.stat()
        kind = "S_IFDIR" if path.is_dir() else "S_IFREG"
        times = {"st_mtime": facts.st_mtime_ns, "st_birthtime": facts.st_mtime_ns}
        counts = {"st_size": facts.st_size, "st_blocks": facts.st_blocks, "st_nlink": 1}
        return _pairs({**counts, "st_ifmt": kind, **times})


def _pairs(values: dict[str, object]) -> bytes:
    return b"".join(f"{key}\0{value}\0".encode() for key, value in values.items())


async def serve_afc(
    root: Path,
    free_bytes: Callable[[], int],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Serve one connection until it ends."""
    conduit = Conduit(root, free_bytes)
    try:
        while True:
            _, whole, _, number, operation = _HEAD.unpack(await reader.readexactly(_HEAD.size))
            data = await reader.readexactly(whole - _HEAD.size)
            try:
                kind, told = conduit.answer(operation, data)
            except FileNotFoundError:
                kind, told = _STATUS, struct.pack("<Q", _NOT_FOUND)
            except Problem as problem:
                kind, told = _STATUS, struct.pack("<Q", problem.status)
            size = _HEAD.size + len(told)
            writer.write(_HEAD.pack(_MAGIC, size, size, number, kind) + told)
            await writer.drain()
    finally:
        conduit.close()
