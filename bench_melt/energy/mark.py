"""Makes the load step that a `sync` mark names, so that the join can find it in the samples."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench_melt.energy.events import SYNC, Event
from bench_melt.targets.machine import Deadline, Machine
from tinyengine.errors import DeviceError

Clock = Callable[[], float]
Span = tuple[float, float]
# draws more power for so many seconds; returns from when to when that was, if it knows
Load = Callable[[float], Span | None]

MARK_S = 0.2  # long enough for a meter of 50 Hz
QUIET_S = 0.3  # before and after: steady power makes the step stand out
_ANSWER_S = 20.0
_READINGS = 5
_TICK_S = 0.01  # of /proc/uptime

# nanoseconds where `date` knows %N, else seconds since boot in hundredths
_NOW = (
    "now() { t=$(date +%s%N 2>/dev/null); case $t in *[!0-9]*|'') t=;; ???????????????????) ;; "
    '*) t=;; esac; [ -n "$t" ] || read t rest < /proc/uptime; echo "$t"; }; '
)
_UPTIME = 'read t rest < /proc/uptime; echo "$t"'
# whoever spins looks now and then whether the shell that wants it is still there
_SPIN = (
    "spin() { while kill -0 $$; do i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; done; "
    "} 2>/dev/null; "
)


def mark(
    load: Load,
    clock: Clock = time.monotonic,
    *,
    length_s: float = MARK_S,
    quiet_s: float = QUIET_S,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Event, Event]:
    """Make a load step with quiet around it, and return its two events.

    The step is as long as the load made it, not as was asked: it says when that was, or else the
    clock is read before and after it.

    Args:
        load: `busy` on this computer, `pulse` of a pin or a simulated meter that switches one.
        clock: That of the other events.
        length_s: How long the load shall last.
        quiet_s: How long nothing shall happen before and after.
        sleep: How to wait.
    """
    sleep(quiet_s)
    before_s = clock()
    told = load(length_s)
    start_s, end_s = told or (before_s, clock())
    sleep(quiet_s)
    return Event(start_s, SYNC, "start"), Event(end_s, SYNC, "end")


def busy(length_s: float, clock: Clock = time.monotonic) -> Span:
    """Keep one core of this computer at work for so long; return from when to when."""
    start_s = now_s = clock()
    x = 1
    while now_s < start_s + length_s:
        for _ in range(200):  # the clock is not asked all the time: the core multiplies
            x = (x * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        now_s = clock()
    return start_s, now_s


def busy_on(cores: Sequence[int], clock: Clock = time.monotonic) -> Load:
    """Return `busy` on one of these cores of this computer; on any, if none are named."""

    def load(length_s: float) -> Span:
        spans: list[Span] = []

        def pinned() -> None:
            if cores and hasattr(os, "sched_setaffinity"):
                with contextlib.suppress(OSError):  # not ours to use: any core makes a step
                    os.sched_setaffinity(0, cores)  # of this thread alone
            spans.append(busy(length_s, clock))

        thread = threading.Thread(target=pinned, name="sync mark")
        thread.start()
        thread.join()
        return spans[0]

    return load


def pulse(
    switch: Callable[[bool], float | None], sleep: Callable[[float], None] = time.sleep
) -> Load:
    """Return the load of something that is switched on and off: a GPIO, a simulated meter.

    `switch` returns when it did, if it knows.
    """

    def load(length_s: float) -> Span | None:
        on_s, off_s = switch(True), None
        try:
            sleep(length_s)
        finally:
            off_s = switch(False)
        return None if on_s is None or off_s is None else (on_s, off_s)

    return load


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """A device's clock as this computer sees it.

    Attributes:
        ahead_s: How far it is ahead of the host's clock.
        doubt_s: How wrong that may be: half the quickest question and answer, and its own ticks.
    """

    ahead_s: float
    doubt_s: float


def read_clock(machine: Machine, clock: Clock = time.perf_counter, *, boot: bool) -> DeviceClock:
    """Ask a machine for its time a few times; the quickest answer counts.

    Args:
        machine: Whose clock.
        clock: The host's.
        boot: Seconds since boot; else whatever its shell tells most finely.

    Raises:
        DeviceError: it does not answer, or not with a time.
    """
    quickest = DeviceClock(0.0, float("inf"))
    script = _UPTIME if boot else f"{_NOW} now"
    for _ in range(_READINGS):
        asked_s = clock()
        answer = machine.run(["sh", "-c", script], timeout_s=_ANSWER_S)
        told_s = clock()
        device_s, tick_s = _time_of(answer.stdout)
        doubt_s = 0.5 * (told_s - asked_s + tick_s)
        if doubt_s < quickest.doubt_s:
            # a clock that ticks shows its last tick: on average it is half a tick later
            ahead_s = device_s + 0.5 * tick_s - 0.5 * (asked_s + told_s)
            quickest = DeviceClock(ahead_s, doubt_s)
    return quickest


def mark_on(
    machine: Machine,
    cores: Sequence[int],
    clock: Clock = time.perf_counter,
    *,
    length_s: float = MARK_S,
    quiet_s: float = QUIET_S,
) -> tuple[tuple[Event, Event], float]:
    """Make the load step on a machine behind a link; its own clock says when it was.

    One loop per core of `cores` (one, if none are named) runs in the machine's shell. Reading the
    time before the loops begin and after they were ended costs the shell about as much on either
    side, so the middle of the mark is right even where processes start slowly.

    Returns:
        The mark's two events in the clock of the host, and how wrong that clock may be in seconds.

    Raises:
        DeviceError: the machine cannot be reached, or its shell does not do this.
    """
    before = read_clock(machine, clock, boot=False)
    time.sleep(quiet_s)
    script = (
        f"{_NOW}{_SPIN}pids=; now; for c in {' '.join(map(str, cores)) or '0'}; do "
        f'spin & pids="$pids $!"; done; sleep {length_s:g}; kill $pids; now; wait'
    )
    process = machine.start(["sh", "-c", script], cores=cores)
    try:
        process.wait(Deadline(length_s + _ANSWER_S))
        lines = process.output().split()
    finally:
        process.kill()
    time.sleep(quiet_s)
    if len(lines) != 2:
        raise DeviceError(
            f"'{machine.name}' did not make the load of a sync mark: its shell said "
            f"{process.tail()!r}"
        )
    start_s, end_s = (_time_of(line)[0] - before.ahead_s for line in lines)
    events = Event(start_s, SYNC, "start"), Event(end_s, SYNC, "end")
    return events, before.doubt_s


def _time_of(text: str) -> tuple[float, float]:
    """Return seconds and the tick of what the shell told: nanoseconds, or 'seconds.hundredths'."""
    word = text.strip()
    try:
        if "." in word:
            return float(word), _TICK_S
        return int(word) / 1e9, 0.0
    except ValueError as error:
        raise DeviceError(f"the device's shell tells {word!r} for its time") from error
