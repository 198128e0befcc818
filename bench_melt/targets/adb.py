"""Phones behind an adb server, through `adbutils`; a failure is a DeviceError that names one."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import adbutils
from adbutils.errors import AdbError

from bench_melt.targets.machine import Output
from bench_melt.targets.shell_stream import ShellStream
from tinyengine.errors import DeviceError, UserError

_HOST, _PORT = "127.0.0.1", 5037
_ANSWER_S = 10.0
_START_S = 20.0
_LEAVE_S = 1.0  # how long a phone that was unplugged may still be listed
_FORGET_S = 5.0  # how long the server may still know a connection that was given up
_GLANCE_S = 0.3  # likewise, where it most likely is there
_FAILURES = (AdbError, OSError, EOFError)

# state that the adb server tells -> what it means and what to do
_STATES = {
    "unauthorized": (
        "does not allow this computer: unlock it and accept 'Allow USB debugging?'; if it does not "
        "ask, revoke the authorisations in its developer options and plug it in again"
    ),
    "authorizing": "is still being asked whether it allows this computer: unlock it and accept",
    "offline": (
        "is offline: adb knows it, but it does not answer; plug it in again, or run "
        "'adb reconnect offline'"
    ),
    "connecting": "is still connecting: try again in a moment",
    "no permissions": (
        "may not be opened by this user: install package android-sdk-platform-tools-common (its "
        "udev rules), join the group plugdev, and plug it in again"
    ),
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A phone as the server lists it. model: None where it does not say."""

    serial: str
    state: str
    model: str | None

    def problem(self) -> str | None:
        """Return what keeps it from being used and what to do; None: nothing."""
        if self.state == "device":
            return None
        return _STATES.get(
            self.state, f"is in state '{self.state}', not started up to Android: restart it"
        )


class AdbServer:
    """The process on this computer that all of adb talks through."""

    def __init__(self, address: str | None = None) -> None:
        """Name it as HOST:PORT; None: the one that `adb` itself would use.

        Raises:
            UserError: no such address.
        """
        usual = f"{_HOST}:{os.environ.get('ANDROID_ADB_SERVER_PORT') or _PORT}"
        host, _, port = (address or usual).rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise UserError(f"adb server '{address or usual}' is not of the form HOST:PORT")
        self.host, self.port = host, int(port)
        self.client = adbutils.AdbClient(host=self.host, port=self.port)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    def answers(self) -> bool:
        """Return whether it runs."""
        try:
            with socket.create_connection((self.host, self.port), timeout=2.0):
                return True
        except OSError:
            return False

    def ensure(self) -> None:
        """Start it if it does not run.

        Raises:
            DeviceError: it cannot be started, or should run on another computer.
        """
        if self.answers():
            return
        if self.host not in ("127.0.0.1", "localhost"):
            raise DeviceError(f"no adb server answers at {self.address}: start it there")
        try:
            argv = [adbutils.adb_path(), "-P", str(self.port), "start-server"]
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=_START_S, check=False
            )
            said = done.stderr.strip() or f"exit code {done.returncode}"
        except (AdbError, OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
        if not self.answers():
            raise DeviceError(
                f"no adb server runs at {self.address} and it cannot be started: {said}; install "
                "package adb, then 'adb start-server'"
            )

    def listed(self) -> tuple[Listed, ...]:
        """Return the phones that it knows, usable or not.

        Raises:
            DeviceError: it does not answer.
        """
        try:
            self._must_answer()
            found = self.client.list(extended=True)
        except _FAILURES as error:
            raise DeviceError(f"the adb server at {self.address} fails: {error}") from error
        return tuple(
            Listed(
                info.serial,
                # the words after "no permissions" are a note for people
                "no permissions" if info.state == "no" else str(info.state),
                info.tags.get("model"),
            )
            for info in found
        )

    def connect(self, address: str, *, again: bool) -> str:
        """Ask it to connect to a phone at HOST:PORT; return what it answers.

        again: it holds a connection that is broken.
        """
        try:
            if again:
                self.client.disconnect(address)
            return str(self.client.connect(address, timeout=_START_S)).strip()
        except _FAILURES as error:
            return str(error)

    def _must_answer(self) -> None:
        # adbutils would start another server, on the usual port, which knows none of these phones
        if not self.answers():
            raise ConnectionError(f"no adb server answers at {self.address}")


class Phone:
    """One phone."""

    def __init__(self, server: AdbServer, serial: str, machine: str) -> None:
        """Name its server, its serial, and the machine whose description it fits."""
        self.server = server
        self.serial = serial
        self.label = f"phone '{serial}' (machine '{machine}')"

    def features(self) -> frozenset[str]:
        """Return what its daemon offers."""
        with self._naming("asking what it offers"):
            connection = self._open(f"host-serial:{self.serial}:features")
            with connection:
                return frozenset(connection.read_string_block().split(","))

    def shell(self, command: str) -> ShellStream:
        """Run a command line in the phone's shell, its stdin empty."""
        with self._naming("starting a command"):
            return ShellStream(self._service(f"shell,v2,raw:{command}"))

    def script(self, text: str, timeout_s: float = _ANSWER_S * 2) -> Output:
        """Run a short command line to its end.

        Raises:
            DeviceError: the phone is gone, or it outlasts `timeout_s`.
        """
        stream = self.shell(text)
        try:
            if not stream.wait(timeout_s):
                raise DeviceError(f"{self.label}: '{text[:60]}' did not end within {timeout_s:g} s")
            if stream.code is None:
                raise self.gone(f"'{text[:60]}'")
            return Output(stream.code, stream.stdout(), stream.stderr())
        finally:
            stream.close()

    def push(self, source: Path, goal: str, mode: int) -> None:
        """Copy a file to the phone."""
        with self._naming(f"pushing '{source.name}'"):
            self._device().sync.push(source, goal, mode, check=True)

    def pull(self, path: str, goal: Path) -> None:
        """Copy a file from the phone; `goal` appears whole or not at all."""
        fresh = goal.with_name(f"{goal.name}.part")
        try:
            with self._naming(f"fetching '{path}'"):
                self._device().sync.pull_file(path, fresh)
            fresh.replace(goal)
        finally:
            fresh.unlink(missing_ok=True)

    @contextmanager
    def forward(self, port: int) -> Iterator[str]:
        """Make TCP port `port` of the phone reachable here while the block runs."""
        with self._naming(f"forwarding port {port}"):
            request = f"host-serial:{self.serial}:forward:tcp:0;tcp:{port}"
            with self._open(request) as connection:
                connection.check_okay()
                here = int(connection.read_string_block())
        try:
            yield f"{self.server.host}:{here}"
        finally:
            with contextlib.suppress(DeviceError, *_FAILURES):
                if self.server.answers():
                    self._open(f"host-serial:{self.serial}:killforward:tcp:{here}").close()

    def gone(self, what: str, reason: str = "the connection broke") -> DeviceError:
        """Return the error of something that failed on the phone or on the way there."""
        lost = self.lost(what, reason, _LEAVE_S)
        return lost or DeviceError(f"{self.label}: {what} failed: {reason}")

    def lost(self, what: str, reason: str, leave_s: float = _GLANCE_S) -> DeviceError | None:
        """Return the error if the phone or the server is gone; None: both are there.

        Args:
            what: What was done when something failed.
            reason: How it failed.
            leave_s: How long the server may take to notice.
        """
        if not self.server.answers():
            return DeviceError(
                f"the adb server at {self.server.address} ended during {what} on {self.label}; "
                "'adb start-server' starts it again"
            )
        state = self._state_within(leave_s)
        if state is None:
            return DeviceError(
                f"{self.label} is gone, during {what}: unplugged or switched off? ({reason})"
            )
        if problem := state.problem():
            return DeviceError(f"{self.label} {problem} (during {what}: {reason})")
        return None

    def _state_within(self, leave_s: float) -> Listed | None:
        """Return how the server lists it, as soon as that is not usable, or at the end."""
        end_s = time.monotonic() + leave_s
        while True:
            found = None
            with contextlib.suppress(DeviceError):
                found = next((p for p in self.server.listed() if p.serial == self.serial), None)
            if found is None or found.problem() or time.monotonic() > end_s:
                return found
            time.sleep(0.1)

    @contextmanager
    def _naming(self, what: str) -> Iterator[None]:
        try:
            self.server._must_answer()
            yield
        except _FAILURES as error:
            raise self.gone(what, str(error) or type(error).__name__) from error

    def _device(self) -> adbutils.AdbDevice:
        return adbutils.AdbDevice(self.server.client, serial=self.serial)

    def _open(self, request: str) -> adbutils.AdbConnection:
        """Send one request to the server; return the connection once it has agreed."""
        connection = self.server.client.make_connection(timeout=_ANSWER_S)
        try:
            connection.send_command(request)
            connection.check_okay()
        except BaseException:
            connection.close()
            raise
        return connection

    def _service(self, service: str) -> adbutils.AdbConnection:
        """Open a service of the phone's own daemon."""
        connection = self._open(f"host:transport:{self.serial}")
        try:
            connection.send_command(service)
            connection.check_okay()
        except BaseException:
            connection.close()
            raise
        return connection


def choose(server: AdbServer, wanted: str | None, machine: str) -> Phone:
    """Return the phone that a description or a suite names, or the only one there is.

    Args:
        server: Where to look; it runs.
        wanted: A serial number, or HOST:PORT, which is connected to if need be.
        machine: Name of the description, for messages.

    Raises:
        DeviceError: none, several and none named, or one that cannot be used; says what to do.
    """
    found = server.listed()
    if wanted is not None and ":" in wanted and not _is_there(found, wanted):
        said, found = _connect(server, wanted, found)
        if all(p.serial != wanted for p in found):
            raise DeviceError(
                f"machine '{machine}': cannot connect to '{wanted}': {said}; is wireless debugging "
                "on, and are both in one network?"
            )
    phone = _pick(server, found, wanted, machine)
    if problem := phone.problem():
        raise DeviceError(f"phone '{phone.serial}' (machine '{machine}') {problem}")
    return Phone(server, phone.serial, machine)


def _is_there(found: Sequence[Listed], wanted: str) -> bool:
    return any(p.serial == wanted and p.state != "offline" for p in found)


def _connect(
    server: AdbServer, wanted: str, found: tuple[Listed, ...]
) -> tuple[str, tuple[Listed, ...]]:
    """Connect to a phone by its address; return the server's answer and what it lists then.

    A broken connection is given up first: the server itself tries again only every ten seconds. It
    forgets one a moment after it said so, hence several attempts.
    """
    end_s = time.monotonic() + _FORGET_S
    while True:
        said = server.connect(wanted, again=any(p.serial == wanted for p in found))
        found = server.listed()
        if _is_there(found, wanted) or "already" not in said or time.monotonic() > end_s:
            return said, found
        time.sleep(0.1)


def _pick(server: AdbServer, found: Sequence[Listed], wanted: str | None, machine: str) -> Listed:
    there = ", ".join(f"'{p.serial}' ({p.state})" for p in found)
    if wanted is not None:
        for phone in found:
            if phone.serial == wanted:
                return phone
        raise DeviceError(
            f"machine '{machine}': phone '{wanted}' is not connected to the adb server at "
            f"{server.address}; connected: {there or 'none'}"
        )
    if not found:
        raise DeviceError(
            f"machine '{machine}': no phone is connected to the adb server at {server.address}; "
            "plug it in, turn on USB debugging in its developer options, and look with "
            "'bench-melt devices'"
        )
    if len(found) > 1:
        raise DeviceError(
            f"machine '{machine}': {len(found)} phones are connected: {there}; name one in the "
            f'suite\'s target: connection = {{ address = "{found[0].serial}" }}'
        )
    return found[0]
