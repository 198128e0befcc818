"""What a linked firmware takes of flash and RAM, read from the ELF itself."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section, SymbolTableSection

from codegen.board import Board
from tinyengine.errors import BudgetError

_LARGEST_COUNT = 5


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes that a program takes before it runs; the same sums as binutils' `size`."""

    flash_bytes: int  # code, constants and the initial values of .data
    ram_static_bytes: int  # .data and .bss; the stack's room is no section


def read_sizes(elf: Path) -> Sizes:
    """Add up the sections of a linked program that are loaded."""
    flash = static = 0
    with elf.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            flags = section["sh_flags"]
            if not flags & SH_FLAGS.SHF_ALLOC:
                continue
            if section["sh_type"] != "SHT_NOBITS":
                flash += section["sh_size"]
            if flags & SH_FLAGS.SHF_WRITE:
                static += section["sh_size"]
    return Sizes(flash, static)


def check_budget(sizes: Sizes, stack_bytes: int, objects: Sequence[Path], board: Board) -> None:
    """Refuse a program whose static data and worst-case stack exceed the board's RAM.

    Raises:
        BudgetError: with the five largest objects in RAM.
    """
    limit = board.ram_usable_bytes
    total = sizes.ram_static_bytes + stack_bytes
    if limit is None or total <= limit:
        return
    raise BudgetError(
        f"the program needs {total} B of RAM ({sizes.ram_static_bytes} B static data + "
        f"{stack_bytes} B worst-case stack), {total - limit} B more than the {limit} B of board "
        f"'{board.name}'; {_largest(objects)}; train fewer layers or lower their ratios"
    )


def overflow_error(message: str, objects: Sequence[Path], board: Board) -> BudgetError | None:
    """Return the error for a linker's message that a region overflowed, None for any other."""
    found = re.search(r"region `(RAM|FLASH)' overflowed by (\d+) bytes", message)
    if found is None or board.memory is None:
        return None
    excess = int(found[2])
    if found[1] == "FLASH":
        limit = board.memory.flash_bytes
        return BudgetError(
            f"the program needs {limit + excess} B of flash, {excess} B more than the {limit} B "
            f"of board '{board.name}'; take a smaller model or another board"
        )
    limit = board.memory.ram_usable_bytes
    return BudgetError(
        f"the program needs {limit + excess} B of RAM for static data alone, {excess} B more than "
        f"the {limit} B of board '{board.name}'; {_largest(objects)}; "
        "train fewer layers or lower their ratios"
    )


def _largest(objects: Sequence[Path]) -> str:
    """Describe the largest data objects in RAM: `largest: 'arena' 4096 B, 'w' 12 B`."""
    sizes = [item for path in objects for item in _ram_symbols(path)]
    top = sorted(sizes, key=lambda item: (-item[1], item[0]))[:_LARGEST_COUNT]
    return "largest: " + ", ".join(f"'{name}' {size} B" for name, size in top)


def _ram_symbols(path: Path) -> list[tuple[str, int]]:
    with path.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            return []
        writable = {
            index for index, section in enumerate(elf.iter_sections()) if _is_writable(section)
        }
        return [
            (symbol.name, symbol["st_size"])
            for symbol in table.iter_symbols()
            if symbol["st_info"]["type"] == "STT_OBJECT" and symbol["st_shndx"] in writable
        ]


def _is_writable(section: Section) -> bool:
    wanted = SH_FLAGS.SHF_ALLOC | SH_FLAGS.SHF_WRITE
    return bool(section["sh_flags"] & wanted == wanted)
