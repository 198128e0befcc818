"""`bench-melt devices` against an adb server and a usbmuxd of ours."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from serial.tools import list_ports

from bench_melt.commands.devices import command
from bench_melt.targets import devices
from bench_melt.targets.adb import AdbServer
from bench_melt.targets.devices import Found, search
from tests.adbd_double import Adbd
from tests.bench_rig import bench_melt
from tests.phone_rig import Server, make_phone, plugged
from tests.usbmux_double import UDID, IPhone, usbmuxd
from tinyengine.errors import UserError

pytestmark = pytest.mark.phone


def test_what_is_plugged_in(
    server: Server,
    phone: Adbd,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "i").mkdir()
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
    with (
        usbmuxd(IPhone(tmp_path / "i")) as muxd,
        plugged(server, make_phone(tmp_path / "other", authorised=False)) as other,
    ):
        monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", muxd.address)
        done = bench_melt("devices", "--json")
        command()
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = {row["address"]: row for row in found["devices"]}
    assert rows[phone.serial] == {
        "kind": "android",
        "address": phone.serial,
        "name": "SM_S911B",
        "problem": None,
    }
    assert "accept 'Allow USB debugging?'" in rows[other.serial]["problem"]
    assert (rows[UDID]["kind"], rows[UDID]["name"]) == ("ios", "over USB")
    assert found["unsearched"] == []
    shown = capsys.readouterr().out
    assert any(line.split() == ["ios", UDID, "over", "USB", "ready"] for line in shown.splitlines())


def test_tools_that_do_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = tmp_path / "adb"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(broken))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "9")
    monkeypatch.setenv("USBMUXD_SOCKET_ADDRESS", "127.0.0.1:9")
    monkeypatch.setattr(list_ports, "comports", list)
    command()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "nothing is plugged in"
    assert lines[1].startswith("android: not searched: no adb server runs at 127.0.0.1:9 and it")
    assert lines[2].startswith("ios: not searched: no usbmuxd answers at its usual socket")


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(list_ports, "comports", list)
    reasons = search().unsearched
    assert (
        "'adbutils' is not installed: pip install 'tinyengine-mcu[android]'" in reasons["android"]
    )
    assert "'pymobiledevice3' is not installed: pip install" in reasons["ios"]


def test_serial_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    named = SimpleNamespace(device="ttyACM0", manufacturer="ST", product="STLink", description="x")
    plain = SimpleNamespace(device="ttyUSB1", manufacturer=None, product=None, description="bridge")
    monkeypatch.setattr(devices.list_ports, "comports", lambda: [named, plain])
    monkeypatch.setattr(devices, "sorted", lambda ports: ports, raising=False)
    assert list(devices.serial_ports()) == [
        Found("serial", "ttyACM0", "ST STLink"),
        Found("serial", "ttyUSB1", "bridge"),
    ]


def test_a_server_that_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("host", "host:x", "host:0", ":5037"):
        with pytest.raises(UserError, match=f"adb server '{address}' is not of the form HOST:PORT"):
            AdbServer(address)
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "5999")
    assert AdbServer().address == "127.0.0.1:5999"
