"""`bench-melt run` as a person calls it, in this process."""

import sys
from collections.abc import Sequence

import pytest

from bench_melt.commands import run as run_command
from codegen.cli import new_app, run

SUITE = """\
[suite]
name = "small"
repetitions = 1
warmups = 0

[[targets]]
name = "here"
machine = "local"

[[models]]
name = "tiny"
path = "tiny.gguf"

[[workloads]]
kind = "llm"
name = "w"
n_prompt = 4
n_gen = 2
"""


def bench_run(argv: Sequence[str]) -> int:
    """Run it; return its exit code."""
    app = new_app("test")
    app.command("run")(run_command.command)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", ["bench-melt", "run", *argv])
        run(app)
    assert isinstance(end.value.code, int)
    return end.value.code
