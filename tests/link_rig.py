"""Builds tests/fixtures/fake_model.c with the real runtime, and talks to it."""

import shutil
from pathlib import Path

from bench_melt.link.session import Session
from codegen.board import load_board
from codegen.build import build
from codegen.paths import firmware_dir

FIXTURES = Path(__file__).parent / "fixtures"


def build_fake(
    folder: Path, board_name: str, *, defines: tuple[str, ...] = (), sanitize: bool = False
) -> Path:
    """Return the program made of the session, the port and the fake model."""
    te = folder / "src" / "te"
    te.mkdir(parents=True, exist_ok=True)
    (folder / "te_manifest.json").write_text("{}")
    for path in (*firmware_dir().glob("include/*.h"), *firmware_dir().glob("runtime/*.c")):
        shutil.copy(path, te)
    shutil.copy(FIXTURES / "fake_model.c", folder / "src")
    board = load_board(board_name)
    board = board.model_copy(
        update={"build": board.build.model_copy(update={"defines": board.build.defines + defines})}
    )
    return build(folder, board, sanitize=sanitize).elf


def train_fake(session: Session, steps: int) -> list[str]:
    """Take steps on the device's own fake samples; return the state's hash after each."""
    session.reset()
    session.set_hyper(lr=0.05, seed=3)
    hashes = []
    for index in range(steps):
        session.train(session.fill(7, index))
        hashes.append(session.state_hash())
    return hashes


def train_written(session: Session, steps: int) -> str:
    """Take steps on samples that travel over the link; return the last state's hash."""
    session.reset()
    for index in range(steps):
        sample = bytes((i * 37 + index * 11) % 256 for i in range(session.info.input_bytes))
        session.write_input(sample)
        session.train(index % session.info.classes)
    return session.state_hash()
