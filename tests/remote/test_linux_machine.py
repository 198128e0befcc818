"""A machine over ssh: files, programs, what it tells, meters; against a real sshd."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench_melt.meters.files import ShellFiles
from bench_melt.meters.make import Link, make_meter, read_meter_spec
from bench_melt.targets import linux_process
from bench_melt.targets.linux import LinuxMachine
from bench_melt.targets.machine import Deadline, TimeLimitError
from tests.board_trees import orin_nano
from tests.needs import without
from tests.sshd import Sshd, gone, sshd
from tinyengine.errors import DeviceError, UserError

TOOLS = {
    "nvpmodel": '#!/bin/sh\necho "NV Power Mode: 15W"\necho 0\n',
    "jetson_clocks": "#!/bin/sh\nexit 1\n",
    "vcgencmd": "#!/bin/sh\necho throttled=0x50000\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd(tmp_path_factory.mktemp("sshd") / "s", tools=TOOLS) as made:
        yield made


@pytest.fixture
def board(server: Sshd) -> Iterator[LinuxMachine]:
    with server.machine() as machine:
        machine.probe()
        yield machine


def test_what_a_jetson_tells_of_itself(server: Sshd, tmp_path: Path) -> None:
    with server.machine(root=orin_nano(tmp_path / "a b")) as machine:
        info = machine.probe()
        state = machine.state()
        orin_nano(tmp_path / "a b", pinned=True)
        assert machine.state().power_mode == "15W, jetson_clocks on"
    assert info.os_build == "Ubuntu 22.04.5 LTS, Linux version 5.15.148-tegra, L4T R36.4.3"
    assert info.soc == "NVIDIA Jetson Orin Nano Developer Kit"
    assert info.memory_bytes == 7_801_208 * 1024
    assert info.cores_max_hz == (1_510_400_000,) * 6
    assert info.architecture == os.uname().machine
    assert state.temperatures_c == {
        "cpu-thermal": 45.5,
        "gpu-thermal": 44.0,
        "tj-thermal": 45.6,
        "tmp451 temp1": 38.25,
    }
    assert (state.governor, state.power_mode) == ("schedutil", "15W, jetson_clocks off")
    assert state.thermal_status == "throttled=0x50000"
    assert state.cpu_hz == (1_113_600_000,) * 6


def test_a_program_its_lines_and_its_exit_code(board: LinuxMachine) -> None:
    code = (
        "import os, sys; print('ready', os.environ['A'], os.sched_getaffinity(0)); "
        "print('oops', file=sys.stderr); sys.exit(3)"
    )
    core = min(os.sched_getaffinity(0))
    process = board.start([sys.executable, "-c", code], cores=[core], env={"A": "b 'c'"})
    assert process.wait_line("ready", Deadline(20)) == f"ready b 'c' {{{core}}}"
    assert process.wait(Deadline(20)) == 3
    assert process.output().startswith("ready b") and "oops" in process.tail()
    process.kill()
    assert process.poll() == 3


def test_its_memory_is_known_after_its_end(board: LinuxMachine) -> None:
    code = "b = bytearray(50 << 20); print('ready', flush=True); import time; time.sleep(60)"
    process = board.start([sys.executable, "-c", code])
    process.wait_line("ready", Deadline(20))
    usage = process.usage()
    assert (usage.rss_peak_bytes or 0) > 50 << 20 and (usage.pss_bytes or 0) > 50 << 20
    assert usage.cpu_s is not None
    process.kill()
    assert process.usage() == usage


def test_the_whole_group_ends_even_if_it_ignores_it(
    board: LinuxMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linux_process, "_GRACE_S", 1)
    words, naps = f"group-{time.monotonic_ns()}", f"1000.{os.getpid()}"
    line = f"trap '' TERM; sleep {naps} & echo ready; while :; do sleep 0.1; done; : {words}"
    process = board.start(["sh", "-c", line])
    process.wait_line("ready", Deadline(20))
    assert not gone(words, limit_s=0.0)
    process.kill()
    assert process.poll() == 128 + 9
    assert gone(words) and gone(f"sleep\0{naps}")


def test_without_a_sign_of_life_a_program_ends(
    server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("bash")  # other shells cannot wait with a limit
    monkeypatch.setattr(linux_process, "_SILENCE_S", 1)
    with server.machine() as machine:
        machine.probe()
        process = machine.start(["sleep", "1000"])
        assert process.wait(Deadline(20)) == 128 + 15


def test_waiting_has_an_end(board: LinuxMachine) -> None:
    process = board.start(["sleep", "1000"])
    with pytest.raises(TimeLimitError, match=r"limit of 0.1 s passed while waiting for 'x'"):
        process.wait_line("x", Deadline(0.1))
    with pytest.raises(DeviceError, match=r"'sleep' did not end within 0.1 s"):
        board.run(["sleep", "1000"], timeout_s=0.1)
    quick = board.start(["sh", "-c", "echo no such model >&2; exit 2"])
    with pytest.raises(DeviceError, match="ended with exit code 2 before.*no such model"):
        quick.wait_line("x", Deadline(20))


@pytest.mark.parametrize(
    ("argv", "cores", "message"),
    [
        (["/no/such/program"], [], "cannot start '/no/such/program' on 'board': there is no such"),
        (["true"], [4000], "cannot pin to core 4000: 'board' lets us use"),
    ],
)
def test_what_cannot_be_started(
    board: LinuxMachine, argv: list[str], cores: list[int], message: str
) -> None:
    with pytest.raises(DeviceError, match=message):
        board.start(argv, cores=cores)


def test_a_file_is_copied_once_and_mended(
    server: Sshd, board: LinuxMachine, tmp_path: Path
) -> None:
    source = tmp_path / "a 'b'.sh"
    source.write_text("#!/bin/sh\necho hello\n")
    source.chmod(0o755)
    there = Path(board.deploy(source))
    assert board.run([str(there)]).stdout == "hello\n"
    first = there.stat().st_ino
    with server.machine() as other:
        other.probe()
        assert other.deploy(source) == str(there) and there.stat().st_ino == first
    there.write_text("#!/bin/sh\necho hellu\n")
    with server.machine() as other:
        other.probe()
        other.deploy(source)
    assert there.read_text() == source.read_text()
    assert not list(there.parent.glob("*.part"))
    source.write_text("another content")
    assert board.deploy(source) != str(there)


def test_a_file_comes_back(board: LinuxMachine, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(bytes(range(256)) * 1000)
    board.collect(str(tmp_path / "there"), tmp_path / "here")
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()
    with pytest.raises(DeviceError, match="there is no '/no/such/file' on 'board'"):
        board.collect("/no/such/file", tmp_path / "other")
    with pytest.raises(DeviceError, match="cannot write '.*folder"):
        board.collect(str(tmp_path / "there"), tmp_path / "folder" / "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


def test_staging_where_nothing_may_be_written(server: Sshd, tmp_path: Path) -> None:
    source = tmp_path / "x"
    source.write_text("x")
    (tmp_path / "file").write_text("")
    machine = LinuxMachine(server.description(staging=str(tmp_path / "file" / "sub")))
    with machine:
        machine.probe()
        with pytest.raises(DeviceError, match="'.*file/sub.*' on 'board'"):
            machine.deploy(source)
        with pytest.raises(UserError, match="cannot read '.*absent'"):
            machine.deploy(tmp_path / "absent")


def test_a_shell_that_stays(board: LinuxMachine) -> None:
    first = board.shell("echo $$; cd /; x=1").strip()
    assert board.shell("echo $$").strip() == first
    assert "yntax" in board.shell("if ; then")
    assert board.shell("echo $$; pwd").split() == [first, board.shell("cd; pwd").strip()]
    assert board.shell("echo a; echo b >&2; printf c").split() == ["a", "b", "c"]
    assert len(board.shell("head -c 3000000 /dev/zero | tr '\\0' x")) == 3_000_000
    assert board.shell("cat").strip() == ""
    with pytest.raises(DeviceError, match="the shell of 'board' ended in 'exit 3'"):
        board.shell("exit 3")
    assert board.shell("echo again").strip() == "again"


@pytest.mark.parametrize("rail", ["VDD_IN", "VDD_CPU_GPU_CV"])
def test_power_rails_over_the_link(board: LinuxMachine, tmp_path: Path, rail: str) -> None:
    root = orin_nano(tmp_path) / "sys/class/hwmon"
    table = {"kind": "hwmon", "root": str(root), "rail": rail}
    meter = make_meter(read_meter_spec(table), Link(board.shell, board.collect))
    with meter:
        meter.start()
        time.sleep(0.3)
        samples = meter.stop()
    assert len(samples) >= 5 and (np.diff(samples.time_s) > 0).all()
    expected = {"VDD_IN": 5.040, "VDD_CPU_GPU_CV": 5.032 * 0.152}[rail]
    np.testing.assert_allclose(samples.power_w, expected)
    # without a PATH there are only builtins: no process begins per reading
    files = ShellFiles(str(root), lambda line: board.shell(f"(PATH=; {line}\n)"))
    assert files.read(["hwmon1/in1_input", "hwmon1/curr1_input"]) == ["5040", "1000"]


def test_stopping_twice_and_after(server: Sshd) -> None:
    machine = server.machine()
    machine.stop()
    with pytest.raises(DeviceError, match="machine 'board' is not connected"):
        machine.state()
    machine.probe()
    machine.start(["sleep", f"2000.{os.getpid()}"])
    machine.stop()
    machine.stop()
    assert gone(f"sleep\0002000.{os.getpid()}")
