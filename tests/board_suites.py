"""Suites over this computer and a board behind ssh, with programs that tests make."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench_melt.record import Row
from bench_melt.rig import make_rig
from bench_melt.runner import sweep
from bench_melt.store import open_store
from bench_melt.suite import load_suite
from tests.sshd import Sshd
from tests.sweep_rig import Quiet
from tests.tiny_gguf import write_tiny_gguf

_ROOT = Path(__file__).parents[1]

_BOARD = """\
name = "board"
summary = "sshd on the loopback"
kind = "linux"
tested = "only in tests"
staging = {staging}
"""

_SUITE = """\
[suite]
name = "small"
seed = 5
repetitions = {repetitions}
warmups = {warmups}
time_limit_s = {limit_s}

[[models]]
name = "tiny"
path = "tiny.gguf"
"""


def program(path: Path, *words: str) -> Path:
    """Write a program that runs Python with `words`, then what it is given."""
    line = " ".join(word if word == '"$@"' else shlex.quote(word) for word in words)
    path.write_text(
        f"#!/bin/sh\ncd {shlex.quote(str(_ROOT))} && exec {shlex.quote(sys.executable)} {line}\n"
    )
    path.chmod(0o755)
    return path


def write_suite(
    folder: Path,
    board: Sshd | None,
    workloads: Mapping[str, str],
    *,
    local: bool = True,
    repetitions: int = 1,
    warmups: int = 0,
    limit_s: float = 60.0,
    port: int | None = None,
) -> Path:
    """Write a suite with its model; `workloads` is name -> its table's lines without the name."""
    write_tiny_gguf(folder / "tiny.gguf")
    parts = [_SUITE.format(repetitions=repetitions, warmups=warmups, limit_s=limit_s)]
    if local:
        parts.append('[[targets]]\nname = "near"\nmachine = "local"\n')
    if board is not None:
        staging = json.dumps(str(board.home / "staged"))
        (folder / "board.toml").write_text(_BOARD.format(staging=staging))
        parts.append('[[targets]]\nname = "far"\nmachine = "board.toml"\n[targets.connection]')
        connection = board.connection(port=port or board.port)
        for name in connection.model_fields_set:
            value = getattr(connection, name)
            parts.append(f"{name} = {value if isinstance(value, int) else json.dumps(str(value))}")
    for name, lines in workloads.items():
        parts.append(f'[[workloads]]\nkind = "llm"\nname = "{name}"\n{lines}')
    path = folder / "suite.toml"
    path.write_text("\n".join(parts))
    return path


def double(folder: Path, tag: str, *more: str) -> str:
    """Return a runner's lines: the double of a server, started by the harness."""
    # without what is installed it starts sooner
    words = ("-S", "-m", "tests.openai_double", '"$@"', "--tag", tag, *more)
    made = program(folder / f"double-{tag}", *words)
    return f'runner = {{ kind = "server", program = "{made.name}", args = ["--port", "{{port}}"] }}'


def measure(path: Path) -> Sequence[Row]:
    """Measure a suite into a database beside it; return its rows in the order they came."""
    suite, watcher = load_suite(path), Quiet()
    with open_store(str(path.with_name("results.sqlite")), create=True) as store:
        sweep(suite, make_rig(suite), store, watcher, resume=False)
        assert len(store.rows()) == len(watcher.rows)
    return watcher.rows
