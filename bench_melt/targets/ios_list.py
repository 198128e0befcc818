"""The iPhones behind usbmuxd. Loads little of `pymobiledevice3`, which is large."""

import asyncio
from dataclasses import dataclass

from pymobiledevice3 import usbmux
from pymobiledevice3.exceptions import PyMobileDevice3Exception

from tinyengine.errors import DeviceError

_FAILURES = (PyMobileDevice3Exception, OSError, EOFError)


@dataclass(frozen=True, slots=True)
class ListedPhone:
    """An iPhone as usbmuxd lists it. connection: "USB" or "Network"."""

    udid: str
    connection: str


def list_iphones(server: str | None) -> tuple[ListedPhone, ...]:
    """Return the iPhones that usbmuxd knows, USB first.

    Args:
        server: HOST:PORT or socket file of usbmuxd; None: the usual one.

    Raises:
        DeviceError: no usbmuxd answers.
    """
    try:
        found = asyncio.run(usbmux.list_devices(usbmux_address=server))
    except _FAILURES as error:
        raise no_usbmuxd(server, error) from error
    listed = [ListedPhone(d.serial, d.connection_type) for d in found]
    # one that is plugged in may be listed a second time, by its network
    plugged = {phone.udid for phone in listed if phone.connection == "USB"}
    return (
        *(phone for phone in listed if phone.connection == "USB"),
        *(phone for phone in listed if phone.udid not in plugged),
    )


def no_usbmuxd(server: str | None, error: Exception) -> DeviceError:
    """Return the error of a usbmuxd that does not answer."""
    return DeviceError(
        f"no usbmuxd answers at {server or 'its usual socket'} "
        f"({str(error) or type(error).__name__}): install package usbmuxd and start it"
    )


def choose_iphone(server: str | None, wanted: str | None, machine: str) -> str:
    """Return the UDID that is named, or that of the only iPhone.

    Raises:
        DeviceError: none, several and none named, or another one.
    """
    found = list_iphones(server)
    there = ", ".join(f"'{phone.udid}' ({phone.connection})" for phone in found)
    if wanted is not None:
        for phone in found:
            # usbmuxd may leave out the dash
            if phone.udid.replace("-", "") == wanted.replace("-", ""):
                return phone.udid
        raise DeviceError(
            f"machine '{machine}': iPhone '{wanted}' is not connected; connected: {there or 'none'}"
        )
    if not found:
        raise DeviceError(
            f"machine '{machine}': no iPhone is connected; plug it in, unlock it, and look with "
            "'bench-melt devices'"
        )
    if len(found) > 1:
        raise DeviceError(
            f"machine '{machine}': {len(found)} iPhones are connected: {there}; name one in the "
            f'suite\'s target: connection = {{ address = "{found[0].udid}" }}'
        )
    return found[0].udid
