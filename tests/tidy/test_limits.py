"""Functions up to 60 lines, files up to 400, lines up to 100; print and globals where they may."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.tidy.sources import ROOT, modules, place, tracked

FUNCTION_LINES = 60
FILE_LINES = 400
LINE_CHARACTERS = 100
SOURCES = (".py", ".c", ".h")


def python_functions(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield first line, name and number of lines of every function."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.lineno, node.name, node.end_lineno - node.lineno + 1


def c_functions(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield the same for C, whose bodies open and close in the first column."""
    start = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            yield start, "body", number - start + 1
            start = 0


def test_functions() -> None:
    found = []
    for path in tracked(*SOURCES):
        functions = python_functions if path.suffix == ".py" else c_functions
        for line, name, count in functions(path.read_text()):
            if count > FUNCTION_LINES:
                found.append(f"{place(path, line)} {name}: {count} lines")
    assert not found, "\n".join(found)


def test_files() -> None:
    counts = {path: len(path.read_text().splitlines()) for path in tracked(*SOURCES)}
    long = [f"{path}: {count} lines" for path, count in counts.items() if count > FILE_LINES]
    assert not long, "\n".join(long)


def test_lines() -> None:
    found = [
        place(path, number)
        for path in tracked(*SOURCES)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LINE_CHARACTERS
    ]
    assert not found, "\n".join(found)


def may_print(path: Path) -> bool:
    return path.name == "cli.py" or path.parent.name == "commands"


def test_only_command_modules_print() -> None:
    found = [
        place(path, node.lineno)
        for path in modules()
        if not may_print(path)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert not found, "\n".join(found)


def test_no_ambient_state() -> None:
    found = [
        place(path, node.lineno)
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Global)
    ]
    assert not found, "\n".join(found)


def test_the_counters_count() -> None:
    assert list(python_functions("x = 1\ndef f():\n    return 1\n")) == [(2, "f", 2)]
    assert list(c_functions("int f(void)\n{\n    return 1;\n}\n")) == [(2, "body", 3)]
    assert (ROOT / "pyproject.toml").is_file() and len(modules()) > 5
