"""`bench-melt runner build` for 64-bit Arm: a small project, run under emulation."""

import os
import subprocess
from pathlib import Path

import pytest

from bench_melt.runners import compilers
from bench_melt.runners.build import build_runner
from bench_melt.runners.compilers import EMULATOR, Choice, find_processor
from tests.needs import without
from tests.runner_rig import COMMIT, archive_of, own_cache, project_files

SUM = "sum 1262.50"


WAYS = [
    (Choice.GCC, "aarch64", f"dotprod fp16 {SUM}"),
    (Choice.GCC, "aarch64-i8mm", f"dotprod fp16 i8mm {SUM}"),
]
if compilers._zig() is not None:  # an extra that 'make setup' leaves out
    # the first time zig compiles its C library, which takes minutes
    WAYS.append(pytest.param(Choice.ZIG, "aarch64", f"dotprod fp16 {SUM}", marks=pytest.mark.slow))


@pytest.mark.parametrize(("choice", "target", "said"), WAYS)
def test_a_static_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: Choice, target: str, said: str
) -> None:
    for name in ("cmake", "ninja", EMULATOR):
        without(name)
    if choice is Choice.GCC:
        without("aarch64-linux-gnu-g++")
    # zig keeps the C library that it compiled in the user's cache
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zig"
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(kept))
    own_cache(monkeypatch, tmp_path)
    built = build_runner(
        find_processor(target),
        tmp_path / "out",
        choice=choice,
        programs=("llama-bench",),
        archive=archive_of(tmp_path / "a.tar.gz", project_files()),
        jobs=2,
        tell=lambda line: None,
        step=lambda done, total: None,
    )
    (found,) = built.manifest["programs"]
    assert found["version"] == f"{said} | version: 0 ({COMMIT[:9]})"
    header = (tmp_path / "out" / "llama-bench").read_bytes()[:20]
    assert header[:5] == b"\x7fELF\x02" and header[18:20] == b"\xb7\x00"  # 64 bits, AArch64
    program = str(tmp_path / "out" / "llama-bench")
    # no library is looked for: nothing of the machine's own is needed
    ran = subprocess.run(
        [EMULATOR, "-L", str(tmp_path / "nowhere"), program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, said)
