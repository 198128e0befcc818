"""What a workload gets and gives: a machine with a model on one side, measurements on the other."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench_melt.bandwidth import Bandwidth
from bench_melt.models import ModelFile
from bench_melt.record import Results
from bench_melt.targets.description import Description
from bench_melt.targets.machine import Deadline, Machine, MachineInfo
from tinyengine.errors import InternalError


@dataclass(frozen=True, slots=True)
class Event:
    """A phase on the host's clock (`time.perf_counter`), in seconds.

    count: tokens or inferences that it made, which its energy is divided by; None: not known.
    """

    phase: str
    start_s: float
    end_s: float
    count: int | None = 1


@dataclass(slots=True)
class EventLog:
    """Phases in the order of their ends; energy is asked for each of them."""

    events: list[Event] = field(default_factory=list)

    def add(self, phase: str, start_s: float, end_s: float, count: int | None = 1) -> None:
        """Note a phase that is over."""
        self.events.append(Event(phase, start_s, end_s, count))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note the block as a phase, also when it fails."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, start_s, time.perf_counter())


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that one repetition may use.

    folder: of the suite file, which its relative paths are relative to. cores: the numbers that
    processes are pinned to; none means all. bandwidth: the machine's, kept through the sweep.
    """

    machine: Machine
    description: Description
    info: MachineInfo
    model: ModelFile
    folder: Path
    cores: tuple[int, ...]
    warmups: int
    seed: int
    deadline: Deadline
    events: EventLog
    bandwidth: Bandwidth = field(default_factory=Bandwidth)


class Workload(Protocol):
    """One kind of work."""

    def check(self, model: ModelFile, folder: Path) -> None:
        """Refuse what cannot work before the sweep starts.

        Raises:
            UserError: a file is missing, or the model is of a kind that this workload cannot run.
        """

    def run(self, bench: Bench) -> Results:
        """Warm up, measure once, leave nothing running.

        Raises:
            DeviceError: anything that goes wrong on the machine; the sweep goes on.
        """


def resolve(path: Path, folder: Path) -> Path:
    """Return a path of a suite file, relative ones taken from the file's folder."""
    if path.is_absolute():
        return path
    if not folder.is_dir():
        raise InternalError(f"'{folder}' is no folder")
    return folder / path
