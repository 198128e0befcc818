"""Instruction counts at the firmware's marks, as the QEMU plug-in writes them."""

import mmap
import struct
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tinyengine.errors import DeviceError

_WORD = struct.Struct("=Q")
_HEAD_WORDS = 4
_MARK = "te_mark"


class InstructionCounter:
    """Reads the ring that `firmware/tools/te_count_plugin.c` fills."""

    def __init__(self, path: Path) -> None:
        """Map the plug-in's file, which exists once QEMU runs."""
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._seen = 0

    def read(self) -> list[int]:
        """Return the instructions executed since the start, at each mark since the last call.

        The marks of a command are here before its answer is. Differences of neighbours are what
        one node took (with the mark's own few instructions); last minus first is the whole.

        Raises:
            DeviceError: more marks have passed than the ring holds.
        """
        count, capacity = self._word(0), self._word(1)
        if count - self._seen > capacity:
            raise DeviceError(
                f"{count - self._seen} marks since the last reading, the counter holds {capacity}"
            )
        values = [self._word(_HEAD_WORDS + at % capacity) for at in range(self._seen, count)]
        self._seen = count
        return values

    def lowest_stack_address(self) -> int | None:
        """Return the lowest stack address stored to, None when that is not watched."""
        return self._word(2) or None

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()

    def _word(self, index: int) -> int:
        value: int = _WORD.unpack_from(self._map, index * _WORD.size)[0]
        return value


def mark_address(elf: Path) -> int | None:
    """Return the address of te_mark in a firmware, None if it has no such function."""
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        found = table.get_symbol_by_name(_MARK) if isinstance(table, SymbolTableSection) else None
        return int(found[0]["st_value"]) if found else None
