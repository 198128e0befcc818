"""Reads who calls whom, and the frame of each function, from three sources.

- the compiler's `.ci` file beside each object (`-fcallgraph-info=su`): our own functions;
- the relocations of each object: functions whose address is taken;
- the disassembly of the linked program: library functions, and calls hidden in assembly.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import Relocation, RelocationSection
from elftools.elf.sections import Section, Symbol, SymbolTableSection

from codegen.toolchain import run_tool
from tinyengine.errors import InternalError

INDIRECT = "__indirect_call"


@dataclass(slots=True)
class Function:
    """One function: its frame in bytes (None: grows at run time) and the names that it calls."""

    name: str
    frame_bytes: int | None = 0
    calls: set[str] = field(default_factory=set)
    is_indirect: bool = False  # it calls through a pointer


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """What one object tells: its functions, which are visible outside, whose address it takes."""

    functions: dict[str, Function]
    strong: frozenset[str]
    weak: frozenset[str]
    taken: frozenset[str]


_NODE = re.compile(r'^node: \{ title: "([^"]*)" label: "([^"]*)"')
_EDGE = re.compile(r'^edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"')
_FRAME = re.compile(r"(\d+) bytes \(([a-z,]+)\)")


def read_object(path: Path) -> ObjectFile:
    """Read an object and the `.ci` file beside it."""
    functions = _read_ci(path.with_suffix(".ci").read_text(encoding="utf-8"))
    with path.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            raise InternalError(f"'{path}' has no symbols")
        symbols = list(table.iter_symbols())
        defined = [s for s in symbols if _is_function(s) and s["st_shndx"] != "SHN_UNDEF"]
        return ObjectFile(
            functions,
            frozenset(s.name for s in defined if s["st_info"]["bind"] == "STB_GLOBAL"),
            frozenset(s.name for s in defined if s["st_info"]["bind"] == "STB_WEAK"),
            frozenset(_taken(elf, symbols)),
        )


def _read_ci(text: str) -> dict[str, Function]:
    """Read a VCG graph: `node: { title: "a.c:f" label: "f\\na.c:1:5\\n8 bytes (static)" }`."""
    functions: dict[str, Function] = {}
    for line in text.splitlines():
        if node := _NODE.match(line):
            frame = _FRAME.search(node[2])
            if frame is not None:
                name = _bare(node[1])
                grows = frame[2] == "dynamic"
                functions[name] = Function(name, None if grows else int(frame[1]))
    for line in text.splitlines():
        if (edge := _EDGE.match(line)) and (source := functions.get(_bare(edge[1]))):
            if edge[2] == INDIRECT:
                source.is_indirect = True
            else:
                source.calls.add(_bare(edge[2]))
    return functions


def _bare(title: str) -> str:
    """Return `f` for a static or weak function's title `src/a.c:f`."""
    return title.rpartition(":")[2]


# relocations of plain calls and jumps, which take no address
_CALLS = {
    "EM_X86_64": {4},  # PLT32
    "EM_ARM": {10, 30, 51, 102, 103},  # THM_CALL, THM_JUMP24, THM_JUMP19, THM_JUMP11, THM_JUMP8
    "EM_AARCH64": {280, 282, 283},  # CONDBR19, JUMP26, CALL26
}
_X86_PC32 = 2
_SECTION = re.compile(r"^\.(rodata|text(\.(startup|unlikely|hot|exit)(?=\.))?)")
# the vector table's handlers are roots of their own, not what a pointer may reach
_IGNORED = (".debug", ".eh_frame", ".ARM.ex", ".vectors")


def _taken(elf: ELFFile, symbols: list[Symbol]) -> Iterator[str]:
    """Yield the functions whose address is taken; names without a definition here included."""
    by_section: dict[int, list[str]] = {}
    for symbol in symbols:
        if _is_function(symbol) and isinstance(symbol["st_shndx"], int):
            by_section.setdefault(symbol["st_shndx"], []).append(symbol.name)
    for section in elf.iter_sections():
        if not isinstance(section, RelocationSection):
            continue
        place = elf.get_section(section["sh_info"])
        if place.name.startswith(_IGNORED):
            continue
        for relocation in section.iter_relocations():
            symbol = symbols[relocation["r_info_sym"]]
            if _is_call(elf["e_machine"], place, relocation):
                continue
            if symbol["st_info"]["type"] != "STT_SECTION":
                yield symbol.name
            # a switch's table points into its own function: not a call of it
            elif not _serves(place.name, elf.get_section(symbol["st_shndx"]).name):
                yield from by_section.get(symbol["st_shndx"], ())


def _is_call(machine: str, place: Section, relocation: Relocation) -> bool:
    kind = relocation["r_info_type"]
    if kind in _CALLS.get(machine, ()):
        return True
    if machine != "EM_X86_64" or kind != _X86_PC32:
        return False
    # calls of static functions look like any other distance: the instruction tells (E8, E9, 0F 8x)
    at = relocation["r_offset"]
    before = place.data()[max(at - 2, 0) : at]
    return before[-1:] in (b"\xe8", b"\xe9") or (before[:1] == b"\x0f" and before[1] >> 4 == 8)


def _serves(place: str, code: str) -> bool:
    """True for a function's own code and constants: `.text.f`, `.rodata.f` beside `.text.f`."""
    owners = {_SECTION.sub("", name) for name in (place, code)}
    return len(owners) == 1 and owners != {""}


def _is_function(symbol: Symbol) -> bool:
    return bool(symbol["st_info"]["type"] == "STT_FUNC")


_HEAD = re.compile(r"^[0-9a-f]+ <([^>]+)>:$")
_CODE = re.compile(r"^\s*[0-9a-f]+:\s+(\S+)\s*(.*)$")
_TARGET = re.compile(r"[0-9a-f]+ <([^>+]+)(?:\+0x[0-9a-f]+)?>")
_REGISTER = re.compile(r"^(r\d+|ip|sl|fp)\b")
_BRANCH = re.compile(r"^(bl|b|blx|cbz|cbnz|b[a-z]{2})(\.[nw])?$")


def disassemble(elf: Path, objdump: Path) -> dict[str, Function]:
    """Read every function of a linked Arm program: frame (never too small) and direct calls."""
    answer = run_tool(
        [str(objdump), "-d", "--no-show-raw-insn", str(elf)],
        timeout_s=120,
    )
    if answer.returncode:
        raise InternalError(f"'{objdump}' cannot read '{elf}': {answer.stderr.strip()}")
    functions: dict[str, Function] = {}
    current = Function("")
    for line in answer.stdout.splitlines():
        if head := _HEAD.match(line):
            # the compiler's split-off cold half runs on its function's frame
            name = head[1].removesuffix(".cold")
            current = functions.setdefault(name, Function(name))
        elif code := _CODE.match(line):
            _read_instruction(current, code[1], code[2])
    return functions


def _read_instruction(function: Function, mnemonic: str, operands: str) -> None:
    pushed = pushed_bytes(mnemonic, operands)
    if pushed is None or function.frame_bytes is None:
        function.frame_bytes = None
    else:
        function.frame_bytes += pushed
    if mnemonic in ("bx", "blx") and _REGISTER.match(operands):
        function.is_indirect = True
    elif _BRANCH.match(mnemonic) and (target := _TARGET.search(operands)):
        name = target[1].removesuffix(".cold")
        if name != function.name:
            function.calls.add(name)


_LISTS = re.compile(r"^(v?push|v?stmdb|vstmdb[a-z.]*|stmfd)(\.[nw])?$")
_STORE = re.compile(r"\[sp, #-(\d+)\]!")
_SUBTRACT = re.compile(r"^sp, (?:sp, )?#(\d+)")


def pushed_bytes(mnemonic: str, operands: str) -> int | None:
    """Return by how many bytes one Thumb instruction lowers sp; None when only run time tells."""
    plain = mnemonic.removesuffix(".w").removesuffix(".n")
    if _LISTS.match(mnemonic) and ("push" in plain or operands.startswith("sp!")):
        return _list_bytes(operands)
    if store := _STORE.search(operands):
        return int(store[1])
    if plain in ("sub", "subw", "subs") and operands.startswith("sp,"):
        amount = _SUBTRACT.match(operands)
        return int(amount[1]) if amount else None
    return 0


def _list_bytes(operands: str) -> int:
    """Return the size of a register list: `{r4, r5, lr}` is 12 bytes, `{d8-d10}` 24."""
    total = 0
    for item in operands.partition("{")[2].rstrip("}").split(","):
        first, _, last = item.strip().partition("-")
        count = int(last[1:]) - int(first[1:]) + 1 if last else 1
        total += count * (8 if first.startswith("d") else 4)
    return total
