"""Runs `bench-melt` again and again, each time in a child of one process that has it loaded.

Run as `python -m tests.harness_forks`. Each line of stdin is JSON, [argv, log]; it answers with the
child's process number, and with its exit code when it ended.
"""

import importlib
import json
import os
import pkgutil
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

    def start(self, argv: Sequence[str], log: Path) -> int:
        """Begin one `bench-melt`; return its process number."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([list(argv), str(log)]) + "\n")
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


def _child(argv: Sequence[str], log: str) -> NoReturn:
    from bench_melt.cli import main

    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, out)):
        os.dup2(source, number)
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
    for name in (*(f"bench_melt.commands.{name}" for name in names), "bench_melt.targets.linux"):
        importlib.import_module(name)
    for line in sys.stdin:
        argv, log = json.loads(line)
        child = os.fork()
        if child == 0:
            _child(argv, log)
        _say(child)
        _say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve()
