"""What goes wrong on the way: each fault is a row with its reason, and the sweep goes on."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bench_melt.record import Row
from bench_melt.targets import ssh_link
from bench_melt.targets.linux import LinuxMachine
from bench_melt.targets.linux_staging import Staging
from bench_melt.targets.machine import Deadline
from tests.board_suites import double, measure, write_suite
from tests.cut_proxy import CutProxy
from tests.harness_forks import harness
from tests.sshd import Sshd, gone, sshd, with_words
from tinyengine.errors import DeviceError

TAG = f"fault-{os.getpid()}"
SLOW = ("--first-s", "0.02", "--gaps-s", "0.02")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd(tmp_path_factory.mktemp("sshd") / "s") as made:
        yield made


@pytest.fixture
def proxy(server: Sshd) -> Iterator[CutProxy]:
    with CutProxy(server.port) as made:
        server.know(made.port)
        yield made


def run_with_fault(
    folder: Path, board: Sshd | None, fault: Callable[[], None], port: int = 0
) -> Sequence[Row]:
    """Measure twice on a board, or here; once the first token was sent, `fault` happens."""
    mark = folder / "computes"
    lines = f"n_prompt = 4\nn_gen = 50\n{double(folder, TAG, *SLOW, '--mark', str(mark))}"
    path = write_suite(folder, board, {"w": lines}, local=board is None, repetitions=2, port=port)

    def strike() -> None:
        while not mark.exists():
            time.sleep(0.01)
        fault()

    thread = threading.Thread(target=strike)
    thread.start()
    rows = measure(path)
    thread.join()
    assert gone(TAG), "a server outlived its repetition"
    return rows


def kill_server() -> None:
    for pid in with_words(["tests.openai_double", TAG]):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("machine", "code"), [("local", -9), ("board", 137)])
def test_the_server_dies_mid_run(server: Sshd, tmp_path: Path, machine: str, code: int) -> None:
    board = server if machine == "board" else None
    first, second = run_with_fault(tmp_path, board, kill_server)
    assert second.outcome.reason is None
    assert (first.outcome.reason or "").startswith(
        f"the server ended with exit code {code} (killed: out of memory?); it said: listening"
    )
    assert first.target.machine == machine and first.results.model.model_filename == "tiny.gguf"


def test_the_connection_breaks_mid_run(server: Sshd, proxy: CutProxy, tmp_path: Path) -> None:
    first, second = run_with_fault(tmp_path, server, proxy.cut, proxy.port)
    assert second.outcome.reason is None
    assert (first.outcome.reason or "").startswith("the connection to 'board' was lost: ")


def test_the_cable_is_pulled_mid_run(
    server: Sshd, proxy: CutProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told: the missing answers to signs of life tell it."""
    monkeypatch.setattr(ssh_link, "_ALIVE_S", 0.5)
    first, second = run_with_fault(tmp_path, server, proxy.silence, proxy.port)
    assert second.outcome.reason is None
    assert (first.outcome.reason or "").startswith("the connection to 'board' was lost: ")


def test_a_machine_that_stays_away(server: Sshd, proxy: CutProxy, tmp_path: Path) -> None:
    def leave() -> None:
        proxy.refuse()
        proxy.cut()

    first, second = run_with_fault(tmp_path, server, leave, proxy.port)
    assert "was lost" in (first.outcome.reason or "")
    assert "refuses the connection" in (second.outcome.reason or "")


def test_what_runs_is_ended_when_the_machine_is_found_again(
    server: Sshd, proxy: CutProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_link, "_ALIVE_S", 0.5)
    words = f"again-{time.monotonic_ns()}"
    # a program that left its group, which no leash holds
    line = f"setsid sh -c 'sleep 1000; : {words}' & echo ready; sleep 1000; : {words}"
    with server.machine(port=proxy.port) as machine:
        machine.probe()
        process = machine.start(["sh", "-c", line])
        process.wait_line("ready", Deadline(20))
        proxy.silence()
        with pytest.raises(DeviceError, match="the connection to 'board' was lost"):
            process.wait(Deadline(20))
        assert not gone(words, limit_s=0.0)
        with pytest.raises(DeviceError, match="the connection to 'board' was lost"):
            machine.state()
    assert gone(words)


@pytest.mark.parametrize(
    ("free", "message"),
    [
        ([1000], "no space on 'board' for 'big': 300,000 B .* in '.*', 1,000 B are free; delete"),
        ([1 << 30, 2000], "no space on 'board' for 'big': 300,000 B .*, 2,000 B are free; delete"),
        ([None, None], "no space on 'board' for 'big': 300,000 B are needed in '.*'; delete old"),
        ([1 << 30, 1 << 30], r"'big' \(300,000 B\) could not be written .* is there a quota"),
    ],
)
def test_no_space_is_told_with_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: list[int | None], message: str
) -> None:
    """Before the copy, or on the way: there the server's files really end early."""
    source = tmp_path / "big"
    source.write_bytes(bytes(300_000))
    helper = next(Path("/").glob("usr/lib*/*/sftp-server"))
    limited = tmp_path / "limited"
    limited.write_text(f"#!/bin/sh\nulimit -f 64; trap '' XFSZ; exec {helper}\n")
    limited.chmod(0o755)
    told = iter(free)
    monkeypatch.setattr(Staging, "_free", lambda *_: next(told))
    with sshd(tmp_path / "s", sftp=str(limited)) as board, board.machine() as machine:
        machine.probe()
        with pytest.raises(DeviceError, match=message):
            machine.deploy(source)
        assert not list(board.home.glob("staged/*/*"))


def test_a_file_that_arrives_damaged(server: Sshd, tmp_path: Path) -> None:
    source = tmp_path / "x"
    source.write_bytes(bytes(1000))
    with server.machine() as machine:
        machine.probe()
        machine._staging._hash = lambda path: "0" * 64  # type: ignore[method-assign]
        with pytest.raises(DeviceError, match="'x' arrived damaged at 'board'"):
            machine.deploy(source)
        assert not list(server.home.glob("staged/*/x"))


def test_time_passes_while_a_file_is_copied(server: Sshd, proxy: CutProxy, tmp_path: Path) -> None:
    """stop() of another thread frees whoever waits for the machine."""
    (tmp_path / "x").write_bytes(bytes(5_000_000))
    failure: list[BaseException] = []
    machine: LinuxMachine = server.machine(port=proxy.port)
    machine.probe()

    def copy() -> None:
        try:
            proxy.silence()
            machine.deploy(tmp_path / "x")
        except DeviceError as error:
            failure.append(error)

    thread = threading.Thread(target=copy)
    thread.start()
    time.sleep(0.2)
    machine.stop()
    thread.join(10)
    assert not thread.is_alive() and len(failure) == 1


def test_the_harness_own_disk_is_full(tmp_path: Path) -> None:
    """Neither the database nor the log can grow; rows that were written stay."""
    lines = f"n_prompt = 4\nn_gen = 2\n{double(tmp_path, TAG, '--first-s', '0')}"
    suite = write_suite(tmp_path, None, {"w": lines}, repetitions=6)
    argv = ["run", str(suite), "--db", str(tmp_path / "results.sqlite"), "--resume", "--json"]
    with harness() as command:
        command.start(argv, tmp_path / "out", tmp_path / "err", 90_000)
        code, said = command.code(), (tmp_path / "err").read_text()
        assert code == 1 and "Traceback" not in said, said
        assert "error: cannot write to database" in said and "'--resume'" in said
        command.start(argv, tmp_path / "out", Path("/dev/full"))
        assert command.code() == 0
    told = json.loads((tmp_path / "out").read_text())
    assert told["skipped"] > 0 and told["measured"] > 0 and told["failed"] == 0
    assert told["skipped"] + told["measured"] == 6
    assert gone(TAG)
