"""How far one Thumb instruction lowers the stack pointer, and paths through small graphs."""

import pytest

from codegen.callgraph import Function, pushed_bytes
from codegen.stack import Graph, deepest_bytes
from tinyengine.errors import InternalError


@pytest.mark.parametrize(
    ("mnemonic", "operands", "expected"),
    [
        ("push", "{r4, r5, lr}", 12),
        ("stmdb", "sp!, {r4, r5, r6, r7, r8, lr}", 24),
        ("vpush", "{d8-d10}", 24),
        ("vpush", "{s16}", 4),
        ("sub", "sp, #40\t@ 0x28", 40),
        ("sub.w", "sp, sp, #400\t@ 0x190", 400),
        ("subw", "sp, sp, #1028\t@ 0x404", 1028),
        ("str.w", "r3, [sp, #-4]!", 4),
        ("strd", "r4, r5, [sp, #-16]!", 16),
        ("sub.w", "sp, sp, r3", None),
        ("add", "sp, #40", 0),
        ("stmdb", "r0!, {r4, r5}", 0),
        ("subs", "r3, #1", 0),
        ("str", "r3, [sp, #4]", 0),
    ],
)
def test_pushed_bytes(mnemonic: str, operands: str, expected: int | None) -> None:
    assert pushed_bytes(mnemonic, operands) == expected


def graph_of(frames: dict[str, int | None], edges: dict[str, str]) -> Graph:
    return Graph(
        {(0, name): Function(name, frame) for name, frame in frames.items()},
        {(0, name): {(0, callee) for callee in edges.get(name, "")} for name in frames},
    )


def test_the_deepest_path_counts_not_the_longest() -> None:
    graph = graph_of({"m": 8, "a": 4, "b": 4, "c": 100}, {"m": "ac", "a": "b"})
    assert deepest_bytes(graph, [(0, "m")]) == 108


def test_recursion_is_named() -> None:
    graph = graph_of({"m": 8, "a": 4, "b": 4}, {"m": "a", "a": "b", "b": "a"})
    with pytest.raises(InternalError, match="no bound: 'a' -> 'b' -> 'a'$"):
        deepest_bytes(graph, [(0, "m")])


def test_a_frame_without_a_size_is_refused() -> None:
    with pytest.raises(InternalError, match="frame of 'a' has no fixed size"):
        deepest_bytes(graph_of({"m": 8, "a": None}, {"m": "a"}), [(0, "m")])
