"""Makes the load step that a `sync` mark names, so that the join can find it in the samples."""

import time
from collections.abc import Callable

from bench_melt.energy.events import SYNC, Event

Clock = Callable[[], float]
Load = Callable[[float], None]  # draws more power for so many seconds, then returns

MARK_S = 0.2  # long enough for a meter of 50 Hz
QUIET_S = 0.3  # before and after: steady power makes the step stand out


def mark(
    load: Load,
    clock: Clock = time.monotonic,
    *,
    length_s: float = MARK_S,
    quiet_s: float = QUIET_S,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Event, Event]:
    """Make a load step with quiet around it, and return its two events.

    The step is as long as the load made it, not as was asked: its end is read when it returns.

    Args:
        load: `busy` on this computer; a command on a device; `pulse` of a pin that switches one.
        clock: That of the other events.
        length_s: How long the load shall last.
        quiet_s: How long nothing shall happen before and after.
        sleep: How to wait.
    """
    sleep(quiet_s)
    start_s = clock()
    load(length_s)
    end_s = clock()
    sleep(quiet_s)
    return Event(start_s, SYNC, "start"), Event(end_s, SYNC, "end")


def busy(length_s: float) -> None:
    """Keep one core of this computer at work for so long."""
    end_s = time.monotonic() + length_s
    x = 1
    while time.monotonic() < end_s:
        for _ in range(200):  # the clock is not asked all the time: the core multiplies
            x = (x * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF


def pulse(switch: Callable[[bool], None], sleep: Callable[[float], None] = time.sleep) -> Load:
    """Return the load of something that is switched on and off: a GPIO, a simulated meter."""

    def load(length_s: float) -> None:
        switch(True)
        try:
            sleep(length_s)
        finally:
            switch(False)

    return load


def shell_load(shell: Callable[[str], str]) -> Load:
    """Return the load of a loop in a device's own shell; asking and answering is part of the step.

    The device's clock decides when it ends, so a slow link makes the logged mark longer than the
    step: the join then takes the clearer of its edges and says so.
    """

    def load(length_s: float) -> None:
        milliseconds = max(1, round(length_s * 1000))
        shell(
            "now() { read a b < /proc/uptime; s=${a%.*}; f=${a#*.}; "
            "echo $((s * 1000 + 1$f * 10 - 1000)); }; "
            f"end=$(($(now) + {milliseconds})); while [ $(now) -lt $end ]; do :; done"
        )

    return load
