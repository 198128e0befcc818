"""What every meter offers: start, stop, samples in the clock of whoever took them."""

import importlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from bench_melt.energy.samples import Floats, Samples
from tinyengine.errors import DeviceError, TinyEngineError, UserError

Clock = Callable[[], float]  # seconds, never falling
Shell = Callable[[str], str]  # runs a command line on the device, returns what it printed

_JOIN_S = 10.0
_GAP_S = 0.05  # samples later than this for good have lost some before them


@dataclass(frozen=True, slots=True)
class MeterInfo:
    """What a row says about its meter.

    Attributes:
        kind: Its kind, as in the table that describes it.
        identity: Model, serial number, file or folder: enough to find it again.
        rate_hz: Samples per second it aims at; None where it decides itself.
        channels: What it measures, with units: "current A", "package-0 J".
        clock: Whose clock stamps the samples: "meter", "host" or "device".
    """

    kind: str
    identity: str
    rate_hz: float | None
    channels: tuple[str, ...]
    clock: str


class Meter(Protocol):
    """An instrument. Use as a context manager: leaving ends what start() began."""

    @property
    def info(self) -> MeterInfo:
        """What it is; complete once started."""

    def start(self) -> None:
        """Begin to sample, and return once samples come.

        Raises:
            UserError: the library for it is missing, or this user may not read it.
            DeviceError: it is not there or does not answer.
        """

    def stop(self) -> Samples:
        """End, and return everything since start().

        Raises:
            DeviceError: it failed meanwhile, or delivered nothing.
        """

    def close(self) -> None:
        """End without samples; harmless when nothing runs."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class BaseMeter(ABC):
    """The part that is the same everywhere."""

    @property
    @abstractmethod
    def info(self) -> MeterInfo:
        """What it is."""

    @abstractmethod
    def start(self) -> None:
        """Begin to sample."""

    @abstractmethod
    def stop(self) -> Samples:
        """End, and return everything since start()."""

    @abstractmethod
    def close(self) -> None:
        """End without samples; harmless when nothing runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Worker:
    """A thread that does one thing over and over until told to end; its error is kept."""

    def __init__(self, name: str, turn: Callable[[], None], every_s: float, clock: Clock) -> None:
        self._turn = turn
        self._every_s = every_s
        self._clock = clock
        self._name = name
        self._end = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """End after the current turn.

        Raises:
            DeviceError: a turn failed, or does not come to its end.
        """
        self._end.set()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            raise DeviceError(f"meter '{self._name}' does not answer for {_JOIN_S:.0f} s")
        if isinstance(self._error, TinyEngineError):
            raise self._error
        if self._error is not None:
            raise DeviceError(f"meter '{self._name}' failed: {self._error}") from self._error

    def _run(self) -> None:
        due_s = self._clock()
        try:
            while not self._end.is_set():
                self._turn()
                due_s += self._every_s
                wait_s = due_s - self._clock()
                if wait_s < 0:
                    due_s -= wait_s  # behind: go on from here, do not catch up in a burst
                self._end.wait(max(wait_s, 0.0))
        except Exception as error:
            self._error = error


class PolledMeter(BaseMeter):
    """A meter that is asked again and again by a thread: `read` gives one row of numbers."""

    def __init__(self, every_s: float, clock: Clock = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._rows: list[tuple[float, ...]] = []
        self._worker: Worker | None = None

    @abstractmethod
    def read(self) -> tuple[float, ...] | None:
        """Ask once; None: nothing new."""

    @abstractmethod
    def convert(self, rows: Floats) -> Samples:
        """Return the samples of all rows (n, columns), n >= 1."""

    def start(self) -> None:
        """Ask once, so that what cannot work fails here, then go on in a thread."""
        self.close()
        self._rows = []
        self._take()
        self._worker = Worker(self.info.kind, self._take, self._every_s, self._clock)
        self._worker.start()

    def _take(self) -> None:
        row = self.read()
        if row is not None:
            self._rows.append(row)

    def stop(self) -> Samples:
        """Ask a last time, so that what ends now is covered, and return all."""
        worker, self._worker = self._worker, None
        if worker is None:
            raise DeviceError(f"meter '{self.info.kind}' was not started")
        worker.end()
        self._take()
        if not self._rows:
            raise DeviceError(f"meter '{self.info.kind}' ({self.info.identity}) gave no samples")
        return self.convert(np.array(self._rows, np.float64))

    def close(self) -> None:
        """End without samples."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()


def optional(module: str, package: str) -> Any:
    """Import a package that only one kind of meter needs.

    Raises:
        UserError: it is not installed, or cannot be loaded.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"this meter needs the python package '{package}' ({error}); install it with "
            "pip install 'tinyengine-mcu[meters]'"
        ) from error


def steps_between(time_s: Floats, energy_j: Floats) -> Samples:
    """Turn readings (n,) of an energy counter into samples (n - 1,) of power between them.

    Each stands in the middle of its interval, which makes trapezoids of them whole again. Readings
    at which the counter did not move on are left out: it is refreshed less often than asked.
    """
    fresh = np.concatenate([[True], (np.diff(energy_j) > 0) & (np.diff(time_s) > 0)])
    time_s, energy_j = time_s[fresh], energy_j[fresh]
    power_w = np.diff(energy_j) / np.diff(time_s)
    return Samples(0.5 * (time_s[1:] + time_s[:-1]), power_w)


def times_of_blocks(counts: list[int], arrivals_s: list[float], rate_hz: float) -> Floats:
    """Return times (sum of counts,) of samples of a meter that stamps nothing but keeps its rate.

    They are the host's, as near as the quickest arrival tells. Sample i is at i / rate, unless
    blocks arrive later by _GAP_S and more for good: then samples were lost before them, and the
    time jumps. Arrivals jitter, but only ever late, so the least lateness from a block on is what
    tells.

    Args:
        counts: Samples per block (k,), as they arrived.
        arrivals_s: When (k,), in the clock of the host.
        rate_hz: Samples per second.
    """
    many = np.array(counts, np.int64)
    late_s = np.array(arrivals_s) - np.cumsum(many) / rate_hz
    surely_s = np.minimum.accumulate(late_s[::-1])[::-1]  # rises by what is lost
    rises_s = np.diff(surely_s, prepend=surely_s[:1])
    jumps_s = np.cumsum(np.where(rises_s >= _GAP_S, rises_s, 0.0))
    since_s = np.arange(many.sum()) / rate_hz + np.repeat(jumps_s, many)
    return np.asarray(since_s + surely_s[0], np.float64)
