"""Runs `bench-melt` again and again, each time in a child of one process that has it loaded.

Run as `python -m tests.harness_forks`. Each line of stdin is JSON, [argv, out, err, limit]: no file
may grow beyond so many bytes. It answers with the child's process number, and with its exit code.
"""

import importlib
import json
import os
import pkgutil
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

_ROOT = Path(__file__).parents[1]


class Harness:
    """The other side of it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def start(
        self, argv: Sequence[str], log: Path, err: Path | None = None, limit: int | None = None
    ) -> int:
        """Begin one `bench-melt`; return its process number."""
        assert self._process.stdin is not None
        line = json.dumps([list(argv), str(log), str(err or log), limit])
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._number()

    def code(self) -> int:
        """Return its exit code, once it ended."""
        return self._number()

    def _number(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@contextmanager
def harness() -> Iterator[Harness]:
    """Have one ready while the block runs."""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    argv = [sys.executable, "-m", "tests.harness_forks"]
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, cwd=_ROOT, env=env) as process:
        yield Harness(process)
        assert process.stdin is not None
        process.stdin.close()


def _child(argv: Sequence[str], out: str, err: str, limit: int | None) -> NoReturn:
    from bench_melt.cli import main

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["bench-melt", *argv]
    code = 99
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


def _serve() -> None:
    commands = importlib.import_module("bench_melt.commands")
    names = [module.name for module in pkgutil.iter_modules(commands.__path__)]
    late = ("bench_melt.targets.linux", "gguf", "codegen.cli")  # what is only loaded when asked for
    for name in (*(f"bench_melt.commands.{name}" for name in names), *late):
        importlib.import_module(name)
    for line in sys.stdin:
        argv, out, err, limit = json.loads(line)
        child = os.fork()
        if child == 0:
            _child(argv, out, err, limit)
        _say(child)
        _say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve()
