"""A phone with Android as a machine that runs model runners, over adb.

Programs run as the user `shell`, without an app: from `/data/local/tmp`, the one folder of a phone
as it is sold where that user may execute what it wrote.
"""

import contextlib
import os
import posixpath
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from bench_melt.targets.adb import AdbServer, Phone, choose
from bench_melt.targets.adb_shell import StandingShell
from bench_melt.targets.android_files import files_of, info_from, properties_of, state_from
from bench_melt.targets.android_process import FILE_BYTES, AndroidProcess
from bench_melt.targets.base import StoppedAtExit
from bench_melt.targets.description import Description
from bench_melt.targets.file_hashes import FileHashes
from bench_melt.targets.forwards import Forwards
from bench_melt.targets.linux_files import INFO_FILES, STATE_FILES
from bench_melt.targets.machine import MachineInfo, Output, State
from tinyengine.errors import DeviceError

_HOME = "/data/local/tmp"  # what a relative staging folder is relative to
_CUT = "--bench-melt--"


class AndroidMachine(StoppedAtExit):
    """Runs programs on a phone. Files are pushed once."""

    shares_files = False

    def __init__(self, description: Description) -> None:
        """Remember what to reach; `probe` reaches it."""
        connection = description.connection
        self.name = description.name
        self._server = AdbServer(connection.server)
        self._wanted = connection.address
        self._zones = description.thermal.zones
        self._root = str(connection.root).rstrip("/")
        self._staging = posixpath.join(_HOME, description.staging)
        self._found: Phone | None = None
        self._hashes = FileHashes()
        self._processes: list[AndroidProcess] = []
        self._tunnels = Forwards()
        self._meters: StandingShell | None = None

    def probe(self) -> MachineInfo:
        """Reach the phone and ask what it is."""
        self._server.ensure()
        phone = choose(self._server, self._wanted, self.name)
        if "shell_v2" not in phone.features():
            raise DeviceError(f"{phone.label} is too old: its adb has no 'shell_v2' (Android 7)")
        self._found = phone
        made = phone.script(f"mkdir -p {shlex.quote(self._staging)}")
        if made.code != 0:
            raise DeviceError(
                f"{phone.label}: cannot make its folder '{self._staging}': {made.stderr.strip()}"
            )
        properties, surfaces, architecture, files = self._cut(
            "getprop", "dumpsys SurfaceFlinger", "uname -m", self._head(INFO_FILES)
        )
        return info_from(
            properties_of(properties),
            files_of(files, self._root),
            architecture.strip() or None,
            surfaces,
        )

    def deploy(self, source: Path) -> str:
        """Push a file unless the same bytes are there; they were checked when they came.

        The folder carries the start of the file's hash, so equal names do not meet.
        """
        phone = self._phone()
        mode = 0o755 if os.access(source, os.X_OK) else 0o644
        size, digest = self._hashes.of(source)
        folder = posixpath.join(self._staging, digest[:16])
        goal = posixpath.join(folder, source.name)
        there = phone.script(f"stat -c '%s %a' {shlex.quote(goal)}")
        if there.code == 0 and there.stdout.split() == [str(size), f"{mode:o}"]:
            return goal
        self._room_for(source, size)
        part = shlex.quote(f"{goal}.part")
        try:
            made = phone.script(f"mkdir -p {shlex.quote(folder)}")
            if made.code != 0:
                raise DeviceError(f"{phone.label}: cannot make '{folder}': {made.stderr.strip()}")
            try:
                phone.push(source, f"{goal}.part", mode)
            except DeviceError:
                self._room_for(source, size)  # if that was the reason, say so with the numbers
                raise
            self._finish(goal, mode, digest)
        except DeviceError:
            with contextlib.suppress(DeviceError):
                phone.script(f"rm -f {part}")
            raise
        return goal

    def start(
        self,
        argv: Sequence[str],
        *,
        cores: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> "AndroidProcess":
        """Start a program in a session of its own, in the staging folder."""
        words = list(argv)
        if env:
            words = ["env", *(f"{name}={value}" for name, value in env.items()), *words]
        if cores:
            words = ["taskset", self._mask(cores), *words]
        process = AndroidProcess(self._phone(), self._staging, argv[0], words)
        self._processes.append(process)
        return process

    def run(self, argv: Sequence[str], *, timeout_s: float = 20.0) -> Output:
        """Run a short command to its end."""
        process = AndroidProcess(self._phone(), self._staging, argv[0], list(argv))
        try:
            code = process.wait_quietly(timeout_s)
            if code is None:
                raise DeviceError(
                    f"{self._phone().label}: '{argv[0]}' did not end within {timeout_s:g} s"
                )
            return Output(code, process.output(), process.errors())
        finally:
            process.kill()

    def tunnel(self, port: int) -> AbstractContextManager[str]:
        """Forward a port through adb; a loss of the phone in the block is called that."""
        phone = self._phone()
        return self._tunnels.keep(phone.forward(port), phone.lost)

    def state(self) -> State:
        """Return temperatures, clocks and the like, now."""
        battery, thermal, low_power, files = self._cut(
            "dumpsys battery",
            "dumpsys thermalservice",
            "settings get global low_power",
            self._head(STATE_FILES),
        )
        return state_from(files_of(files, self._root), self._zones, battery, thermal, low_power)

    def collect(self, path: str, goal: Path) -> None:
        """Fetch a file; a relative path is in the staging folder."""
        whole = posixpath.join(self._staging, path)
        if self._phone().script(f"test -f {shlex.quote(whole)}").code != 0:
            raise DeviceError(f"{self._phone().label} has no file '{whole}'")
        self._phone().pull(whole, goal)

    def shell(self, line: str) -> str:
        """Run a command line for a meter, return what it printed."""
        if self._meters is None:
            self._meters = StandingShell(self._phone())
        return self._meters.run(line)

    def stop(self) -> None:
        """End what was started and remove the forwards."""
        processes, self._processes = self._processes, []
        for process in processes:
            process.kill()
        self._tunnels.close()
        meters, self._meters = self._meters, None
        if meters is not None:
            meters.close()

    def _phone(self) -> Phone:
        if self._found is None:
            self._server.ensure()
            self._found = choose(self._server, self._wanted, self.name)
        return self._found

    def _cut(self, *commands: str) -> list[str]:
        """Run commands in one go; return what each printed on stdout, "" where it failed."""
        text = f"; echo; echo {_CUT}; ".join(
            f"{{ {command}; }} 2>/dev/null" for command in commands
        )
        parts = self._phone().script(f"{text}; true").stdout.split(f"\n{_CUT}\n")
        return [*parts, *[""] * len(commands)][: len(commands)]

    def _head(self, patterns: Sequence[str]) -> str:
        """Return the command that prints files under their names; the shell expands patterns."""
        root = shlex.quote(self._root) if self._root else ""
        return f"head -v -c {FILE_BYTES} {' '.join(root + pattern for pattern in patterns)}"

    def _finish(self, goal: str, mode: int, digest: str) -> None:
        """Check what was pushed, and give it its name."""
        phone, part, quoted = self._phone(), shlex.quote(f"{goal}.part"), shlex.quote(goal)
        told = phone.script(f"sha256sum {part}", timeout_s=600.0)
        if told.code != 0 or told.stdout.split()[:1] != [digest]:
            said = told.stdout.split()[:1] or [told.stderr.strip()]
            raise DeviceError(
                f"{phone.label}: what arrived as '{goal}' has SHA-256 {said[0][:16]}, sent was "
                f"{digest[:16]}; try another cable"
            )
        moved = phone.script(f"chmod {mode:o} {part} && mv -f {part} {quoted}")
        if moved.code != 0:
            raise DeviceError(f"{phone.label}: cannot write '{goal}': {moved.stderr.strip()}")

    def _room_for(self, source: Path, size: int) -> None:
        """Refuse a file that is larger than what is free.

        Raises:
            DeviceError: with the numbers.
        """
        phone = self._phone()
        lines = phone.script(f"df -k {shlex.quote(self._staging)}").stdout.splitlines()
        fields = lines[-1].split() if lines else []
        if len(fields) < 4 or not fields[3].isdigit():
            return  # nothing to go by: the push itself will tell
        free = int(fields[3]) * 1024
        if free < size:
            raise DeviceError(
                f"{phone.label}: no space for '{source.name}': it has {size:,} B, free in "
                f"'{self._staging}' are {free:,} B; delete what is not needed there "
                f"('adb shell rm -r {self._staging}' removes all that was pushed)"
            )

    def _mask(self, cores: Sequence[int]) -> str:
        """Return the cores as the hexadecimal mask that Android's `taskset` wants.

        Raises:
            DeviceError: the phone does not let us use one of them.
        """
        phone = self._phone()
        mask = f"{sum(1 << core for core in set(cores)):x}"
        told = phone.script(f"taskset {mask} grep Cpus_allowed_list: /proc/self/status")
        allowed = _core_list(told.stdout.partition(":")[2]) if told.code == 0 else set()
        if absent := sorted(set(cores) - allowed):
            raise DeviceError(
                f"{phone.label}: cannot pin to core {absent[0]}: of {sorted(set(cores))} it grants "
                f"{sorted(allowed)} {told.stderr.strip()}".rstrip()
            )
        return mask


def _core_list(text: str) -> set[int]:
    """Return the numbers of a list as the kernel writes it: "0-3,7"."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found |= set(range(int(first), int(last or first) + 1))
    return found
