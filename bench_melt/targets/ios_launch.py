"""Apps on an iPhone, launched through the developer services.

iOS 17 and newer offer these only inside a tunnel, which `pymobiledevice3` makes in this process,
without root (iOS 17.4); older ones over usbmux as they are.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from pymobiledevice3.remote.userspace_tunnel import UserspaceRsdTunnel
from pymobiledevice3.services.dvt.instruments.dvt_provider import DvtProvider
from pymobiledevice3.services.dvt.instruments.process_control import ProcessControl

_FIRST_WITH_TUNNEL = 17


def needs_tunnel(version: str) -> bool:
    """Return whether a version of iOS offers its developer services inside a tunnel only."""
    return int(version.partition(".")[0]) >= _FIRST_WITH_TUNNEL


class Developer:
    """The process control of one iPhone; lives as long as the app that it launched."""

    def __init__(self, lockdown: Any, udid: str) -> None:
        """Remember what to reach."""
        self._lockdown, self._udid = lockdown, udid
        self._stack = AsyncExitStack()
        self._control: Any = None
        self._lines: list[str] = []
        self._reader: asyncio.Task[None] | None = None

    async def launch(self, bundle: str, arguments: Sequence[str], env: Mapping[str, str]) -> int:
        """Start an app, in place of one that runs; return its process number."""
        try:
            provider = self._lockdown
            if needs_tunnel(str(self._lockdown.product_version)):
                tunnel = UserspaceRsdTunnel(serial=self._udid, remotepairing_fallback=False)
                provider = await self._stack.enter_async_context(tunnel)
            dvt = await self._stack.enter_async_context(DvtProvider(provider))
            self._control = await self._stack.enter_async_context(ProcessControl(dvt))
            pid = await self._control.launch(
                bundle, arguments=list(arguments), environment=dict(env)
            )
        except BaseException:
            await self._stack.aclose()
            raise
        self._reader = asyncio.create_task(self._read())
        return int(pid)

    async def pid_of(self, bundle: str) -> int:
        """Return the process number of an app, 0 if it does not run."""
        return int(await self._control.process_identifier_for_bundle_identifier(bundle))

    def output(self) -> str:
        """Return what it printed so far."""
        return "".join(self._lines)

    async def close(self, pid: int) -> None:
        """End the app and let go of the services; harmless twice."""
        control, self._control = self._control, None
        try:
            if control is not None:
                await control.kill(pid)
        finally:
            if self._reader is not None:
                self._reader.cancel()
            await self._stack.aclose()

    async def _read(self) -> None:
        with contextlib.suppress(Exception):  # the channel's end ends the output
            async for event in self._control:
                self._lines.append(f"{event.message.rstrip()}\n")
