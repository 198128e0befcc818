"""A computer that runs other people's programs: this one, a phone, a board with Linux.

The firmware targets beside this file run what we compile, and speak our frames; a `Machine` runs
a model's runner (a server, a benchmark) and is looked at from outside. One small class each behind
this protocol, made from a description in `boards/machines/`.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol

from tinyengine.errors import DeviceError


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """What a machine says of itself; None where it does not say."""

    os_build: str | None = None
    soc: str | None = None
    cpu_info: str | None = None
    gpu_info: str | None = None
    memory_bytes: int | None = None
    cores_max_hz: tuple[int, ...] = ()  # one per core, 0 where unknown
    architecture: str | None = None  # as uname -m


@dataclass(frozen=True, slots=True)
class State:
    """Its state at one moment; None where nobody reads it."""

    temperatures_c: Mapping[str, float] = field(default_factory=dict)  # zone -> degrees
    thermal_status: str | None = None
    governor: str | None = None
    power_mode: str | None = None
    cpu_hz: tuple[int, ...] = ()
    memory_available_bytes: int | None = None
    battery_percent: float | None = None
    battery_mah: float | None = None  # charge left, where a counter tells it
    charging: bool | None = None

    def hottest_c(self) -> float | None:
        """Return the highest temperature, None without any."""
        return max(self.temperatures_c.values(), default=None)


@dataclass(frozen=True, slots=True)
class Usage:
    """A process's memory and processor time so far; None where the machine does not tell."""

    rss_bytes: int | None = None
    rss_peak_bytes: int | None = None
    pss_bytes: int | None = None
    cpu_s: float | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


class Process(Protocol):
    """A program that runs on a machine."""

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""

    def wait(self, deadline: "Deadline") -> int:
        """Return its exit code once it ended.

        Raises:
            TimeLimitError: the deadline passed.
        """

    def wait_line(self, start: str, deadline: "Deadline") -> str:
        """Return the first line of its output (either stream) that begins with `start`.

        Raises:
            DeviceError: it ended before; quotes the last lines and the exit code.
            TimeLimitError: the deadline passed.
        """

    def tail(self) -> str:
        """Return its last lines, for messages."""

    def output(self) -> str:
        """Return all it wrote to stdout so far."""

    def usage(self) -> Usage:
        """Return its memory and processor time; of the highest values while it ran, once ended."""

    def kill(self) -> None:
        """End it, and what it started; harmless when it has ended."""


class Machine(Protocol):
    """A computer with a runner on it. Use as a context manager: leaving stops what was started.

    Every method raises DeviceError when the machine cannot be reached (any more), naming it.
    """

    name: str
    shares_files: bool  # True: a path of this computer is a path there too

    def probe(self) -> MachineInfo:
        """Reach the machine and ask what it is. Called first.

        Raises:
            DeviceError: absent, unauthorised, refusing: says which and what to do.
        """

    def deploy(self, source: Path) -> str:
        """Have a file there, once: return its path on the machine. Executable bits travel.

        Raises:
            DeviceError: no space left (with the numbers), no permission.
        """

    def start(
        self,
        argv: Sequence[str],
        *,
        cores: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> Process:
        """Start a program, pinned to `cores` if any are given.

        Raises:
            DeviceError: it cannot be executed, or cores cannot be pinned.
        """

    def run(self, argv: Sequence[str], *, timeout_s: float = 20.0) -> Output:
        """Run a short command to its end.

        Raises:
            DeviceError: it cannot be executed or outlasts `timeout_s`.
        """

    def tunnel(self, port: int) -> AbstractContextManager[str]:
        """Make TCP port `port` of the machine's loopback reachable: gives "HOST:PORT" here."""

    def state(self) -> State:
        """Return temperatures, clocks, battery and the like, now."""

    def collect(self, path: str, goal: Path) -> None:
        """Fetch a file of the machine.

        Raises:
            DeviceError: it is not there.
        """

    def stop(self) -> None:
        """End every process that start() began and let go of the connection; harmless twice."""

    def __enter__(self) -> "Machine": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class TimeLimitError(DeviceError):
    """A run took longer than its time limit."""


class Deadline:
    """The end of a run's time limit; every wait asks it how long it may still wait."""

    def __init__(self, limit_s: float = math.inf) -> None:
        """Start now, with so many seconds."""
        self.limit_s = limit_s
        self._end_s = time.monotonic() + limit_s
        self._paused_s: float | None = None  # since when it stands still
        self._cancelled = threading.Event()

    def remaining_s(self, what: str, *, at_most_s: float = math.inf) -> float:
        """Return the seconds left, but no more than `at_most_s`.

        Raises:
            TimeLimitError: none are left; names what would have been waited for.
        """
        left_s = self.left_s()
        if left_s <= 0 or self._cancelled.is_set():
            raise TimeLimitError(f"time limit of {self.limit_s:g} s passed while {what}")
        return min(left_s, at_most_s)

    def left_s(self) -> float:
        """Return the seconds left; below 0 once it passed."""
        now_s = self._paused_s
        return self._end_s - (time.monotonic() if now_s is None else now_s)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it stand still while the block runs: what is done once belongs to no repetition."""
        since_s = self._paused_s = time.monotonic()
        try:
            yield
        finally:
            self._end_s += time.monotonic() - since_s
            self._paused_s = None

    def cancel(self) -> None:
        """Let it pass now."""
        self._cancelled.set()
