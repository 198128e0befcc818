"""Energy of one repetition: meter on, idle, sync mark, the work, sync mark, meter off, join."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bench_melt import record
from bench_melt.energy.events import Event, pair
from bench_melt.energy.figures import Counted, details_of, energy_of, warnings_of
from bench_melt.energy.join import EnergyReport, IdleWindowError, Window, join
from bench_melt.energy.keep import keep
from bench_melt.energy.mark import DeviceClock, busy_on, mark, mark_on, pulse, read_clock
from bench_melt.energy.metering import Metering
from bench_melt.energy.samples import Samples
from bench_melt.meters.base import Clock, Meter
from bench_melt.meters.make import Link, MeterSpec, make_meter
from bench_melt.meters.replay import SimulatedMeter
from bench_melt.record import Results
from bench_melt.targets.machine import Machine
from bench_melt.workloads.workload import Bench
from bench_melt.workloads.workload import Event as LoggedPhase
from tinyengine.errors import DeviceError, TinyEngineError

_Answer = TypeVar("_Answer")
OpenMeter = Callable[[MeterSpec, Link, Clock], Meter]

_METER_S = 60.0  # an instrument that takes longer to start, or to hand over its samples, hangs
_QUIET_S = 0.3  # before and after a mark
_SETTLE_S = 0.2  # whatever starting the meter made this computer do
_SHELL_S = 60.0
_FAULTS = (TinyEngineError, OSError, ArithmeticError, ValueError)


class MeteredWork:
    """Measures the energy of whatever work is handed to it; see `bench_melt.runner.Energy`."""

    def __init__(self, metering: Metering, open_meter: OpenMeter = make_meter) -> None:
        """Take the suite's table; every repetition opens the meter anew."""
        self._metering = metering
        self._open_meter = open_meter

    def measure(self, bench: Bench, work: Callable[[], Results], goal: Path) -> Results:
        """Run `work`; return its results with the energy of its phases.

        What fails on the meter's side leaves the energy None and says so in `meter_warnings`: the
        results of the work are kept.

        Args:
            bench: The machine, and the log that `work` writes.
            work: The workload.
            goal: Where raw samples are kept, `.csv.gz`.
        """
        recording = _Recording(self._metering, bench, self._open_meter)
        try:
            recording.begin()
        except _FAULTS as error:
            recording.abandon()
            return _with(work(), recording.silent(error), {})
        try:
            results = work()
        except BaseException:
            recording.abandon()
            raise
        return recording.finish(results, goal)


@dataclass(slots=True)
class _Recording:
    """One repetition under the meter."""

    metering: Metering
    bench: Bench
    open_meter: OpenMeter
    meter: Meter | None = None
    idle: Window | None = None
    marks: list[Event] = field(default_factory=list)
    boot_clocks: list[tuple[float, DeviceClock]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Start the meter, let the machine idle, make the first mark."""
        options = self.metering.options
        self.meter = self.open_meter(self.metering.spec, link_to(self.bench), time.perf_counter)
        _in_time(f"meter '{self.metering.kind}' starts", self.meter.start)
        time.sleep(_SETTLE_S)
        if options.idle_s:
            from_s = time.perf_counter()
            time.sleep(options.idle_s)
            self.idle = (from_s, time.perf_counter())
        self._sync()

    def finish(self, results: Results, goal: Path) -> Results:
        """Make the second mark, end the meter, keep its samples, and join."""
        assert self.meter is not None
        try:
            self._sync()
        except _FAULTS as error:
            self.notes.append(f"no sync mark after the work: {error}")
        if isinstance(self.meter, SimulatedMeter):
            self.meter.play((e.phase, e.start_s, e.end_s) for e in self.bench.events.events)
        try:
            samples = _in_time(f"meter '{self.metering.kind}' stops", self.meter.stop)
            samples = self._on_host_clock(samples)
        except _FAULTS as error:
            self.abandon()
            return _with(results, self.silent(error), {})
        self.abandon()
        kept = self._keep(samples, goal)
        try:
            report = self._join(samples)
        except _FAULTS as error:
            return _with(results, replace(self.silent(error), samples_file=kept), {})
        phases = [
            Counted(energy, logged.count)
            for energy, logged in zip(report.phases, self._phases(), strict=True)
        ]
        notes = [*self.notes, *warnings_of(report)]
        energy = replace(
            energy_of(self._name(), report, phases),
            samples_file=kept,
            meter_warnings="; ".join(notes) or None,
        )
        return _with(results, self._own_clock(energy), details_of(report, self.idle))

    def silent(self, error: BaseException) -> record.Energy:
        """Return the columns of a row whose energy is not known."""
        why = "; ".join([*self.notes, f"no energy: {error}"])
        return record.Energy(meter=self._name(), meter_warnings=why)

    def abandon(self) -> None:
        """Let go of the meter, whatever state it is in."""
        if self.meter is not None:
            try:
                _in_time(f"meter '{self.metering.kind}' closes", self.meter.close)
            except _FAULTS as error:
                self.notes.append(f"the meter does not close: {error}")

    def _name(self) -> str:
        if self.meter is None:
            return self.metering.kind
        return f"{self.metering.kind}: {self.meter.info.identity}"

    def _sync(self) -> None:
        """Make a mark, or read the clock that stands in for one."""
        options, machine, cores = self.metering.options, self.bench.machine, self.bench.cores
        length_s = options.mark_s
        if options.sync == "none":
            return
        if options.sync == "clock":
            read = read_clock(machine, time.perf_counter, boot=True)
            self.boot_clocks.append((time.perf_counter(), read))
        elif isinstance(self.meter, SimulatedMeter):
            load = pulse(self.meter.switch)
            self.marks += mark(load, time.perf_counter, length_s=length_s, quiet_s=_QUIET_S)
        elif machine.shares_files:
            load = busy_on(cores, time.perf_counter)
            self.marks += mark(load, time.perf_counter, length_s=length_s, quiet_s=_QUIET_S)
        else:
            events, doubt_s = mark_on(machine, cores, length_s=length_s, quiet_s=_QUIET_S)
            self.marks += events
            note = f"the device's clock is known to {doubt_s * 1e3:.1f} ms when a mark is made"
            self.notes += [] if self.notes else [note]

    def _on_host_clock(self, samples: Samples) -> Samples:
        """Return them with stamps of the host's clock where the device's own was read."""
        if not self.boot_clocks:
            return samples
        at_s, ahead_s, doubt_s = self._boot_line()
        rate = (ahead_s[-1] - ahead_s[0]) / (at_s[-1] - at_s[0]) if len(at_s) > 1 else 0.0
        own_s = samples.time_s
        host_s = own_s - ahead_s[0] - rate * (own_s - ahead_s[0] - at_s[0])
        self.notes.append(
            f"clocks joined by reading the device's boot clock, known to {doubt_s * 1e3:.1f} ms"
        )
        return replace(samples, time_s=host_s)

    def _boot_line(self) -> tuple[list[float], list[float], float]:
        at_s = [at for at, _ in self.boot_clocks]
        ahead_s = [clock.ahead_s for _, clock in self.boot_clocks]
        return at_s, ahead_s, max(clock.doubt_s for _, clock in self.boot_clocks)

    def _own_clock(self, energy: record.Energy) -> record.Energy:
        """Return the columns with the offset of a clock that was read and not found."""
        if not self.boot_clocks:
            return energy
        return replace(energy, clock_offset_s=self.boot_clocks[0][1].ahead_s)

    def _phases(self) -> list[LoggedPhase]:
        """Return the phases of the log that last any time, in order."""
        found = [e for e in self.bench.events.events if e.end_s > e.start_s]
        return sorted(found, key=lambda e: e.start_s)

    def _log(self) -> list[Event]:
        rows = list(self.marks)
        for phase in self._phases():
            rows.append(Event(phase.start_s, phase.phase, "start"))
            rows.append(Event(phase.end_s, phase.phase, "end"))
        return rows

    def _keep(self, samples: Samples, goal: Path) -> str | None:
        try:
            keep(samples, self._log(), goal)
        except OSError as error:
            self.notes.append(f"raw samples are not kept: {error.strerror or error} ('{goal}')")
            return None
        return str(goal)

    def _join(self, samples: Samples) -> EnergyReport:
        events = pair(self._log(), "the workload's log")
        if isinstance(self.meter, SimulatedMeter):
            self.notes.append("the meter is simulated: these joules were not measured")
        if self.idle is None:
            self.notes.append("idle was not measured: joules are the whole device's")
            return join(samples, events)
        try:
            return join(samples, events, self.idle)
        except IdleWindowError as error:
            self.notes.append(f"{error}: joules are the whole device's")
            self.idle = None
            return join(samples, events)


def link_to(bench: Bench) -> Link:
    """Return how a meter inside the machine under test is asked."""
    machine = bench.machine
    if machine.shares_files:
        return Link()

    def shell(line: str) -> str:
        done = machine.run(["sh", "-c", line], timeout_s=_SHELL_S)
        if done.code:
            said = done.stderr.strip() or done.stdout.strip() or "nothing"
            raise DeviceError(
                f"'{machine.name}': a command ended with {done.code}; it said: {said}"
            )
        return done.stdout

    return Link(shell, machine.collect, battery_of(machine))


class _Phone(Protocol):
    def battery(self) -> Mapping[str, Any]:
        """Return the properties of an iPhone's AppleSmartBattery."""


def battery_of(machine: Machine | _Phone) -> Callable[[], Mapping[str, Any]] | None:
    """Return what reads an iPhone's battery, if this machine is one."""
    found: Callable[[], Mapping[str, Any]] | None = getattr(machine, "battery", None)
    return found if callable(found) else None


def _with(results: Results, energy: record.Energy, details: Mapping[str, Any]) -> Results:
    return replace(results, energy=energy, details={**results.details, **details})


def _in_time(what: str, call: Callable[[], _Answer]) -> _Answer:
    """Return what `call` returns, but wait no longer than a minute for it.

    Raises:
        DeviceError: it takes longer, or fails in a way that its class does not know.
    """
    answers: list[_Answer] = []
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            answers.append(call())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=guarded, daemon=True, name=what)
    thread.start()
    thread.join(_METER_S)
    if thread.is_alive():
        raise DeviceError(f"{what}: nothing happened for {_METER_S:.0f} s")
    if failures and isinstance(failures[0], TinyEngineError):
        raise failures[0]
    if failures:
        raise DeviceError(f"{what}: {failures[0] or type(failures[0]).__name__}") from failures[0]
    return answers[0]
