"""Every kernel and a generated model compile for the Cortex-M boards without a warning."""

import subprocess
from pathlib import Path

import pytest

from codegen.board import Board, board_names, load_board
from codegen.build import C_FLAGS
from codegen.emit import emit
from codegen.paths import firmware_dir
from tests.cases import CASES
from tests.training import compiled, everything

ARM = [load_board(name) for name in board_names() if name != "host"]


@pytest.mark.parametrize("board", ARM, ids=lambda b: b.name)
def test_kernels_compile(board: Board, tmp_path: Path) -> None:
    sources = sorted((firmware_dir() / "kernels").rglob("*.c"))
    assert len(sources) > 30
    compile_all(board, sources, [firmware_dir() / "include"], tmp_path)


@pytest.mark.parametrize("board", ARM[:1], ids=lambda b: b.name)
def test_generated_code_compiles(board: Board, tmp_path: Path) -> None:
    for case in CASES:
        if case.trainable:
            folder = tmp_path / case.name
            files = emit(compiled(case, everything()), board)
            for name, text in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)
            sources = sorted((folder / "src").glob("*.c"))
            compile_all(board, sources, [folder / "src", folder / "src" / "te"], folder)


def compile_all(board: Board, sources: list[Path], include: list[Path], into: Path) -> None:
    argv = [f"{board.build.toolchain}gcc", *C_FLAGS, *board.build.cflags, "-c"]
    argv += [f"-I{folder}" for folder in include]
    answer = subprocess.run([*argv, *sources], cwd=into, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr[:4000]
