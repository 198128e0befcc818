"""A clock for threads that only sleep: it jumps to the next waking once all of them do."""

import heapq
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench_melt.workloads.llm.client import Answer


class VirtualTime:
    """In the place of the module `time`. `threads` is how many sleep and wake by it."""

    def __init__(self, threads: int) -> None:
        self._now_s, self._threads, self._sleeping = 1000.0, threads, 0
        self._wakings: list[float] = []
        self._changed = threading.Condition()

    def perf_counter(self) -> float:
        return self._now_s

    def sleep(self, wait_s: float) -> None:
        with self._changed:
            waking_s = self._now_s + wait_s
            heapq.heappush(self._wakings, waking_s)
            self._sleeping += 1
            self._jump()
            self._changed.wait_for(lambda: self._now_s >= waking_s)

    def leave(self) -> None:
        """One thread less will sleep."""
        with self._changed:
            self._threads -= 1
            self._jump()

    def _jump(self) -> None:
        """Where all sleep: go to the next waking; who wakes counts as awake from here on."""
        if self._sleeping == self._threads and self._wakings:
            self._now_s = max(self._now_s, self._wakings[0])
            while self._wakings and self._wakings[0] <= self._now_s:
                heapq.heappop(self._wakings)
                self._sleeping -= 1
            self._changed.notify_all()


@dataclass
class Queue:
    """A server of `slots` places: requests wait in order, tokens come at known times."""

    clock: VirtualTime
    first_s: float
    gaps_s: Sequence[float]
    slots: int = 1
    _free_s: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._free_s = [0.0] * self.slots

    def send(self, index: int) -> Answer:
        sent_s = self.clock.perf_counter()
        with self._lock:
            begun_s = max(sent_s, heapq.heappop(self._free_s))
            times = [begun_s + self.first_s]
            for gap_s in self.gaps_s:
                times.append(times[-1] + gap_s)
            heapq.heappush(self._free_s, times[-1])
        self.clock.sleep(times[-1] - sent_s)
        self.clock.leave()
        return Answer(sent_s, tuple(times), "", 4, None, len(times), None, ())
