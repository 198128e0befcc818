"""A real adb server of our own, and phones for it: adb daemons of this computer."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gguf

from bench_melt.targets.android import AndroidMachine
from bench_melt.targets.description import Connection, Description, Thermal
from bench_melt.workloads.llm.http import Http
from tests.adbd_double import Adbd, Phone

RECORDED = Path(__file__).parent / "fixtures" / "phone"
_START_S = 20.0

# what a phone's commands say that this computer has not; $0/../.. is the phone's folder
_DUMPSYS = """\
#!/bin/sh
cat "${0%/*}/../dumpsys_$1.txt" 2>/dev/null || echo "Can't find service: $1"
"""
_GETPROP = """\
#!/bin/sh
cat "${0%/*}/../getprop.txt"
"""
_SETTINGS = """\
#!/bin/sh
echo 0
"""
_DF = """\
#!/bin/sh
echo "Filesystem      1K-blocks     Used Available Use% Mounted on"
echo "/dev/block/dm-45 233324524 53311072 $(cat "${0%/*}/../free_kib") 24% /data/user/0"
"""
_SYS = {
    "proc/meminfo": "MemTotal: 7395412 kB\nMemFree: 312000 kB\nMemAvailable: 3400000 kB\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-0-0\n",
    "sys/class/thermal/thermal_zone0/temp": "36100\n",
    "sys/class/thermal/thermal_zone1/type": "modem\n",
    "sys/class/thermal/thermal_zone1/temp": "",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "2016000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1171200\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "walt\n",
    "sys/devices/system/cpu/cpu7/cpufreq/cpuinfo_max_freq": "3360000\n",
    "sys/devices/system/cpu/cpu7/cpufreq/scaling_cur_freq": "595200\n",
    "sys/devices/system/cpu/cpu7/cpufreq/scaling_governor": "walt\n",
    # maker's names of supplies may hold anything
    "sys/class/power_supply/ucsi:qcom,ucsi1/type": "USB\n",
}


@dataclass
class Server:
    """An adb server with a port and a home of its own."""

    port: int
    home: Path
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def adb(self, *arguments: str, check: bool = True) -> str:
        """Run the real client."""
        done = subprocess.run(
            ["adb", "-P", str(self.port), *arguments],
            env=_environment(self.home),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def start_server(home: Path) -> Server:
    """Start a server on a free port, in the foreground, so that it ends with us."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    argv = ["adb", "-P", str(port), "nodaemon", "server"]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            argv, env=_environment(home), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    end_s = time.monotonic() + _START_S
    while time.monotonic() < end_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return Server(port, home, process)
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"adb server: {(home / 'server.log').read_text()}")


def _environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(home),
        "ANDROID_USER_HOME": str(home),
        "ADB_LOCAL_TRANSPORT_MAX_PORT": "5554",  # looks for no emulators
        "ADB_MDNS_AUTO_CONNECT": "0",
    }


def make_phone(folder: Path, **more: object) -> Phone:
    """Fill a folder with what a phone has: its commands, recorded answers, /proc and /sys."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    (folder / "data" / "local" / "tmp").mkdir(parents=True)
    (folder / "free_kib").write_text("180000000")
    for path in RECORDED.glob("*.txt"):
        shutil.copy(path, folder)
    toybox = shutil.which("toybox")
    assert toybox is not None
    listed = subprocess.run([toybox], capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        (programs / name).symlink_to(toybox)
    python = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
    own = {"dumpsys": _DUMPSYS, "getprop": _GETPROP, "settings": _SETTINGS, "df": _DF}
    for name, text in {**own, "python3": python}.items():
        (programs / name).unlink(missing_ok=True)
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for name, text in _SYS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Phone(folder, **more)  # type: ignore[arg-type]


@contextmanager
def plugged(server: Server, phone: Phone) -> Iterator[Adbd]:
    """Have a phone connected while the block runs."""
    daemon = Adbd(phone)
    try:
        server.adb("connect", daemon.serial, check=phone.authorised)
        yield daemon
    finally:
        if server.process.poll() is None:  # the client would start another one
            server.adb("disconnect", daemon.serial, check=False)
        daemon.close()


def describe(server: Server, folder: Path, serial: str | None, **more: object) -> Description:
    """Return the description of a phone of these tests."""
    return Description(
        name="galaxy",
        summary="",
        kind="android",
        tested="only in tests",
        connection=Connection(address=serial, server=server.address, root=folder),
        thermal=Thermal(zones=("cpu-*", "SKIN", "BAT", "battery", "USB", "PA", "ocp*")),
        **more,  # type: ignore[arg-type]
    )


def reached(server: Server, daemon: Adbd) -> AndroidMachine:
    """Return a phone's machine, probed."""
    machine = AndroidMachine(describe(server, daemon.phone.folder, daemon.serial))
    machine.probe()
    return machine


def write_gguf(path: Path) -> None:
    """Write a model's header without a model."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list(["a", "b", "c"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def page(address: str) -> bytes:
    """What a server at HOST:PORT answers to a request for its first page."""
    with Http(f"http://{address}").link(20.0) as link:
        answer = link.ask("GET", "/")
        assert answer.status == 200
        return answer.read()
