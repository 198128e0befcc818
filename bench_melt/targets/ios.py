"""An iPhone as a machine: its runner app serves, files go through that app's container.

iOS runs no program but installed apps, and pins none to cores: what the protocol asks beyond that
is refused in words.
"""

import posixpath
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench_melt.targets.base import StoppedAtExit
from bench_melt.targets.description import App, Description
from bench_melt.targets.file_hashes import FileHashes
from bench_melt.targets.forwards import Forwards
from bench_melt.targets.ios_list import choose_iphone
from bench_melt.targets.ios_phone import IPhone, Launched, quiet, read_package
from bench_melt.targets.machine import Deadline, MachineInfo, Output, State, Usage
from tinyengine.errors import DeviceError, UserError

_LOOK_S = 1.0  # each look at the app is a request to the phone
_TAIL_LINES = 8
_UNKNOWN_CODE = -1  # iOS does not tell how an app ended
_VERSIONS = ("CFBundleVersion", "CFBundleShortVersionString")


class IosMachine(StoppedAtExit):
    """Runs one app."""

    shares_files = False

    def __init__(self, description: Description) -> None:
        """Remember what to reach; `probe` reaches it.

        Raises:
            UserError: the description names no app.
        """
        if description.app is None:
            raise UserError(
                f"machine '{description.name}': an iPhone needs its runner app: "
                'add [app] with bundle = "..."'
            )
        self.name = description.name
        self._app: App = description.app
        self._zones = description.thermal.zones
        self._wanted = description.connection.address
        self._server = description.connection.server
        self._staging = posixpath.join("Documents", description.staging)
        self._found: IPhone | None = None
        self._processes: list[AppProcess] = []
        self._tunnels = Forwards()
        self._hashes = FileHashes()

    def probe(self) -> MachineInfo:
        """Reach the iPhone, install the runner app if need be, and ask what it is."""
        quiet()
        self._close()
        udid = choose_iphone(self._server, self._wanted, self.name)
        self._found = IPhone(self.name, udid, self._server)
        told = self._found.open()
        if self._app.package is not None:
            self._install(self._app.package)
        version, build, product = (
            told.get(name) for name in ("ProductVersion", "BuildVersion", "ProductType")
        )
        return MachineInfo(
            os_build=f"iOS {version} ({build}), {product}" if version else None,
            cpu_info=told.get("HardwarePlatform") or product,
            architecture=told.get("CPUArchitecture"),
        )

    def deploy(self, source: Path) -> str:
        """Have a file in the app's container, once; an .ipa is installed instead.

        Returns:
            A path relative to the app's home folder, or the app's bundle id. The folder carries
            the start of the file's hash; what is there is compared by size.
        """
        if source.suffix == ".ipa":
            self._install(source)
            return self._app.bundle
        size, digest = self._hashes.of(source)
        folder = posixpath.join(self._staging, digest[:16])
        path = posixpath.join(folder, source.name)
        phone = self._phone()
        if phone.size_of(self._app.bundle, path) != size:
            phone.put(self._app.bundle, source, path)
        return path

    def start(
        self,
        argv: Sequence[str],
        *,
        cores: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
    ) -> "AppProcess":
        """Launch the runner app with arguments; it replaces one that runs.

        Raises:
            DeviceError: another program, or cores to pin to.
        """
        if cores:
            raise DeviceError(f"{self._phone().label}: iOS pins no app to cores: leave out 'cores'")
        if argv[0] != self._app.bundle:
            raise DeviceError(
                f"{self._phone().label}: iOS runs installed apps only, not '{argv[0]}'; give the "
                f"workload's runner the .ipa of '{self._app.bundle}' as its program"
            )
        process = AppProcess(self._phone().launch(argv[0], argv[1:], env or {}), argv[0])
        self._processes.append(process)
        return process

    def run(self, argv: Sequence[str], *, timeout_s: float = 20.0) -> Output:
        """Refuse: iOS has no commands.

        Raises:
            DeviceError: always.
        """
        raise DeviceError(f"{self._phone().label}: iOS runs no commands, so not '{argv[0]}' either")

    def tunnel(self, port: int) -> AbstractContextManager[str]:
        """Forward a port through usbmux; a loss of the iPhone in the block is called that."""
        phone = self._phone()
        return self._tunnels.keep(phone.forward(port), phone.lost)

    def state(self) -> State:
        """Return the battery's state; iOS tells nothing of clocks, memory or thermal pressure."""
        return state_of_battery(self.battery(), self._zones)

    def battery(self) -> Mapping[str, Any]:
        """Return the battery's registry entry, for the meter of kind 'ios'."""
        return self._phone().battery()

    def collect(self, path: str, goal: Path) -> None:
        """Fetch a file of the app's container; `goal` appears whole or not at all."""
        fresh = goal.with_name(f"{goal.name}.part")
        try:
            if self._phone().size_of(self._app.bundle, path) is None:
                raise DeviceError(
                    f"{self._phone().label}: app '{self._app.bundle}' has no file '{path}'"
                )
            self._phone().get(self._app.bundle, path, fresh)
            fresh.replace(goal)
        finally:
            fresh.unlink(missing_ok=True)

    def stop(self) -> None:
        """End the app, the forwards and the connection."""
        processes, self._processes = self._processes, []
        for process in processes:
            process.kill()
        self._tunnels.close()
        self._close()

    def _install(self, package: Path) -> None:
        """Install an app package unless the same version is there."""
        told = read_package(package)
        if told.get("CFBundleIdentifier") != self._app.bundle:
            raise UserError(
                f"'{package}' holds app '{told.get('CFBundleIdentifier')}', machine '{self.name}' "
                f"wants '{self._app.bundle}'"
            )
        there = self._phone().installed(self._app.bundle)
        if there is None or any(there.get(key) != told.get(key) for key in _VERSIONS):
            self._phone().install(package)

    def _phone(self) -> IPhone:
        if self._found is None:
            self.probe()
        assert self._found is not None
        return self._found

    def _close(self) -> None:
        found, self._found = self._found, None
        if found is not None:
            found.close()


class AppProcess:
    """The runner app while it runs."""

    def __init__(self, app: Launched, name: str) -> None:
        """Watch an app that was launched."""
        self._app, self._name = app, name
        self._code: int | None = None
        self._looked_s = time.monotonic()

    def poll(self) -> int | None:
        """Return None while it runs, then -1: iOS does not tell how an app ended."""
        if self._code is None and time.monotonic() - self._looked_s > _LOOK_S:
            self._looked_s = time.monotonic()
            self._code = None if self._app.runs() else _UNKNOWN_CODE
        return self._code

    def wait(self, deadline: Deadline) -> int:
        """Return -1 once it ended."""
        while (code := self.poll()) is None:
            time.sleep(deadline.remaining_s(f"app '{self._name}' ran", at_most_s=0.2))
        return code

    def wait_line(self, start: str, deadline: Deadline) -> str:
        """Return the first line it printed that begins with `start`."""
        while True:
            ended = self.poll() is not None
            for line in self.output().rpartition("\n")[0].splitlines():
                if line.startswith(start):
                    return line
            if ended:
                raise DeviceError(
                    f"app '{self._name}' ended before it said '{start}'; it said: {self.tail()}"
                )
            waiting = f"waiting for '{start}' of app '{self._name}': {self.tail()}"
            time.sleep(deadline.remaining_s(waiting, at_most_s=0.05))

    def tail(self) -> str:
        """Return its last lines, for messages."""
        lines = self.output().splitlines()[-_TAIL_LINES:]
        return " | ".join(line.strip() for line in lines) or "nothing"

    def output(self) -> str:
        """Return all it printed so far."""
        return self._app.output()

    def usage(self) -> Usage:
        """Return nothing: iOS tells memory and time of apps to its own instruments alone."""
        return Usage()

    def kill(self) -> None:
        """End it."""
        self._app.kill()
        self._code = _UNKNOWN_CODE if self._code is None else self._code


def state_of_battery(told: Mapping[str, Any], zones: Sequence[str]) -> State:
    """Return what the registry entry of a battery tells.

    CurrentCapacity is percent on iOS, AppleRawCurrentCapacity is mAh, Temperature is in hundredths
    of a degree Celsius.
    """
    percent, charge_mah = told.get("CurrentCapacity"), told.get("AppleRawCurrentCapacity")
    celsius = told.get("Temperature")
    watched = any(zone in ("*", "battery") for zone in zones)
    charging = told.get("IsCharging")
    return State(
        temperatures_c={"battery": celsius / 100} if celsius is not None and watched else {},
        battery_percent=None if percent is None else float(percent),
        battery_mah=None if charge_mah is None else float(charge_mah),
        charging=None if charging is None else bool(charging or told.get("FullyCharged")),
    )
