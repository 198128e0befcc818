"""A program that runs on a phone, and what it writes."""

import contextlib
import shlex
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from bench_melt.targets.adb import Phone
from bench_melt.targets.android_files import files_of
from bench_melt.targets.linux_files import process_files, usage_of
from bench_melt.targets.machine import Deadline, Usage
from bench_melt.targets.shell_stream import ShellStream
from tinyengine.errors import DeviceError

FILE_BYTES = 1 << 16  # of one file of /proc or /sys
_START_S = 20.0
_END_S = 3.0
_WATCH_S = 2.0  # each look at a process starts a shell on the phone, which takes its time
_TAIL_LINES = 8


class AndroidProcess:
    """A program on a phone. adb's daemon gives each command a session and group of its own."""

    def __init__(self, phone: Phone, folder: str, name: str, words: Sequence[str]) -> None:
        """Start it; its first line, ours, is its process number.

        Raises:
            DeviceError: it is not there or not executable.
        """
        self._phone, self._name = phone, name
        self._usage = Usage()
        self._killing = threading.Lock()
        known = "test -f {0} -a -x {0}" if "/" in name else "which {0} >/dev/null"
        # exec: the shell's number becomes the program's
        self._stream: ShellStream = phone.shell(
            f"cd {shlex.quote(folder)} && {known.format(shlex.quote(name))} || "
            "{ echo 'not found, or not executable' >&2; exit 127; }; "
            f"echo pid $$; exec {shlex.join(words)} </dev/null"
        )
        try:
            self._pid = self._first_line()
        except BaseException:
            self._stream.close()
            raise

    def poll(self) -> int | None:
        """Return its exit code, None while it runs.

        Raises:
            DeviceError: the phone or the server is gone.
        """
        if self._stream.code is None and self._stream.ended:
            raise self._phone.gone(f"'{self._name}'")
        return self._stream.code

    def wait(self, deadline: Deadline) -> int:
        """Return its exit code once it ended."""
        looked_s = time.monotonic()
        while (code := self.poll()) is None:
            if time.monotonic() - looked_s > _WATCH_S:
                self.usage()
                looked_s = time.monotonic()
            self._stream.wait(deadline.remaining_s(f"'{self._name}' ran", at_most_s=0.2))
        return code

    def wait_quietly(self, timeout_s: float) -> int | None:
        """Return its exit code, None when it does not end in time."""
        self._stream.wait(timeout_s)
        return self.poll()

    def wait_line(self, start: str, deadline: Deadline) -> str:
        """Return the first line of its output that begins with `start`."""
        seen = 0
        while True:
            ended = self._stream.ended
            for text in (self.output(), self.errors()):
                for line in text.rpartition("\n")[0].splitlines():
                    if line.startswith(start):
                        return line
            if ended:
                raise DeviceError(
                    f"'{self._name}' ended with exit code {self.poll()} before it said '{start}'; "
                    f"it said: {self.tail()}"
                )
            left_s = deadline.remaining_s(
                f"waiting for '{start}' of '{self._name}': {self.tail()}", at_most_s=0.2
            )
            seen = self._stream.wait_more(seen, left_s)

    def tail(self) -> str:
        """Return its last lines, for messages."""
        lines = [*self.output().splitlines()[-_TAIL_LINES:], *self.errors().splitlines()]
        return " | ".join(line.strip() for line in lines[-_TAIL_LINES:]) or "nothing"

    def output(self) -> str:
        """Return all it wrote to stdout so far."""
        return self._stream.stdout().partition("\n")[2]

    def errors(self) -> str:
        """Return all it wrote to stderr so far."""
        return self._stream.stderr()

    def usage(self) -> Usage:
        """Return its memory and processor time: the highest values seen."""
        if self._stream.ended:
            return self._usage
        paths = " ".join(process_files(self._pid))
        told = self._phone.script(f"head -v -c {FILE_BYTES} {paths} 2>/dev/null; true")
        now = usage_of(files_of(told.stdout, ""))
        if now.rss_peak_bytes is not None:  # one that has ended has no memory to tell of
            pairs = [(now.pss_bytes, self._usage.pss_bytes), (now.rss_bytes, self._usage.rss_bytes)]
            pss, rss = (max((v for v in pair if v is not None), default=None) for pair in pairs)
            self._usage = replace(now, pss_bytes=pss, rss_bytes=rss)
        return self._usage

    def kill(self) -> None:
        """End its process group; what it wrote stays known."""
        with self._killing, contextlib.suppress(DeviceError):
            for signal in ("TERM", "KILL"):
                if self._stream.ended:
                    break
                self._phone.script(f"kill -s {signal} -- -{self._pid}")
                self._stream.wait(_END_S)
        self._stream.close()

    def _first_line(self) -> int:
        end_s = time.monotonic() + _START_S
        seen = 0
        while "\n" not in self._stream.stdout():
            if self._stream.ended:
                if self._stream.code is None:
                    raise self._phone.gone(f"the start of '{self._name}'")
                raise DeviceError(
                    f"{self._phone.label}: cannot start '{self._name}': "
                    f"{self._stream.stderr().strip() or 'no word'}"
                )
            if time.monotonic() > end_s:
                raise DeviceError(
                    f"{self._phone.label}: '{self._name}' did not start within {_START_S:g} s"
                )
            seen = self._stream.wait_more(seen, 0.2)
        return int(self._stream.stdout().split()[1])
