"""Phones that cannot be used, or that go away: what is said, and that nothing hangs."""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench_melt.targets.adb import AdbServer, Listed, choose
from bench_melt.targets.android import AndroidMachine
from bench_melt.targets.description import load_machine, machine_names
from bench_melt.targets.machine import Deadline
from bench_melt.targets.reach import make_machine
from tests.adbd_double import Adbd
from tests.needs import package
from tests.phone_rig import (
    Server,
    describe,
    make_phone,
    plugged,
    reached,
    start_server,
)
from tinyengine.errors import DeviceError, UserError

pytestmark = pytest.mark.phone


class Listing(AdbServer):
    """A server that lists what the test says."""

    def __init__(self, *phones: Listed, said: str = "") -> None:
        super().__init__("127.0.0.1:9")
        self._phones, self._said = phones, said

    def listed(self) -> tuple[Listed, ...]:
        return self._phones

    def connect(self, address: str, *, again: bool) -> str:
        return self._said


A = Listed("A1", "device", "Pixel_8")


@pytest.mark.parametrize(
    ("phones", "wanted", "message"),
    [
        ((), None, "no phone is connected to the adb server at 127.0.0.1:9; plug it in, turn on"),
        ((A, Listed("B", "offline", None)), None, "2 phones are connected: 'A1' \\(device\\), 'B'"),
        (
            (A,),
            "C",
            "phone 'C' is not connected to the adb server .*; connected: 'A1' \\(device\\)",
        ),
        ((), "C", "connected: none"),
        (
            (Listed("A", "unauthorized", None),),
            "A",
            "allow this computer: unlock it and accept 'Allow USB",
        ),
        ((Listed("A", "authorizing", None),), "A", "still being asked whether it allows"),
        ((Listed("A", "offline", None),), None, "is offline: .* 'adb reconnect offline'"),
        ((Listed("A", "connecting", None),), None, "is still connecting: try again"),
        ((Listed("A", "no permissions", None),), None, "may not be opened by this user: .*plugdev"),
        ((Listed("A", "recovery", None),), None, "is in state 'recovery', not started up to Andr"),
        ((A,), "h:1", "cannot connect to 'h:1': refused; is wireless debugging on"),
    ],
)
def test_a_phone_that_cannot_be_used(
    phones: tuple[Listed, ...], wanted: str | None, message: str
) -> None:
    with pytest.raises(DeviceError, match=f"machine 'm'.*{message}"):
        choose(Listing(*phones, said="refused"), wanted, "m")


def test_the_only_phone_needs_no_name() -> None:
    assert choose(Listing(A), None, "m").serial == "A1"


def test_unauthorised_and_several_at_the_real_server(
    server: Server, phone: Adbd, tmp_path: Path
) -> None:
    with plugged(server, make_phone(tmp_path / "other", authorised=False)) as other:
        machine = AndroidMachine(describe(server, tmp_path, None))
        with pytest.raises(DeviceError, match=f"phones are connected: .*'{phone.serial}'.*address"):
            machine.probe()
        machine = AndroidMachine(describe(server, tmp_path, other.serial))
        with pytest.raises(DeviceError, match="does not allow this computer: unlock it and accept"):
            machine.probe()


def test_a_phone_is_connected_to_when_it_has_an_address(server: Server, phone: Adbd) -> None:
    server.adb("disconnect", phone.serial)
    with reached(server, phone) as machine:
        assert machine.run(["echo", "here"]).stdout == "here\n"


def test_an_address_that_nobody_has(server: Server, tmp_path: Path) -> None:
    machine = AndroidMachine(describe(server, tmp_path, "127.0.0.1:9"))
    with pytest.raises(
        DeviceError, match="cannot connect to '127.0.0.1:9': .*refused; is wireless"
    ):
        machine.probe()


def test_a_phone_too_old_for_exit_codes(server: Server, tmp_path: Path) -> None:
    with plugged(server, make_phone(tmp_path / "old", features="cmd")) as old:
        machine = AndroidMachine(describe(server, old.phone.folder, old.serial))
        with pytest.raises(DeviceError, match="too old: its adb has no 'shell_v2'"):
            machine.probe()


def test_a_phone_that_lets_nothing_be_written(server: Server, phone: Adbd) -> None:
    folder = phone.phone.folder / "data" / "local" / "tmp"
    folder.rmdir()
    folder.write_text("no folder")
    with pytest.raises(DeviceError, match="cannot make its folder '/data/local/tmp/bench-melt'"):
        reached(server, phone)


@pytest.mark.parametrize(
    "act",
    [
        lambda machine, process, path: process.wait(Deadline(30)),
        lambda machine, process, path: process.wait_line("never", Deadline(30)),
        lambda machine, process, path: machine.start(["true"]),
        lambda machine, process, path: machine.run(["true"]),
        lambda machine, process, path: machine.state(),
        lambda machine, process, path: machine.deploy(path),
        lambda machine, process, path: machine.collect("x", path),
        lambda machine, process, path: machine.tunnel(80).__enter__(),
    ],
    ids=["wait", "wait_line", "start", "run", "state", "deploy", "collect", "tunnel"],
)
def test_unplugged_in_the_middle(
    server: Server,
    phone: Adbd,
    tmp_path: Path,
    act: Callable[[AndroidMachine, object, Path], object],
) -> None:
    with reached(server, phone) as machine:
        process = machine.start(["sleep", "300"])
        phone.vanish()
        (tmp_path / "file").write_text("text")
        with pytest.raises(DeviceError, match=f"phone '{phone.serial}' .machine 'galaxy'. is"):
            act(machine, process, tmp_path / "file")
        start_s = time.monotonic()
    assert time.monotonic() - start_s < 10  # leaving does not wait for what is gone


def test_the_server_is_killed_in_the_middle(tmp_path: Path) -> None:
    server = start_server(tmp_path)
    with (
        plugged(server, make_phone(tmp_path / "device")) as phone,
        reached(server, phone) as machine,
    ):
        process = machine.start(["sleep", "300"])
        server.stop()
        for act in (lambda: process.wait(Deadline(30)), machine.state):
            with pytest.raises(DeviceError, match=f"adb server at {server.address} ended during"):
                act()
        machine.stop()
        server.process.wait(20)
        assert not AdbServer(server.address).answers()  # no other one was started in its place


def test_a_server_that_does_not_run_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start_server(tmp_path)
    first.stop()
    monkeypatch.setenv("HOME", str(tmp_path))
    server = AdbServer(first.address)
    try:
        server.ensure()
        assert server.answers()
    finally:
        first.adb("kill-server")


def test_a_server_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start_server(tmp_path)
    first.stop()
    broken = tmp_path / "adb"
    broken.write_text("#!/bin/sh\necho 'no libc' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(broken))
    with pytest.raises(DeviceError, match="cannot be started: no libc; install package adb"):
        AdbServer(first.address).ensure()
    with pytest.raises(
        DeviceError, match="no adb server answers at 192.0.2.1:5037: start it there"
    ):
        AdbServer("192.0.2.1:5037").ensure()
    with pytest.raises(
        DeviceError, match=f"the adb server at {first.address} fails: no adb server"
    ):
        AdbServer(first.address).listed()


HARNESS = """
import sys, time
from pathlib import Path
from bench_melt.targets.adb import AdbServer
from bench_melt.targets.android import AndroidMachine
from tests.needs import package
from tests.phone_rig import describe
class Server: address = sys.argv[1]
machine = AndroidMachine(describe(Server, Path(sys.argv[2]), sys.argv[3]))
machine.probe()
process = machine.start(["sh", "-c", "echo at $$; exec sleep 300"])
from bench_melt.targets.description import load_machine, machine_names
from bench_melt.targets.machine import Deadline
from bench_melt.targets.reach import make_machine
print(process.wait_line("at ", Deadline(20)), flush=True)
time.sleep(300)
"""


def test_what_a_killed_harness_started_ends(server: Server, phone: Adbd) -> None:
    argv = [sys.executable, "-c", HARNESS, server.address, str(phone.phone.folder), phone.serial]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        number = int(harness.stdout.readline().split()[1])
        assert Path(f"/proc/{number}").exists()
        harness.kill()
    end_s = time.monotonic() + 20
    while Path(f"/proc/{number}").exists() and time.monotonic() < end_s:
        time.sleep(0.01)
    assert not Path(f"/proc/{number}").exists()


def test_a_phone_that_comes_back_is_used_again(server: Server, tmp_path: Path) -> None:
    with plugged(server, make_phone(tmp_path / "device")) as phone:
        with reached(server, phone) as machine:
            phone.vanish()
            with pytest.raises(DeviceError, match="is offline"):
                machine.state()
        phone.come_back()
        with reached(server, phone) as machine:
            assert machine.run(["echo", "here"]).stdout == "here\n"


@pytest.mark.parametrize("name", [n for n in machine_names() if load_machine(n).kind != "linux"])
def test_every_description_of_a_phone_becomes_a_machine(name: str) -> None:
    package("pymobiledevice3")
    description = load_machine(name)
    machine = make_machine(description)
    assert machine.name == name and machine.shares_files == (description.kind == "local")
    numbers = {core for group in description.cores.values() for core in group}
    assert numbers == set(range(len(numbers)))  # every core is in a group


def test_a_kind_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, message in (
        (
            "pixel_8",
            "needs the python package 'adbutils': pip install 'tinyengine-mcu\\[android\\]'",
        ),
        ("iphone_14_pro", "'pymobiledevice3': pip install 'tinyengine-mcu\\[ios\\]'"),
    ):
        with pytest.raises(UserError, match=message):
            make_machine(load_machine(name))


def test_a_file_that_cannot_be_read(server: Server, phone: Adbd, tmp_path: Path) -> None:
    told = pytest.raises(UserError, match="cannot read '.*none': No such file")
    with reached(server, phone) as machine, told:
        machine.deploy(tmp_path / "none")
