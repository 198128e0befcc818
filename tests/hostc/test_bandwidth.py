"""The C program that measures memory on machines without Python, built and run here."""

import re
import subprocess
from pathlib import Path

import pytest

from bench_melt import bandwidth as module
from bench_melt.bandwidth import Bandwidth
from bench_melt.targets.description import load_machine
from bench_melt.targets.local import LocalMachine
from bench_melt.targets.machine import MachineInfo

STRICT = (
    *("-std=c99", "-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow"),
    *("-Wcast-qual", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wdouble-promotion"),
    *("-Wvla", "-Wundef"),
)
SOURCE = Path(module.__file__).parent / "runners" / "bandwidth.c"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    goal = tmp_path_factory.mktemp("c") / "bandwidth"
    argv = ["gcc", *STRICT, "-O1", "-fsanitize=undefined", "-pthread", str(SOURCE), "-o", str(goal)]
    subprocess.run(argv, check=True)
    return goal


@pytest.mark.parametrize("threads", ["1", "3"])
def test_it_says_a_rate(program: Path, threads: str) -> None:
    done = subprocess.run(
        [program, "2", threads, "3"], capture_output=True, text=True, check=True, timeout=60
    )
    found = re.fullmatch(r"bytes_per_s (\S+)\n", done.stdout)
    assert found is not None and 1e6 < float(found[1]) < 1e13


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["1"], "usage: bandwidth MEBIBYTES THREADS PASSES"),
        (["0", "1", "1"], "a number is out of range"),
        (["1", "1x", "1"], "a number is out of range"),
        (["1", "1", "65"], "a number is out of range"),
    ],
)
def test_wrong_arguments(program: Path, arguments: list[str], message: str) -> None:
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr.strip()) == (1, message)


class Far(LocalMachine):
    """This computer, pretending that it shares no files."""

    shares_files = False


def test_a_machine_that_shares_no_files_gets_a_static_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MEBIBYTES", 32)
    with Far(load_machine("local")) as machine:
        found = Bandwidth().measure(machine, machine.probe(), 1, ())
        assert found.reason is None and (found.bytes_per_s or 0) > 1e6
        lost = Bandwidth().measure(machine, MachineInfo(), 1, ())
    assert lost.bytes_per_s is None and "does not say what processor" in str(lost.reason)


def test_a_source_that_does_not_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bandwidth.c"
    broken.write_text("int main(void) { return }\n", encoding="utf-8")
    monkeypatch.setattr(module, "_SOURCE", broken)
    with Far(load_machine("local")) as machine:
        found = Bandwidth().measure(machine, machine.probe(), 1, ())
    assert found.bytes_per_s is None and "cannot compile 'bandwidth.c'" in str(found.reason)
