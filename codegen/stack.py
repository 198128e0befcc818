"""Worst-case stack of a linked program: the deepest path through its call graph.

Frames and calls of our own functions come from the compiler, those of library functions from the
disassembly. A call through a pointer may reach every function whose address is taken. On Arm one
interrupt and one fault may come on top. On the host the C library counts as nothing: its code is
not ours and its stack is not scarce.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from codegen.board import Board
from codegen.callgraph import Function, ObjectFile, disassemble, read_object
from tinyengine.errors import InternalError

# what a Cortex-M pushes on exception entry, with the word that aligns it (Armv7-M B1.5.6)
_ENTRY_BYTES_FPU = 26 * 4 + 4
_ENTRY_BYTES = 8 * 4 + 4
_FAULT_VECTORS = frozenset({2, 3, 4, 5, 6, 12})

_Key = tuple[int, str]  # the object's index and the function's name; -1: the library
_LIBRARY = -1


@dataclass(slots=True)
class Graph:
    """Every function that may run, and the edges between them."""

    functions: dict[_Key, Function] = field(default_factory=dict)
    edges: dict[_Key, set[_Key]] = field(default_factory=dict)
    same_address: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def named(self, name: str) -> list[_Key]:
        """Return all functions called `name`: static ones may share it, others be its aliases.

        Raises:
            InternalError: the program has such a function, but nothing is known about it.
        """
        for names in ((name,), self.same_address.get(name, ())):
            if keys := [key for key in self.functions if key[1] in names]:
                return keys
        if name in self.same_address:
            raise InternalError(f"the stack frame of '{name}' is not known")
        return []


def worst_stack_bytes(elf: Path, objects: Sequence[Path], objdump: Path, board: Board) -> int:
    """Return the largest number of bytes of stack that the program can use.

    Args:
        elf: The linked program.
        objects: Its object files, each with its `.ci` file beside it.
        objdump: The toolchain's disassembler.
        board: What it was built for.

    Raises:
        InternalError: recursion, or a frame whose size only run time tells.
    """
    graph = build_graph(elf, objects, None if board.is_host else objdump)
    if board.is_host:
        return deepest_bytes(graph, graph.named("main"))
    handlers = read_vectors(elf)
    entry = _ENTRY_BYTES_FPU if "fpu" in board.features else _ENTRY_BYTES
    faults = {name for index, name in handlers.items() if index in _FAULT_VECTORS}
    # an interrupt whose handler is a fault's ends the program like a fault
    interrupts = {name for index, name in handlers.items() if index > 1} - faults
    total = deepest_bytes(graph, graph.named(handlers[1]))
    for level in (interrupts, faults):
        if level:
            total += entry + deepest_bytes(graph, [k for n in level for k in graph.named(n)])
    return total


def build_graph(elf: Path, objects: Sequence[Path], objdump: Path | None) -> Graph:
    """Join what the objects and (on Arm) the disassembly tell into one graph."""
    files = [read_object(path) for path in objects]
    found = disassemble(elf, objdump) if objdump else {}
    graph = Graph(same_address=_aliases(elf))
    strong = frozenset[str]().union(*(file.strong for file in files))
    for index, file in enumerate(files):
        for name, function in file.functions.items():
            is_overridden = name in file.weak and name in strong
            if name in graph.same_address and not is_overridden:
                graph.functions[index, name] = function
    ours = {name for _, name in graph.functions}
    for name, function in found.items():
        if name not in ours:
            graph.functions[_LIBRARY, name] = function
    _connect(graph, files)
    for name in ours & found.keys():
        _add_hidden_calls(graph, name, found[name])
    return graph


def _connect(graph: Graph, files: Sequence[ObjectFile]) -> None:
    public = _public(graph, files)

    def meant(index: int, name: str) -> list[_Key]:
        """Return the function that `name` means inside an object; none for the host's library."""
        own = (index, name)
        if own in graph.functions:
            return [own]
        return [public[name]] if name in public else graph.named(name)

    taken = {
        key for index, file in enumerate(files) for name in file.taken for key in meant(index, name)
    }
    for key, function in graph.functions.items():
        edges = {callee for name in function.calls for callee in meant(key[0], name)}
        graph.edges[key] = edges | taken if function.is_indirect else edges


def _public(graph: Graph, files: Sequence[ObjectFile]) -> dict[str, _Key]:
    """Return which object defines each function that others see."""
    found = [(index, name) for index, file in enumerate(files) for name in file.weak | file.strong]
    return {key[1]: key for key in found if key in graph.functions}


def _add_hidden_calls(graph: Graph, name: str, found: Function) -> None:
    """Add calls that only the disassembly shows: those written in assembly."""
    for key in graph.named(name):
        known = {callee for _, callee in graph.edges[key]}
        for callee in found.calls - known:
            graph.edges[key] |= set(graph.named(callee))


def deepest_bytes(graph: Graph, roots: Iterable[_Key]) -> int:
    """Return the stack of the deepest path from any root.

    Raises:
        InternalError: a path comes back to itself, or a frame has no fixed size.
    """
    depth: dict[_Key, int] = {}
    path: list[_Key] = []

    def visit(key: _Key) -> int:
        if key in depth:
            return depth[key]
        if key in path:
            raise InternalError(_recursion([*path[path.index(key) :], key], graph))
        frame = graph.functions[key].frame_bytes
        if frame is None:
            raise InternalError(f"the stack frame of '{key[1]}' has no fixed size")
        path.append(key)
        below = max((visit(callee) for callee in sorted(graph.edges[key])), default=0)
        path.pop()
        depth[key] = frame + below
        return depth[key]

    return max((visit(key) for key in roots), default=0)


def _recursion(cycle: Sequence[_Key], graph: Graph) -> str:
    text = " -> ".join(f"'{name}'" for _, name in cycle)
    pointers = sorted({key[1] for key in cycle if graph.functions[key].is_indirect})
    guess = "; a call through a pointer counts as calling every function whose address is taken"
    return f"the worst-case stack has no bound: {text}{guess if pointers else ''}"


def _aliases(elf: Path) -> dict[str, list[str]]:
    """Return for every linked function the names that stand at its address, its own included."""
    by_address: dict[int, list[str]] = {}
    for address, name in _function_symbols(elf):
        by_address.setdefault(address, []).append(name)
    return {name: names for names in by_address.values() for name in names}


def _function_symbols(elf: Path) -> list[tuple[int, str]]:
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        if not isinstance(table, SymbolTableSection):
            raise InternalError(f"'{elf}' has no symbols")
        return [
            (symbol["st_value"], symbol.name)
            for symbol in table.iter_symbols()
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] != "SHN_UNDEF"
        ]


def read_vectors(elf: Path) -> dict[int, str]:
    """Return the handler's name by vector number; 1 is reset."""
    names = dict(_function_symbols(elf))
    with elf.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".vectors")
        if section is None:
            raise InternalError(f"'{elf}' has no section .vectors")
        data = section.data()
    words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
    handlers = {}
    for index, word in enumerate(words):
        if index == 0 or word == 0:
            continue
        if word not in names:
            raise InternalError(f"vector {index} holds 0x{word:08x}, which is no function")
        handlers[index] = names[word]
    return handlers
