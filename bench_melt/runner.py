"""A sweep: every cell of a suite becomes one row, whatever happens to the machines on the way."""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bench_melt.bandwidth import Bandwidth
from bench_melt.models import ModelFile
from bench_melt.record import (
    Conditions,
    Identity,
    Outcome,
    Results,
    Row,
    Setting,
    TargetFacts,
)
from bench_melt.store import Run, Store
from bench_melt.suite import Cell, Cooldown, LoadedSuite
from bench_melt.targets.description import Description
from bench_melt.targets.machine import Deadline, Machine, MachineInfo, State, TimeLimitError
from bench_melt.workloads.workload import Bench, EventLog, Workload
from tinyengine.errors import DeviceError, TinyEngineError, UserError

_ATTEMPTS = 3  # a machine that could not be reached so often in a row is not tried again
_STOP_S = 10.0  # how long an abandoned workload may take to notice


class Energy(Protocol):
    """Whoever measures energy around a workload: begins before it, ends after it."""

    def measure(self, bench: Bench, work: Callable[[], Results], goal: Path) -> Results:
        """Run `work`, return its results with what the meter says about its events.

        A meter that fails costs the energy, never the results. `goal` is where samples are kept.
        """


@dataclass(frozen=True, slots=True)
class Rig:
    """What a sweep works with, made and checked before it begins.

    machines: name of the suite's target -> how to make it. energy: of targets with a meter.
    """

    descriptions: Mapping[str, Description]
    open_machine: Callable[[Description], Machine]
    models: Mapping[str, ModelFile]
    workloads: Mapping[str, Workload]
    energy: Mapping[str, Energy]
    setting: Setting  # revision and versions of this tool


@dataclass(frozen=True, slots=True)
class Summary:
    """How a sweep went. skipped: rows that were there already."""

    run_id: str
    measured: int
    failed: int
    skipped: int


class Watcher(Protocol):
    """Who is told how the sweep goes."""

    def begin(self, cell: Cell, done: int, total: int) -> None:
        """A repetition is about to start."""

    def end(self, row: Row) -> None:
        """A repetition has its row."""


def sweep(suite: LoadedSuite, rig: Rig, store: Store, watcher: Watcher, *, resume: bool) -> Summary:
    """Measure every cell that has no row yet.

    Args:
        suite: What to measure.
        rig: With what.
        store: Where rows go.
        watcher: Who is told.
        resume: Go on with the newest unfinished sweep of exactly this suite, if there is one. If
            all are finished, nothing is measured: who is killed with the last row written and
            resumed must not find every row twice.

    Raises:
        UserError: a row cannot be written.
    """
    run = store.run_to_resume(suite.sha256) if resume else None
    if run is None:
        run = _new_run(suite)
        store.add_run(run)
    finished = store.finished_cells(run.run_id)
    if run.finished_at is not None:
        return Summary(run.run_id, 0, 0, len(finished))
    failed = measured = 0
    with contextlib.ExitStack() as stack:
        stations = {
            name: Station(rig, description, stack) for name, description in rig.descriptions.items()
        }
        for done, cell in enumerate(suite.cells):
            if cell.key in finished:
                continue
            watcher.begin(cell, done, len(suite.cells))
            station = stations[cell.target.name]
            row = _row(run.run_id, suite, cell, rig, station, store.samples_folder)
            store.add_row(row)
            watcher.end(row)
            measured += row.outcome.status == "ok"
            failed += row.outcome.status == "failed"
    store.finish_run(run.run_id, _now())
    return Summary(run.run_id, measured, failed, len(finished))


class Station:
    """One target through the sweep: opened when first needed, opened again after a failure."""

    def __init__(self, rig: Rig, description: Description, stack: contextlib.ExitStack) -> None:
        """Remember how to open it; `stack` closes it in the end."""
        self.description = description
        self.bandwidth = Bandwidth()
        self._rig = rig
        self._stack = stack
        self._open: tuple[Machine, MachineInfo] | None = None
        self._failures = 0
        stack.callback(self.drop)

    def machine(self) -> tuple[Machine, MachineInfo]:
        """Return the machine, reached and probed.

        Raises:
            DeviceError: it cannot be reached; after a few times in a row it is not tried again.
        """
        if self._open is not None:
            return self._open
        if self._failures >= _ATTEMPTS:
            raise DeviceError(
                f"machine '{self.description.name}' could not be reached {_ATTEMPTS} times in a "
                "row and is not tried again in this sweep"
            )
        machine = self._rig.open_machine(self.description)
        try:
            info = machine.probe()
        except BaseException:
            self._failures += 1
            machine.stop()
            raise
        self._failures = 0
        self._open = (machine, info)
        return self._open

    def drop(self) -> None:
        """Let go of the machine, whatever state it is in."""
        if self._open is not None:
            machine, _ = self._open
            self._open = None
            with contextlib.suppress(TinyEngineError, OSError):
                machine.stop()


@dataclass(slots=True)
class _Draft:
    """What is known of a row so far: a failure keeps all of it."""

    info: MachineInfo | None = None
    before: State | None = None
    after: State | None = None
    cooldown_s: float | None = None
    results: Results | None = None


def _row(
    run_id: str, suite: LoadedSuite, cell: Cell, rig: Rig, station: Station, samples: Path
) -> Row:
    started_at, start_s = _now(), time.monotonic()
    draft = _Draft()
    reason = None
    try:
        _measure(suite, cell, rig, station, draft, samples / run_id)
    except UserError as error:
        reason = str(error)
    except (DeviceError, OSError) as error:
        reason = str(error) or type(error).__name__
        station.drop()  # whatever state it is in: the next repetition begins with a fresh one
    outcome = Outcome(
        status="ok" if reason is None else "failed",
        reason=reason,
        started_at=started_at,
        duration_s=time.monotonic() - start_s,
    )
    identity = Identity(
        run_id=run_id,
        cell_key=cell.key,
        position=cell.position,
        suite=suite.tables.suite.name,
        target=cell.target.name,
        model=cell.model.name,
        workload=cell.workload.name,
        workload_kind=cell.workload.kind,
        repetition=cell.repetition,
        seed=cell.seed,
    )
    cores = station.description.core_numbers(cell.target.cores)
    return Row(
        identity,
        outcome,
        _target_facts(station.description, draft.info, cores),
        _conditions(draft),
        _completed(draft.results or Results(), rig.models[cell.model.name], suite, rig),
    )


def _measure(
    suite: LoadedSuite, cell: Cell, rig: Rig, station: Station, draft: _Draft, samples: Path
) -> None:
    """Cool down, run the workload, look at the machine before and after."""
    settings = suite.tables.suite
    machine, draft.info = station.machine()
    draft.before, draft.cooldown_s = cool_down(machine, settings.cooldown)
    bench = Bench(
        machine=machine,
        description=station.description,
        info=draft.info,
        model=rig.models[cell.model.name],
        folder=suite.folder,
        cores=station.description.core_numbers(cell.target.cores),
        warmups=settings.warmups,
        seed=cell.seed,
        deadline=Deadline(settings.time_limit_s),
        events=EventLog(),
        bandwidth=station.bandwidth,
    )
    workload, energy = rig.workloads[cell.workload.name], rig.energy.get(cell.target.name)

    def work() -> Results:
        # the time that a meter takes before and after is not the workload's
        timed = replace(bench, deadline=Deadline(settings.time_limit_s))
        return _limited(lambda: workload.run(timed), timed, settings)

    goal = samples / f"{cell.position:05d}-{cell.key}.csv.gz"
    draft.results = work() if energy is None else energy.measure(bench, work, goal)
    draft.after = machine.state()


def _limited(work: Callable[[], Results], bench: Bench, settings: "_Limits") -> Results:
    """Run `work`, but no longer than the time limit: what ignores its deadline is cut off.

    A thread, because a library may block where no deadline reaches; stopping the machine ends what
    it waits for.
    """
    found: list[Results] = []
    failure: list[BaseException] = []

    def guarded() -> None:
        try:
            found.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=guarded, daemon=True, name="workload")
    thread.start()
    while thread.is_alive() and (left_s := bench.deadline.left_s() + 1.0) > 0:
        thread.join(left_s)  # the deadline may have stood still meanwhile
    if thread.is_alive():
        bench.deadline.cancel()
        bench.machine.stop()
        thread.join(_STOP_S)
        raise TimeLimitError(f"time limit of {settings.time_limit_s:g} s passed")
    if failure:
        raise failure[0]
    return found[0]


class _Limits(Protocol):
    @property
    def time_limit_s(self) -> float:
        """Seconds that one repetition may take."""


def cool_down(machine: Machine, rule: Cooldown) -> tuple[State, float]:
    """Wait until the machine may start; return its state then and the seconds waited.

    Raises:
        DeviceError: it stays too hot for `give_up_s`, or tells no temperature to go by.
    """
    start_s = time.monotonic()
    time.sleep(rule.min_s)
    while True:
        state = machine.state()
        waited_s = time.monotonic() - start_s
        if rule.below_c is None:
            return state, waited_s
        hottest_c = state.hottest_c()
        if hottest_c is None:
            raise DeviceError(
                f"'{machine.name}' tells no temperature, so 'cooldown.below_c = {rule.below_c:g}' "
                "cannot be kept; wait by time ('min_s') or name its zones in its description"
            )
        if hottest_c < rule.below_c:
            return state, waited_s
        if waited_s + rule.poll_s > rule.give_up_s:
            raise DeviceError(
                f"'{machine.name}' is still at {hottest_c:.1f} C after {waited_s:.0f} s, must be "
                f"below {rule.below_c:g} C to start; raise 'cooldown.below_c' or 'give_up_s'"
            )
        time.sleep(rule.poll_s)


def _target_facts(
    description: Description, info: MachineInfo | None, cores: tuple[int, ...]
) -> TargetFacts:
    known = info or MachineInfo()
    return TargetFacts(
        machine=description.name,
        machine_kind=description.kind,
        os_build=known.os_build,
        soc=known.soc or description.soc,
        cpu_info=known.cpu_info,
        gpu_info=known.gpu_info,
        memory_bytes=known.memory_bytes,
        cores=",".join(str(core) for core in cores) or None,
    )


def _conditions(draft: _Draft) -> Conditions:
    before, after = draft.before or State(), draft.after or State()
    used = None
    if before.battery_mah is not None and after.battery_mah is not None:
        used = before.battery_mah - after.battery_mah
    return Conditions(
        governor=before.governor,
        power_mode=before.power_mode,
        cpu_hz_before=max(before.cpu_hz, default=None),
        cpu_hz_after=max(after.cpu_hz, default=None),
        temperature_c_before=before.hottest_c(),
        temperature_c_after=after.hottest_c(),
        thermal_status=after.thermal_status or before.thermal_status,
        memory_available_bytes=before.memory_available_bytes,
        battery_percent_before=before.battery_percent,
        battery_percent_after=after.battery_percent,
        battery_mah_used=used,
        charging=before.charging,
        cooldown_s=draft.cooldown_s,
    )


def _completed(results: Results, model: ModelFile, suite: LoadedSuite, rig: Rig) -> Results:
    """Add what every row has: the model's file, this tool's revision and versions."""
    setting = replace(
        results.setting,
        git_revision=rig.setting.git_revision,
        tool_versions=rig.setting.tool_versions,
        warmups=suite.tables.suite.warmups,
    )
    return replace(results, model=model.facts, setting=setting)


def _new_run(suite: LoadedSuite) -> Run:
    started_at = _now()
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return Run(
        run_id=f"{stamp}-{secrets.token_hex(4)}",
        suite=suite.tables.suite.name,
        suite_sha256=suite.sha256,
        suite_text=suite.text,
        cells=len(suite.cells),
        started_at=started_at,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
