"""A phone with Android: the real adb client and adbutils against an adb daemon of ours."""

import os
import time
from pathlib import Path

import pytest

from bench_melt.meters.files import ShellFiles
from bench_melt.targets.machine import Deadline, TimeLimitError
from tests.adbd_double import HOME, Adbd
from tests.phone_rig import Server, page, reached
from tinyengine.errors import DeviceError

pytestmark = pytest.mark.phone

STAGING = f"{HOME}/bench-melt"


def program(folder: Path, text: str, name: str = "tool") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_real_client_and_the_daemon_understand_each_other(
    server: Server, phone: Adbd, tmp_path: Path
) -> None:
    on = ("-s", phone.serial)
    assert "model:SM_S911B" in server.adb("devices", "-l")
    said = server.adb(*on, "shell", "echo out; echo err >&2; exit 7", check=False)
    assert said == "out\nerr\n"
    data = os.urandom(700_000)
    (tmp_path / "x").write_bytes(data)
    server.adb(*on, "push", str(tmp_path / "x"), f"{HOME}/x")
    server.adb(*on, "pull", f"{HOME}/x", str(tmp_path / "y"))
    assert (tmp_path / "y").read_bytes() == data


def test_what_a_phone_is(server: Server, phone: Adbd) -> None:
    with reached(server, phone) as machine:
        info = machine.probe()
    build = "samsung/dm1qxeea/dm1q:14/UP1A.231005.007/S911BXXS3BXD1:user/release-keys"
    assert info.os_build == build
    assert info.soc == info.cpu_info == "QTI SM8550"
    assert info.gpu_info is not None and info.gpu_info.startswith("Qualcomm, Adreno (TM) 740")
    assert info.memory_bytes == 7395412 * 1024
    assert info.cores_max_hz == (2_016_000_000, 3_360_000_000)
    assert info.architecture == os.uname().machine


def test_the_state_of_a_phone(server: Server, phone: Adbd) -> None:
    with reached(server, phone) as machine:
        state = machine.state()
    # not the cached 99.9, nor a sensor that is off, no number, or not of degrees
    assert state.temperatures_c == {"cpu-0-0": 36.1, "battery": 28.5, "BAT": 28.5, "SKIN": 32.1}
    assert (state.thermal_status, state.governor, state.power_mode) == ("light", "walt", "normal")
    assert state.cpu_hz == (1_171_200_000, 595_200_000)
    assert state.memory_available_bytes == 3_400_000 * 1024
    assert (state.battery_percent, state.battery_mah, state.charging) == (87.0, 2954.0, True)


def test_what_a_phone_hides_is_unknown(server: Server, phone: Adbd) -> None:
    folder = phone.phone.folder
    for name in ("dumpsys_battery.txt", "dumpsys_thermalservice.txt"):
        (folder / name).unlink()
    (folder / "sys" / "class" / "thermal" / "thermal_zone0" / "temp").unlink()
    (folder / "bin" / "settings").unlink()
    with reached(server, phone) as machine:
        state = machine.state()
    assert (state.hottest_c(), state.thermal_status, state.power_mode) == (None, None, None)
    assert (state.battery_percent, state.battery_mah, state.charging) == (None, None, None)
    assert state.memory_available_bytes is not None


def test_a_program_is_pushed_once_and_runs(server: Server, phone: Adbd, tmp_path: Path) -> None:
    tool = program(tmp_path, 'echo "got $1 $WORD in $PWD"; echo bad >&2; exit 3', "a tool's")
    with reached(server, phone) as machine:
        there = machine.deploy(tool)
        stamp = phone.phone.path(there).stat().st_mtime_ns
        assert machine.deploy(tool) == there
        assert phone.phone.path(there).stat().st_mtime_ns == stamp
        process = machine.start([there, "it's $HOME; `x`"], env={"WORD": "a b"})
        assert process.wait(Deadline(20)) == 3
        folder = phone.phone.path(STAGING)
        assert process.output() == f"got it's $HOME; `x` a b in {folder}\n"
        assert process.tail().endswith("| bad")
        # other bytes under the same name are another file
        program(tmp_path, "echo new", "a tool's")
        assert machine.deploy(tool) != there
        assert machine.run([machine.deploy(tool)]).stdout == "new\n"


def test_a_file_that_was_cut_off_is_pushed_again(
    server: Server, phone: Adbd, tmp_path: Path
) -> None:
    source = tmp_path / "model.gguf"
    source.write_bytes(b"x" * 100_000)
    with reached(server, phone) as machine:
        there = phone.phone.path(machine.deploy(source))
        assert there.stat().st_mode & 0o777 == 0o644
        there.write_bytes(b"x" * 50)
        machine.deploy(source)
        assert there.stat().st_size == 100_000


def test_no_space_on_the_phone(server: Server, phone: Adbd, tmp_path: Path) -> None:
    source = tmp_path / "model.gguf"
    source.write_bytes(bytes(300_000))
    with reached(server, phone) as machine:
        (phone.phone.folder / "free_kib").write_text("100")
        with pytest.raises(DeviceError, match=r"no space for 'model.gguf': it has 300,000 B, free"):
            machine.deploy(source)
        # enough when asked, not when it is written
        (phone.phone.folder / "free_kib").write_text("100000")
        phone.phone.free_bytes = 100_000
        with pytest.raises(DeviceError, match="pushing 'model.gguf' failed: FAIL"):
            machine.deploy(source)
        assert not list(phone.phone.path(STAGING).rglob("*.part"))


def test_what_arrives_damaged_is_not_used(server: Server, phone: Adbd, tmp_path: Path) -> None:
    source = tmp_path / "model.gguf"
    source.write_bytes(bytes(300))
    tool = phone.phone.folder / "bin" / "sha256sum"
    tool.unlink()
    program(tool.parent, 'echo "0000000000000000000 $1"', "sha256sum")
    with reached(server, phone) as machine:
        with pytest.raises(DeviceError, match="has SHA-256 0000000000000000, sent was"):
            machine.deploy(source)
        assert not [p for p in phone.phone.path(STAGING).rglob("*") if p.is_file()]


def test_pinned_to_a_core(server: Server, phone: Adbd) -> None:
    with reached(server, phone) as machine:
        core = max(os.sched_getaffinity(0))
        argv = ["grep", "Cpus_allowed_list:", "/proc/self/status"]
        process = machine.start(argv, cores=[core])
        assert process.wait(Deadline(20)) == 0
        assert process.output().split() == ["Cpus_allowed_list:", str(core)]
        with pytest.raises(DeviceError, match="cannot pin to core 61: of \\[0, 61\\] it grants"):
            machine.start(argv, cores=[0, 61])


def test_memory_and_time_of_a_process(server: Server, phone: Adbd) -> None:
    code = "b = bytearray(30 << 20); print('ready', flush=True); import time; time.sleep(60)"
    with reached(server, phone) as machine:
        process = machine.start(["python3", "-c", code])
        assert process.wait_line("rea", Deadline(20)) == "ready"
        usage = process.usage()
        assert (usage.rss_peak_bytes or 0) > 30 << 20 and (usage.pss_bytes or 0) > 30 << 20
        assert usage.cpu_s is not None
        process.kill()
        assert process.usage() == usage and process.poll() == 128 + 15


def test_kill_ends_the_whole_group(
    server: Server, phone: Adbd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_melt.targets.android_process._END_S", 0.3)
    # the shell ignores the polite signal, its child would survive it
    tool = program(tmp_path, "trap '' TERM; sleep 300 & echo child $!; wait; wait")
    with reached(server, phone) as machine:
        process = machine.start([machine.deploy(tool)])
        child = int(process.wait_line("child ", Deadline(20)).split()[1])
        assert Path(f"/proc/{child}").exists()
        process.kill()
        process.kill()
        assert process.poll() == 128 + 9
        end_s = time.monotonic() + 10
        while Path(f"/proc/{child}").exists() and time.monotonic() < end_s:
            time.sleep(0.01)
        assert not Path(f"/proc/{child}").exists()


def test_a_tunnel_goes_when_it_is_not_needed(server: Server, phone: Adbd) -> None:
    argv = ["python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    with reached(server, phone) as machine:
        process = machine.start(argv)
        port = int(process.wait_line("Serving HTTP", Deadline(20)).split()[5])
        with machine.tunnel(port) as address:
            assert page(address)
            assert f"tcp:{port}" in server.adb("forward", "--list")
        assert f"tcp:{port}" not in server.adb("forward", "--list")
        with machine.tunnel(port):
            machine.stop()
            assert f"tcp:{port}" not in server.adb("forward", "--list")


def test_a_file_comes_back(server: Server, phone: Adbd, tmp_path: Path) -> None:
    with reached(server, phone) as machine:
        machine.run(["sh", "-c", "seq 1 20000 > 'the log'"])
        machine.collect("the log", tmp_path / "log")
        assert (tmp_path / "log").read_text().splitlines()[-1] == "20000"
        with pytest.raises(DeviceError, match=f"has no file '{STAGING}/none'"):
            machine.collect("none", tmp_path / "none")


def test_what_cannot_be_started(server: Server, phone: Adbd, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("text")
    with reached(server, phone) as machine:
        for name in ("/no/such", "nosuch", machine.deploy(plain)):
            with pytest.raises(DeviceError, match=f"cannot start '{name}': not found, or not exec"):
                machine.start([name])
        with pytest.raises(DeviceError, match="'sleep' did not end within 0.2 s"):
            machine.run(["sleep", "60"], timeout_s=0.2)
        process = machine.start(["sh", "-c", "echo no model >&2; exit 4"])
        with pytest.raises(DeviceError, match="exit code 4 before it said 'x'; it said: no model"):
            process.wait_line("x", Deadline(20))
        process = machine.start(["sleep", "60"])
        with pytest.raises(TimeLimitError, match="waiting for 'x' of 'sleep'"):
            process.wait_line("x", Deadline(0.1))
        with pytest.raises(TimeLimitError, match="'sleep' ran"):
            process.wait(Deadline(0.1))


def test_a_meter_reads_through_a_shell_that_stays(server: Server, phone: Adbd) -> None:
    supply = phone.phone.folder / "sys" / "class" / "power_supply" / "battery"
    supply.mkdir()
    (supply / "voltage_now").write_text("4012000\n")
    with reached(server, phone) as machine:
        first = machine.shell("echo $$")
        assert machine.shell("echo $$") == first  # one shell for all
        files = ShellFiles(str(supply), machine.shell)
        assert files.read(["voltage_now"]) == ["4012000"]
        assert machine.shell("printf half; false") == "half"
        phone.vanish()
        with pytest.raises(DeviceError, match=f"phone '{phone.serial}' .* is offline"):
            machine.shell("echo x")
