"""This computer as a machine that runs model runners."""

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from bench_melt.targets.description import Description
from bench_melt.targets.linux_files import (
    INFO_FILES,
    STATE_FILES,
    info_of,
    process_files,
    state_of,
    usage_of,
)
from bench_melt.targets.machine import Deadline, MachineInfo, Output, State, Usage
from bench_melt.targets.process import dies_with_us
from tinyengine.errors import DeviceError

_POLL_S = 0.002
_END_S = 3.0
_TAIL_LINES = 8


class LocalMachine:
    """Runs programs beside us. Nothing is copied: a path is a path."""

    shares_files = True

    def __init__(self, description: Description) -> None:
        """Look at `/proc` and `/sys` below the description's root."""
        self.name = description.name
        self._root = description.connection.root
        self._zones = description.thermal.zones
        self._processes: list[LocalProcess] = []

    def probe(self) -> MachineInfo:
        """Return what this computer is."""
        return info_of(self._read(INFO_FILES), platform.machine())

    def deploy(self, source: Path) -> str:
        """Return the file's own path."""
        return str(source.resolve())

    def start(
        self,
        argv: Sequence[str],
        *,
        cores: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> "LocalProcess":
        """Start a program in a process group of its own.

        Raises:
            DeviceError: it cannot be executed, or the cores are not there.
        """
        process = LocalProcess([*_pinned(cores), *argv], env or {})
        self._processes.append(process)
        return process

    def run(self, argv: Sequence[str], *, timeout_s: float = 20.0) -> Output:
        """Run a short command to its end."""
        try:
            done = subprocess.run(argv, capture_output=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired as error:
            raise DeviceError(f"'{argv[0]}' did not end within {timeout_s:g} s") from error
        except OSError as error:
            raise DeviceError(f"cannot run '{argv[0]}': {error.strerror}") from error
        return Output(
            done.returncode, *(s.decode(errors="replace") for s in (done.stdout, done.stderr))
        )

    @contextmanager
    def tunnel(self, port: int) -> Iterator[str]:
        """Give the port itself: nothing lies between."""
        yield f"127.0.0.1:{port}"

    def state(self) -> State:
        """Return temperatures, clocks and the like, now."""
        return state_of(self._read(STATE_FILES), self._zones)

    def collect(self, path: str, goal: Path) -> None:
        """Copy a file."""
        try:
            shutil.copyfile(path, goal)
        except OSError as error:
            raise DeviceError(f"cannot fetch '{path}': {error.strerror}") from error

    def stop(self) -> None:
        """End every process that start() began."""
        for process in self._processes:
            process.kill()
        self._processes.clear()

    def _read(self, patterns: Sequence[str]) -> dict[str, str]:
        """Return path -> text of every readable file that matches, paths as without the root."""
        found = {}
        for pattern in patterns:
            for path in sorted(self._root.glob(pattern.lstrip("/"))):
                with contextlib.suppress(OSError):
                    text = path.read_text(encoding="utf-8", errors="replace")
                    found[f"/{path.relative_to(self._root)}"] = text
        return found

    def __enter__(self) -> "LocalMachine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class LocalProcess:
    """A program of this computer; what it writes goes to unnamed files."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            DeviceError: it cannot be executed.
        """
        self._argv = tuple(argv)
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as we do
        self._err: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - likewise
        self._usage = Usage()
        self._texts = ("", "")
        try:
            self._process = subprocess.Popen(
                [*dies_with_us(), *argv],
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
                env={**os.environ, **env},
                start_new_session=True,
            )
        except OSError as error:
            self._out.close()
            self._err.close()
            raise DeviceError(f"cannot start '{argv[0]}': {error.strerror}") from error

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self._process.poll()

    def wait(self, deadline: Deadline) -> int:
        """Return its exit code once it ended."""
        while (code := self.poll()) is None:
            self.usage()
            left_s = deadline.remaining_s(f"'{self._argv[0]}' ran", at_most_s=0.2)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(left_s)
        return code

    def wait_line(self, start: str, deadline: Deadline) -> str:
        """Return the first line of its output that begins with `start`."""
        while True:
            ended = self.poll() is not None
            for text in (self.output(), self._errors()):
                for line in text.rpartition("\n")[0].splitlines():
                    if line.startswith(start):
                        return line
            if ended:
                raise DeviceError(
                    f"'{self._argv[0]}' ended with exit code {self.poll()} before it said "
                    f"'{start}'; it said: {self.tail()}"
                )
            deadline.remaining_s(f"waiting for '{start}' of '{self._argv[0]}': {self.tail()}")
            time.sleep(_POLL_S)

    def tail(self) -> str:
        """Return its last lines, for messages."""
        lines = [*self.output().splitlines()[-_TAIL_LINES:], *self._errors().splitlines()]
        return " | ".join(line.strip() for line in lines[-_TAIL_LINES:]) or "nothing"

    def output(self) -> str:
        """Return all it wrote to stdout so far."""
        return self._texts[0] if self._out.closed else _text(self._out)

    def _errors(self) -> str:
        return self._texts[1] if self._err.closed else _text(self._err)

    def usage(self) -> Usage:
        """Return its memory and processor time; the last known, once ended."""
        files = {}
        for path in process_files(self._process.pid):
            with contextlib.suppress(OSError):
                files[path] = Path(path).read_text(encoding="utf-8", errors="replace")
        now = usage_of(files)
        if now.rss_peak_bytes is not None:  # a zombie has no memory to tell of
            self._usage = now
        return self._usage

    def kill(self) -> None:
        """End its process group; what it wrote stays known."""
        if self.poll() is None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_END_S)
                    break
        self._texts = (self.output(), self._errors())
        self._out.close()
        self._err.close()


def _text(file: IO[bytes]) -> str:
    # pread leaves the position alone, which the writing child shares
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode("utf-8", errors="replace")


def _pinned(cores: Sequence[int]) -> list[str]:
    """Return a prefix that pins a program to cores.

    Raises:
        DeviceError: a core that this computer has not, or no tool to pin with.
    """
    if not cores:
        return []
    allowed = os.sched_getaffinity(0)
    if absent := sorted(set(cores) - allowed):
        raise DeviceError(
            f"cannot pin to core {absent[0]}: this computer lets us use {sorted(allowed)}"
        )
    tool = shutil.which("taskset")
    if tool is None:
        raise DeviceError("cannot pin to cores: 'taskset' (package util-linux) is not installed")
    return [tool, "--cpu-list", ",".join(str(core) for core in cores)]
