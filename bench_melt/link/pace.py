"""How long to wait and how much to send at once, learned from the link itself."""

import math
from dataclasses import dataclass, field

from bench_melt.link.codes import COMPUTING, Code

_SMOOTHING = 1 / 8  # weight of the newest observation
_BASE_S = 0.03  # scheduling of two processes on a busy machine
_LONGEST_WAIT_S = 2.0
_FIRST_COMPUTE_S = 30.0  # a clean link loses nothing: no reason to ask twice
_FIRST_COMPUTE_LOSSY_S = 1.0
_MARGIN = 4.0
_EXCHANGE_OVERHEAD_BYTES = 32  # request and answer without data
_LEAST_BYTES = 8
_MEMORY_BYTES = 4000.0  # the loss rate is that of about the last so many bytes


@dataclass(slots=True)
class Pace:
    """Estimates for one link; `seconds_per_byte` is a lower bound that never shrinks."""

    seconds_per_byte: float
    failures: float = 0.0
    bytes_tried: float = 0.0
    durations_s: dict[Code, float] = field(default_factory=dict)

    @property
    def quiet_s(self) -> float:
        """Silence after a damaged frame that means nothing more will come of this attempt."""
        return 0.0003 + 16 * self.seconds_per_byte

    def wait_s(self, code: Code, wire_bytes: int, timeouts: int) -> float:
        """Return how long to wait for an answer, after so many waits for it in vain.

        A repeat is harmless, the device executes once; but it would wake a computing device, so on
        a link that has lost nothing so far the first long computation is waited for.
        """
        wait = _BASE_S + _MARGIN * wire_bytes * self.seconds_per_byte
        if code in COMPUTING:
            known = self.durations_s.get(code)
            first = _FIRST_COMPUTE_LOSSY_S if self.failures else _FIRST_COMPUTE_S
            wait += first if known is None else _MARGIN * known
            return float(wait * 2 ** min(timeouts, 6))
        return float(min(wait * 2 ** min(timeouts, 10), max(_LONGEST_WAIT_S, wait)))

    def observe(self, code: Code, wire_bytes: int, elapsed_s: float, attempts: int) -> None:
        """Learn from an exchange that succeeded at the last of `attempts`."""
        if attempts == 1:
            before = self.durations_s.get(code, elapsed_s)
            self.durations_s[code] = max(elapsed_s, before + _SMOOTHING * (elapsed_s - before))
        self._forget()
        self.bytes_tried += wire_bytes

    def fail(self, wire_bytes: int) -> None:
        """Learn that a frame or its answer was damaged or lost."""
        self._forget()
        self.failures += 1.0
        self.bytes_tried += wire_bytes

    def _forget(self) -> None:
        if self.bytes_tried > _MEMORY_BYTES:
            self.failures *= 0.5
            self.bytes_tried *= 0.5
            if self.failures < 0.01:
                self.failures = 0.0

    def chunk_bytes(self, largest: int) -> int:
        """Return the number of data bytes per frame that costs least.

        With q damages per byte and o bytes of overhead an exchange of n data bytes succeeds with
        probability exp(-q (n + o)); it costs (n + o) / n / that per byte delivered. The derivative
        vanishes at n (n + o) = o / q, so n = (sqrt(o^2 + 4 o / q) - o) / 2. Worked example: 1 % of
        bytes dropped, 1 % doubled, 1 % flipped: q = 0.03, o = 32, n = 20.
        """
        if self.failures == 0.0:
            return largest
        loss = self.failures / max(self.bytes_tried, 1.0)
        overhead = _EXCHANGE_OVERHEAD_BYTES
        best = (math.sqrt(overhead**2 + 4 * overhead / loss) - overhead) / 2
        return max(_LEAST_BYTES, min(largest, int(best)))
