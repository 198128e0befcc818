"""A board with Linux, or any computer with it, over ssh."""

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from bench_melt.targets.description import Description
from bench_melt.targets.linux_board import (
    ASK_TOOLS,
    BOARD_INFO_FILES,
    BOARD_STATE_FILES,
    board_info,
    board_state,
    files_of,
    read_line,
)
from bench_melt.targets.linux_files import info_of, process_files, state_of, usage_of
from bench_melt.targets.linux_process import TOKEN, LinuxProcess, keeper
from bench_melt.targets.linux_staging import Staging
from bench_melt.targets.machine import Deadline, MachineInfo, Output, State, TimeLimitError, Usage
from bench_melt.targets.ssh_channel import RemoteShell
from bench_melt.targets.ssh_link import SshLink
from tinyengine.errors import DeviceError

_AGAIN_S = 5.0  # for finding a lost machine again, to end what runs there

# whatever carries our mark, also what left its process group
_END_ALL = (
    "for n in TERM KILL; do found=; for f in /proc/[0-9]*/environ; do "
    "if grep -qs {mark} $f; then p=${{f#/proc/}}; kill -$n ${{p%/environ}} && found=1; fi; done; "
    '[ -n "$found" ] || break; [ $n = KILL ] || sleep 1; done 2>/dev/null; true'
)


class LinuxMachine:
    """Runs programs over ssh. They end when the connection does."""

    shares_files = False

    def __init__(self, description: Description) -> None:
        """Take the description; `probe` connects."""
        self.name = description.name
        root = str(description.connection.root).rstrip("/")
        self._root, self._zones = root, description.thermal.zones
        self._link = SshLink(self.name, description.connection)
        self._token = secrets.token_hex(8)
        self._mark = f"@@{self._token}@@"
        self._ours, self._meters = RemoteShell(self._link), RemoteShell(self._link)
        self._staging = Staging(self._link, self._ours.run, description.staging)
        self._processes: list[LinuxProcess] = []

    def probe(self) -> MachineInfo:
        """Connect and ask what it is."""
        self._link.connect()
        architecture = self._ours.run("uname -m").strip() or None
        files = self._read(BOARD_INFO_FILES)
        return board_info(info_of(files, architecture), files)

    def deploy(self, source: Path) -> str:
        """Have a file there, copied once."""
        return self._staging.put(source)

    def start(
        self,
        argv: Sequence[str],
        *,
        cores: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> LinuxProcess:
        """Start a program in a process group of its own.

        Raises:
            DeviceError: it cannot be executed, or the cores are not there.
        """
        pinned = [*self._pinned(cores), *argv]
        script = keeper(pinned, {TOKEN: self._token, **(env or {})}, argv[0])
        process = LinuxProcess(self._link, argv, script, self._usage)
        self._processes.append(process)
        return process

    def run(self, argv: Sequence[str], *, timeout_s: float = 20.0) -> Output:
        """Run a short command to its end."""
        process = self.start(argv)
        try:
            code = process.wait(Deadline(timeout_s))
        except TimeLimitError as error:
            raise DeviceError(f"'{argv[0]}' did not end within {timeout_s:g} s") from error
        finally:
            process.kill()
            self._processes.remove(process)
        return Output(code, process.output(), process.errors())

    @contextmanager
    def tunnel(self, port: int) -> Iterator[str]:
        """Forward a port of ours to the machine's; a loss of the connection is called that."""
        try:
            with self._link.forward(port) as address:
                yield address
        except DeviceError as error:
            if self._link.lost() is None or isinstance(error, TimeLimitError):
                raise
            raise DeviceError(f"{self._link.lost_error()}; {error}") from error

    def state(self) -> State:
        """Return temperatures, clocks, power mode and the like, now."""
        files = self._read(BOARD_STATE_FILES)
        told = self._ours.run(ASK_TOOLS)
        return board_state(state_of(files, self._zones), files, self._zones, told)

    def collect(self, path: str, goal: Path) -> None:
        """Fetch a file."""
        self._staging.fetch(path, goal)

    def shell(self, line: str) -> str:
        """Run a command line for a meter, return what it printed.

        It is a shell that stays, of its own: what uses only builtins costs a round trip and no
        process on the machine, and does not wait for the harness.
        """
        return self._meters.run(line)

    def stop(self) -> None:
        """End every process that start() began, wherever the connection is."""
        for process in self._processes:
            process.ask_to_end()
        for process in self._processes:
            process.kill()
        if not all(process.is_over() for process in self._processes):
            self._end_all()
        self._processes.clear()
        self._ours.close()
        self._meters.close()
        self._link.close()

    def _end_all(self) -> None:
        """Find the machine again and end what carries our mark; else its leash ends it there."""
        with contextlib.suppress(DeviceError):
            self._link.connect(_AGAIN_S)
            self._ours.run(_END_ALL.format(mark=f"{TOKEN}={self._token}"))

    def _usage(self, pid: int) -> Usage:
        text = self._ours.run(read_line("", process_files(pid), self._mark))
        return usage_of(files_of(text, "", self._mark))

    def _read(self, patterns: Sequence[str]) -> dict[str, str]:
        text = self._ours.run(read_line(self._root, patterns, self._mark))
        return files_of(text, self._root, self._mark)

    def _pinned(self, cores: Sequence[int]) -> list[str]:
        """Return a prefix that pins a program to cores.

        Raises:
            DeviceError: a core that the machine has not, or no tool to pin with.
        """
        if not cores:
            return []
        text = self._ours.run("command -v taskset; cat /proc/self/status")
        allowed = _core_list(text)
        if absent := sorted(set(cores) - set(allowed)):
            raise DeviceError(
                f"cannot pin to core {absent[0]}: '{self.name}' lets us use {list(allowed)}"
            )
        if not text.splitlines()[0].endswith("taskset"):
            raise DeviceError(
                f"cannot pin to cores: '{self.name}' has no 'taskset' (package util-linux)"
            )
        return ["taskset", "-c", ",".join(str(core) for core in cores)]

    def __enter__(self) -> "LinuxMachine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _core_list(status: str) -> tuple[int, ...]:
    """Return the cores of /proc/self/status, which tells them as "0-3,6"."""
    line = next((s for s in status.splitlines() if s.startswith("Cpus_allowed_list:")), "")
    found: list[int] = []
    for part in line.partition(":")[2].strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)
