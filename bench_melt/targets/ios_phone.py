"""One iPhone behind usbmux, through `pymobiledevice3`; a failure is a DeviceError that names it.

The library is asynchronous: its coroutines run on one loop in a thread of ours.
"""

import asyncio
import contextlib
import logging
import os
import plistlib
import zipfile
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pymobiledevice3 import exceptions as errors
from pymobiledevice3.lockdown import create_using_usbmux
from pymobiledevice3.services.afc import AfcError
from pymobiledevice3.services.diagnostics import DiagnosticsService
from pymobiledevice3.services.house_arrest import HouseArrestService
from pymobiledevice3.services.installation_proxy import InstallationProxyService
from pymobiledevice3.tcp_forwarder import UsbmuxTcpForwarder

from bench_melt.targets.ios_list import list_iphones
from bench_melt.targets.ssh_loop import LoopThread
from tinyengine.errors import DeviceError, UserError

_Result = TypeVar("_Result")
_USBMUXD = "USBMUXD_SOCKET_ADDRESS"  # the variable that the library reads
_ANSWER_S = 20.0
_INSTALL_S = 600.0
_FAILURES = (errors.PyMobileDevice3Exception, OSError, EOFError, asyncio.IncompleteReadError)

# what went wrong -> what it means and what to do; the first that fits
_MEANINGS: tuple[tuple[type[Exception], str], ...] = (
    (errors.PairingDialogResponsePendingError, "does not trust this computer yet: unlock it and "
     "tap 'Trust', then try again"),
    (errors.UserDeniedPairingError, "was told not to trust this computer: plug it in again and "
     "tap 'Trust'"),
    (errors.NotPairedError, "is not paired with this computer: unlock it, plug it in again and "
     "tap 'Trust'"),
    (errors.PasswordRequiredError, "is locked: unlock it"),
    (errors.PasscodeRequiredError, "is locked: unlock it"),
    (errors.DeveloperModeIsNotEnabledError, "has its developer mode off: Settings, Privacy & "
     "Security, Developer Mode"),
    (errors.InvalidServiceError, "offers no developer services: turn on its developer mode "
     "(Settings, Privacy & Security) and mount the developer image "
     "('pymobiledevice3 mounter auto-mount')"),
    (errors.UserspaceTunnelUnavailableError, "is reached by no tunnel without root: iOS 17.4 or "
     "newer is needed to launch apps"),
)  # fmt: skip


class IPhone:
    """A paired iPhone and the container of one app on it."""

    def __init__(self, machine: str, udid: str, server: str | None) -> None:
        """Name it; `open` reaches it."""
        self.label = f"iPhone '{udid}' (machine '{machine}')"
        self._udid, self._server = udid, server
        self._loop = LoopThread(machine)
        self._lockdown: Any = None

    def open(self) -> Mapping[str, Any]:
        """Reach it; return what it tells of itself (lockdown's values).

        Raises:
            DeviceError: it does not trust this computer, is locked, or is gone.
        """
        with self._naming("reaching it"):
            self._lockdown = self._loop.call(
                create_using_usbmux(serial=self._udid, pair_timeout=0, usbmux_address=self._server),
                _ANSWER_S,
            )
            return dict(self._lockdown.all_values)

    def battery(self) -> Mapping[str, Any]:
        """Return what its battery's registry entry tells, {} if nothing."""

        async def ask() -> Mapping[str, Any]:
            async with DiagnosticsService(self._lockdown) as service:
                return await service.get_battery() or {}

        return self._do("reading its battery", ask())

    def installed(self, bundle: str) -> Mapping[str, Any] | None:
        """Return what it knows of an app, None if that is not installed."""

        async def ask() -> Mapping[str, Any] | None:
            async with InstallationProxyService(self._lockdown) as service:
                found: dict[str, Any] = await service.get_apps(bundle_identifiers=[bundle])
                return found.get(bundle)

        return self._do(f"looking for app '{bundle}'", ask())

    def install(self, package: Path) -> None:
        """Install an .ipa, signed for it."""

        async def ask() -> None:
            async with InstallationProxyService(self._lockdown) as service:
                await service.install_from_local(package)

        self._do(f"installing '{package.name}'", ask(), _INSTALL_S)

    def size_of(self, bundle: str, path: str) -> int | None:
        """Return the size of a file in an app's container, None if it is not there."""

        async def ask() -> int | None:
            async with await HouseArrestService.create(self._lockdown, bundle) as files:
                try:
                    return int((await files.stat(path))["st_size"])
                except errors.AfcFileNotFoundError:
                    return None

        return self._do(f"looking at '{path}'", ask())

    def put(self, bundle: str, source: Path, path: str) -> None:
        """Copy a file into an app's container; it appears there whole or not at all."""

        async def ask() -> None:
            async with await HouseArrestService.create(self._lockdown, bundle) as files:
                size = source.stat().st_size
                free = int((await files.get_device_info())["FSFreeBytes"])
                if free < size:
                    raise DeviceError(
                        f"{self.label}: no space for '{source.name}': it has {size:,} B, free are "
                        f"{free:,} B; delete apps or pictures"
                    )
                await files.makedirs(str(PurePosixPath(path).parent))
                await files.push(str(source), f"{path}.part", progress_bar=False)
                await files.rm_single(path, force=True)
                await files.rename(f"{path}.part", path)

        self._do(f"pushing '{source.name}'", ask(), None)

    def get(self, bundle: str, path: str, goal: Path) -> None:
        """Copy a file out of an app's container."""

        async def ask() -> None:
            async with await HouseArrestService.create(self._lockdown, bundle) as files:
                await files.pull(path, str(goal), progress_bar=False)

        self._do(f"fetching '{path}'", ask(), None)

    @contextmanager
    def forward(self, port: int) -> Iterator[str]:
        """Make a TCP port of the iPhone reachable here while the block runs."""
        forwarder = UsbmuxTcpForwarder(self._udid, port, 0, usbmux_address=self._server)
        forwarder.listening_event = ready = asyncio.Event()

        async def begin() -> "asyncio.Task[None]":
            task = asyncio.create_task(forwarder.start())
            await ready.wait()
            return task

        async def end(task: "asyncio.Task[None]") -> None:
            forwarder.stop()
            await task

        task = self._do(f"forwarding port {port}", begin())
        try:
            yield f"127.0.0.1:{forwarder.listening_port}"
        finally:
            with contextlib.suppress(DeviceError):
                self._do("ending a forward", end(task))

    def launch(self, bundle: str, arguments: Sequence[str], env: Mapping[str, str]) -> "Launched":
        """Start an app through the developer services."""
        from bench_melt.targets.ios_launch import Developer, needs_tunnel

        elsewhere = self._server is not None and os.environ.get(_USBMUXD) != self._server
        if elsewhere and needs_tunnel(str(self._lockdown.product_version)):
            raise DeviceError(
                f"{self.label}: the tunnel to its developer services goes through the usbmuxd of "
                f"the environment: set {_USBMUXD}={self._server}"
            )
        developer = Developer(self._lockdown, self._udid)
        pid = self._do(f"launching '{bundle}'", developer.launch(bundle, arguments, env), 60.0)
        return Launched(self, developer, bundle, pid)

    def lost(self, what: str, reason: str) -> DeviceError | None:
        """Return the error if the iPhone or usbmuxd is gone; None: both are there."""
        try:
            there = [phone.udid for phone in list_iphones(self._server)]
        except DeviceError as gone:
            return gone
        if self._udid in there:
            return None
        return DeviceError(f"{self.label} is gone, during {what}: unplugged? ({reason})")

    def run(self, what: str, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine of the library for somebody else."""
        return self._do(what, work)

    def close(self) -> None:
        """Let go of it; harmless twice."""
        lockdown, self._lockdown = self._lockdown, None
        if lockdown is not None:
            with contextlib.suppress(DeviceError):
                self._do("closing", lockdown.close())
        self._loop.close()

    def _do(
        self,
        what: str,
        work: Coroutine[Any, Any, _Result],
        timeout_s: float | None = _ANSWER_S,
    ) -> _Result:
        with self._naming(what):
            return self._loop.call(work, timeout_s)

    @contextmanager
    def _naming(self, what: str) -> Iterator[None]:
        try:
            yield
        except errors.AppNotInstalledError as error:
            raise DeviceError(
                f"{self.label} has not the runner app: {error}; name its .ipa in the "
                "description's [app], or install it with Xcode"
            ) from error
        except errors.AfcException as error:
            if error.status == AfcError.NO_SPACE_LEFT:
                raise DeviceError(f"{self.label}: no space left, during {what}") from error
            raise DeviceError(f"{self.label}: {what} failed: {error}") from error
        except TimeoutError as error:
            raise DeviceError(f"{self.label}: {what} took too long") from error
        except _FAILURES as error:
            raise self._failure(what, error) from error

    def _failure(self, what: str, error: Exception) -> DeviceError:
        for kind, meaning in _MEANINGS:
            if isinstance(error, kind):
                return DeviceError(f"{self.label} {meaning} (during {what})")
        reason = str(error) or type(error).__name__
        return self.lost(what, reason) or DeviceError(f"{self.label}: {what} failed: {reason}")


class Launched:
    """An app that runs."""

    def __init__(self, phone: IPhone, developer: Any, bundle: str, pid: int) -> None:
        self.pid = pid
        self._phone, self._developer, self._bundle = phone, developer, bundle

    def runs(self) -> bool:
        """Return whether it still does."""
        found = self._phone.run("looking at the app", self._developer.pid_of(self._bundle))
        return int(found) == self.pid

    def output(self) -> str:
        """Return what it printed so far."""
        return str(self._developer.output())

    def kill(self) -> None:
        """End it; harmless when it has ended."""
        with contextlib.suppress(DeviceError):
            self._phone.run("ending the app", self._developer.close(self.pid))


def read_package(package: Path) -> Mapping[str, Any]:
    """Return the Info.plist of an .ipa.

    Raises:
        UserError: it is none.
    """
    try:
        with zipfile.ZipFile(package) as archive:
            name = next(
                name
                for name in archive.namelist()
                if PurePosixPath(name).match("Payload/*.app/Info.plist")
            )
            found: dict[str, Any] = plistlib.loads(archive.read(name))
            return found
    except StopIteration:
        raise UserError(f"'{package}' holds no Payload/*.app/Info.plist") from None
    except (OSError, zipfile.BadZipFile, plistlib.InvalidFileException, ValueError) as error:
        raise UserError(f"'{package}' is no app package (.ipa): {error}") from error


def quiet() -> None:
    """Keep the library from writing its own log."""
    logging.getLogger("pymobiledevice3").setLevel(logging.CRITICAL)
