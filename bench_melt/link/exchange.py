"""Stop and wait: one request at a time, repeated until its answer comes, executed once."""

import random
import time
from collections.abc import Callable

from bench_melt.link.codes import ANSWER_BIT, COMPUTING, MEANING, Code, Status
from bench_melt.link.fault import DeviceFaultError, parse_fault
from bench_melt.link.frame import OVERHEAD_BYTES, Frame, FrameReader, encode_frame
from bench_melt.link.pace import Pace
from bench_melt.link.transport import Transport
from tinyengine.errors import DeviceError

Clock = Callable[[], float]


class Exchange:
    """One host session on a transport; the device drops what belongs to an earlier one."""

    def __init__(
        self,
        transport: Transport,
        *,
        patience_s: float = 10.0,
        compute_patience_s: float = 600.0,
        session: int | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """Prepare a session; nothing is sent yet.

        Args:
            transport: An open link.
            patience_s: How long a command that only uses the link may go unanswered.
            compute_patience_s: The same for commands that run the model.
            session: Session number 1..65535; random unless given.
            clock: Seconds that never run backwards.
        """
        self.transport = transport
        self.pace = Pace(transport.seconds_per_byte)
        self.repeats = 0  # requests sent again
        self.damaged = 0  # frames that arrived damaged, here or there
        self._patience_s = patience_s
        self._compute_patience_s = compute_patience_s
        self._session = session or random.SystemRandom().randrange(1, 1 << 16)
        self._sequence = 0
        self._clock = clock
        self._reader = FrameReader()

    def ask(self, code: Code, payload: bytes = b"") -> bytes:
        """Send a request, return its answer's payload.

        Raises:
            DeviceError: the device stays silent, refuses, or the link broke.
            DeviceFaultError: its processor faulted.
        """
        request = encode_frame(Frame(self._session, self._sequence, code, payload))
        body = self._until_answered(code, request)
        self._sequence = (self._sequence + 1) % 256
        status = body[0] if body else Status.ARGUMENT
        if status != Status.OK:
            meaning = next((text for s, text in MEANING.items() if s == status), "unknown status")
            raise DeviceError(
                f"the device at '{self.transport.name}' refuses {code.name} with status {status}: "
                f"{meaning}"
            )
        return body[1:]

    def _until_answered(self, code: Code, request: bytes) -> bytes:
        start = self._clock()
        limit_s = self._compute_patience_s if code in COMPUTING else self._patience_s
        wire_bytes = len(request) + OVERHEAD_BYTES
        attempt = timeouts = 0
        while True:
            # a repeat, and the very first request, first end what may hang in the device's decoder
            again = attempt > 0 or code is Code.HELLO
            # and where bytes get lost, a spare delimiter saves waiting for a frame's end in vain
            spare = b"\0" if self.pace.failures else b""
            self.transport.write((b"\0" if again else b"") + request + spare)
            wait_s = self.pace.wait_s(code, wire_bytes, timeouts)
            damaged = self.damaged
            body = self._await(code, self._clock() + min(wait_s, limit_s))
            attempt += 1
            elapsed_s = self._clock() - start
            if body is not None:
                self.pace.observe(code, wire_bytes + len(body), elapsed_s, attempt)
                return body
            if elapsed_s > limit_s:
                raise self._silent(code, elapsed_s, attempt)
            timeouts += self.damaged == damaged
            self.repeats += 1
            self.pace.fail(wire_bytes)

    def _await(self, code: Code, deadline: float) -> bytes | None:
        """Return the body of the answer, or None when it is time to ask again."""
        while (left_s := deadline - self._clock()) > 0:
            received = self.transport.read(left_s)
            for frame in self._reader.feed(received):
                if frame is None or frame.code == Code.NAK:
                    self.damaged += 1
                    deadline = min(deadline, self._clock() + self.pace.quiet_s)
                elif frame.code == Code.FAULT and frame.session == 0:
                    raise DeviceFaultError(parse_fault(frame.body[1:]))
                elif self._is_answer(frame, code):
                    return frame.body
        return None

    def _is_answer(self, frame: Frame, code: Code) -> bool:
        mine = (self._session, self._sequence, code | ANSWER_BIT)
        return (frame.session, frame.sequence, frame.code) == mine

    def _silent(self, code: Code, elapsed_s: float, attempts: int) -> DeviceError:
        return DeviceError(
            f"the device at '{self.transport.name}' is silent: no answer to {code.name} in "
            f"{elapsed_s:.1f} s ({attempts} attempts); last bytes received: "
            f"{self.transport.tail()}; is our firmware on it, and the speed of the port right?"
        )
