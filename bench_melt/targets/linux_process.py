"""A program on a machine with Linux that never outlives whoever started it."""

import contextlib
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from bench_melt.targets.machine import Deadline, Usage
from bench_melt.targets.ssh_link import SshLink
from tinyengine.errors import DeviceError

TOKEN = "BENCH_MELT_TOKEN"

_START_S = 20.0
_GRACE_S = 3  # between asking a program to end and ending it
_SILENCE_S = 30  # without a sign of life from us, after which it is ended
_TAIL_LINES = 8
_USAGE_S = 1.0  # between looks at a program that we wait for

# The channel's stdin is its leash: at its end (we closed it, were killed, or the connection broke),
# or after a silence (the cable was pulled; only bash can wait with a limit), the whole process
# group is ended. All in one compound command: a shell reads it whole before it begins.
_KEEPER = """{{
command -v {program} >/dev/null 2>&1 || {{ echo absent; exit 127; }}
exec 3<&0 </dev/null
{exports}
setsid sh -c 'echo "pid $$"; exec "$@"' sh {argv} 3<&- &
pid=$!
(
  if command -v bash >/dev/null 2>&1
  then bash -c 'while read -r -t {silence} _; do :; done'
  else cat >/dev/null
  fi <&3
  kill -TERM -$pid || kill -TERM $pid
  sleep {grace}
  kill -KILL -$pid || kill -KILL $pid
) >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait $pid 2>/dev/null
code=$?
kill $watch 2>/dev/null
kill -KILL -$pid 2>/dev/null
exit $code
}}
"""


def keeper(argv: Sequence[str], exports: Mapping[str, str], program: str) -> str:
    """Return the script that starts `argv` and ends it; `program` must be there."""
    lines = (f"export {name}={shlex.quote(value)}" for name, value in exports.items())
    return _KEEPER.format(
        program=shlex.quote(program),
        exports="; ".join(lines),
        argv=shlex.join(argv),
        silence=_SILENCE_S,
        grace=_GRACE_S,
    )


class LinuxProcess:
    """One program; its lines come over the connection as they are written."""

    def __init__(
        self, link: SshLink, argv: Sequence[str], script: str, look: Callable[[int], Usage]
    ) -> None:
        """Start it.

        Args:
            link: The connection.
            argv: What runs, for messages.
            script: From `keeper`.
            look: Reads the usage of a process.

        Raises:
            DeviceError: it is not there, or cannot be executed.
        """
        self._name, self._link, self._look = argv[0], link, look
        self._usage = Usage()
        self._channel = link.open("exec sh", script.encode())
        self.pid = self._pid()

    def _pid(self) -> int:
        channel = self._channel
        with channel.changed:
            channel.changed.wait_for(lambda: b"\n" in channel.out or channel.over(), _START_S)
            line, newline, rest = bytes(channel.out).partition(b"\n")
            channel.out[:] = rest
        if newline and line.startswith(b"pid "):
            return int(line[4:])
        self._link.soon(channel.close)
        if channel.lost is not None:
            raise self._link.lost_error(channel.lost)
        if line == b"absent":
            raise DeviceError(
                f"cannot start '{self._name}' on '{self._link.name}': there is no such program, "
                "or it may not be executed"
            )
        said = _text(channel.err).strip() or _text(line) or "nothing"
        raise DeviceError(f"cannot start '{self._name}' on '{self._link.name}': it said: {said}")

    def is_over(self) -> bool:
        """Return whether it ended, or its end was told; False also when the connection is lost."""
        return self._channel.code() is not None

    def poll(self) -> int | None:
        """Return its exit code, None while it runs; 128 and a signal's number after a signal.

        Raises:
            DeviceError: the connection was lost before it ended.
        """
        code = self._channel.code()
        if code is None and self._channel.lost is not None:
            raise self._link.lost_error(self._channel.lost)
        return code

    def wait(self, deadline: Deadline) -> int:
        """Return its exit code once it ended."""
        while (code := self.poll()) is None:
            self.usage()
            left_s = deadline.remaining_s(f"'{self._name}' ran", at_most_s=_USAGE_S)
            self._until(self._channel.over, left_s)
        return code

    def wait_line(self, start: str, deadline: Deadline) -> str:
        """Return the first line of its output that begins with `start`."""
        while True:
            with self._channel.changed:
                code, seen = self.poll(), len(self._channel.out) + len(self._channel.err)
                texts = (_text(self._channel.out), _text(self._channel.err))
            for text in texts:
                for line in text.rpartition("\n")[0].splitlines():
                    if line.startswith(start):
                        return line
            if code is not None:
                raise DeviceError(
                    f"'{self._name}' ended with exit code {code} before it said '{start}'; it "
                    f"said: {self.tail()}"
                )
            what = f"waiting for '{start}' of '{self._name}': {self.tail()}"
            left_s = deadline.remaining_s(what, at_most_s=0.2)
            self._until(partial(self._grew, seen), left_s)

    def _grew(self, seen: int) -> bool:
        return self._channel.over() or len(self._channel.out) + len(self._channel.err) > seen

    def _until(self, found: Callable[[], bool], limit_s: float) -> bool:
        with self._channel.changed:
            return self._channel.changed.wait_for(found, limit_s)

    def tail(self) -> str:
        """Return its last lines, for messages."""
        lines = [*self.output().splitlines()[-_TAIL_LINES:], *self.errors().splitlines()]
        return " | ".join(line.strip() for line in lines[-_TAIL_LINES:]) or "nothing"

    def output(self) -> str:
        """Return all it wrote to stdout so far."""
        with self._channel.changed:
            return _text(self._channel.out)

    def errors(self) -> str:
        """Return all it wrote to stderr so far."""
        with self._channel.changed:
            return _text(self._channel.err)

    def usage(self) -> Usage:
        """Return its memory and processor time; the last known, once ended."""
        if not self._channel.over():
            now = self._look(self.pid)
            if now.rss_peak_bytes is not None:  # a zombie has no memory to tell of
                highest = max(now.pss_bytes or 0, self._usage.pss_bytes or 0)
                self._usage = replace(now, pss_bytes=highest or None)
        return self._usage

    def ask_to_end(self) -> None:
        """Let go of its leash; what it said stays known."""
        if not self._channel.over():
            self._link.soon(self._channel.end_input)

    def kill(self) -> None:
        """End its process group; without a connection it ends by itself."""
        self.ask_to_end()
        end_s = time.monotonic() + _GRACE_S + 2.0
        while not self._channel.over() and time.monotonic() < end_s:
            self._until(self._channel.over, 0.1)
        with contextlib.suppress(DeviceError):
            self._link.soon(self._channel.close)


def _text(data: bytes | bytearray) -> str:
    return data.decode("utf-8", errors="replace")
