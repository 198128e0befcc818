"""Goodput: the highest arrival rate at which enough requests meet their limits, by bisection.

An open loop: requests leave at their times whether earlier ones are answered or not, as users do.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench_melt.targets.machine import Deadline
from bench_melt.workloads.llm.client import Answer
from bench_melt.workloads.tables import Goodput
from tinyengine.errors import DeviceError

_RATE_MIN_SHARE = 1 / 1024  # of the highest rate: below it goodput is 0


@dataclass(frozen=True, slots=True)
class Trial:
    """One rate that was tried."""

    rate_per_s: float
    share: float  # of the requests that met both limits


def find_goodput(
    wanted: Goodput, share_at: Callable[[float], float]
) -> tuple[float, Sequence[Trial]]:
    """Return the goodput in requests per second, and every rate that was tried.

    The share is taken to fall as the rate rises. First downwards from the highest rate by halves
    until one is met, then bisection between that and the one above.

    Args:
        wanted: Limits, highest rate, precision.
        share_at: Runs the load at a rate, returns the share that met both limits.
    """
    trials: list[Trial] = []

    def met(rate_per_s: float) -> bool:
        trials.append(Trial(rate_per_s, share_at(rate_per_s)))
        return trials[-1].share >= wanted.share

    high = wanted.rate_max_per_s
    if met(high):
        return high, trials
    low = high / 2
    while not met(low):
        high, low = low, low / 2
        if low < wanted.rate_max_per_s * _RATE_MIN_SHARE:
            return 0.0, trials
    while high / low - 1 > wanted.precision:
        middle = (low + high) / 2
        low, high = (middle, high) if met(middle) else (low, middle)
    return low, trials


def run_load(
    send: Callable[[int], Answer],
    wanted: Goodput,
    rate_per_s: float,
    *,
    seed: int,
    deadline: Deadline,
) -> float:
    """Send requests at a rate; return the share that met both limits.

    A request that fails did not meet them. TTFT counts from the time the request was due, so that a
    harness which lags behind makes the figure worse, never better.
    """
    due_s = _arrivals(wanted, rate_per_s, seed)
    lock, met = threading.Lock(), 0
    start_s = time.perf_counter() + 0.05

    def one(index: int) -> None:
        nonlocal met
        due = start_s + due_s[index]
        time.sleep(max(0.0, due - time.perf_counter()))
        try:
            answer = send(index)
        except DeviceError:
            return
        ttft_ms = (answer.token_s[0] - due) * 1000
        tpot_ms = answer.tpot_ms or 0.0
        with lock:
            met += ttft_ms <= wanted.ttft_ms and tpot_ms <= wanted.tpot_ms

    with ThreadPoolExecutor(max_workers=len(due_s)) as pool:
        for future in [pool.submit(one, index) for index in range(len(due_s))]:
            future.result(deadline.remaining_s(f"load of {rate_per_s:g} requests/s ran"))
    return met / len(due_s)


def _arrivals(wanted: Goodput, rate_per_s: float, seed: int) -> Sequence[float]:
    """Return when each request leaves, from 0."""
    if wanted.arrivals == "uniform":
        return [index / rate_per_s for index in range(wanted.requests)]
    draw = random.Random(seed)
    gaps = (draw.expovariate(rate_per_s) for _ in range(wanted.requests - 1))
    return [0.0, *itertools.accumulate(gaps)]
