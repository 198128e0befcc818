"""Imports go one way: tinyengine <- codegen <- bench_melt; the lowest floor stays pure."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy.sources import FLOORS, ROOT, modules, place

# what the lowest floor may load beside numpy and the standard library, and where
THIRD_PARTY = {
    "numpy": "tinyengine",
    "tflite": "tinyengine/importers tinyengine/exporters",
    "flatbuffers": "tinyengine/importers tinyengine/exporters",
    "autograd": "tinyengine/sim",
    "ortools": "tinyengine/plan",
    "pydantic": "tinyengine/update tinyengine/importers",
}
NOT_PURE = {"subprocess", "socket", "ctypes", "multiprocessing"}


def imports(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and top-level name of every absolute import, those inside functions included."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.split(".")[0]


def back_edges(floor: str, text: str) -> list[tuple[int, str]]:
    above = FLOORS[FLOORS.index(floor) + 1 :]
    return [(line, name) for line, name in imports(text) if name in above]


def impurities(folder: str, text: str) -> list[tuple[int, str]]:
    found = []
    for line, name in imports(text):
        if name in FLOORS or (name in sys.stdlib_module_names and name not in NOT_PURE):
            continue
        allowed = THIRD_PARTY.get(name, "").split()
        if not any(f"{folder}/".startswith(f"{place}/") for place in allowed):
            found.append((line, name))
    return found


@pytest.mark.parametrize("floor", FLOORS)
def test_no_import_from_a_floor_above(floor: str) -> None:
    paths = modules([floor])
    found = [(path, edge) for path in paths for edge in back_edges(floor, path.read_text())]
    assert not [f"{place(path, line)} imports {name}" for path, (line, name) in found]


def test_the_lowest_floor_is_pure() -> None:
    found = [
        f"{place(path, line)} imports {name}"
        for path in modules(["tinyengine"])
        for line, name in impurities(folder_of(path), path.read_text())
    ]
    assert not found, "\n".join(found)


def folder_of(path: Path) -> str:
    return path.parent.relative_to(ROOT).as_posix()


def test_the_check_sees_what_it_should() -> None:
    text = "import codegen.build\ndef f():\n    from bench_melt import runner\n"
    assert back_edges("tinyengine", text) == [(1, "codegen"), (3, "bench_melt")]
    assert back_edges("codegen", text) == [(3, "bench_melt")]
    assert back_edges("bench_melt", text) == []
    assert impurities("tinyengine/ir", "import autograd\nimport subprocess, json") == [
        (1, "autograd"),
        (2, "subprocess"),
    ]
    assert impurities("tinyengine/sim", "import autograd") == []
