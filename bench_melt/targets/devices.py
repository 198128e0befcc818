"""What is plugged in: boards on serial ports, phones behind adb, iPhones behind usbmux."""

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from serial.tools import list_ports

from tinyengine.errors import DeviceError

Kind = Literal["serial", "android", "ios"]


@dataclass(frozen=True, slots=True)
class Found:
    """One device. address: what a suite or `--port` takes. problem: None when it can be used."""

    kind: Kind
    address: str
    name: str | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """What was found of each kind, and why nothing could be of some."""

    devices: tuple[Found, ...] = ()
    unsearched: dict[Kind, str] = field(default_factory=dict)


def search(looks: dict[Kind, Callable[[], Iterable[Found]]] | None = None) -> Search:
    """Look for devices of every kind; a kind whose tool is missing is told of, not failed at.

    Args:
        looks: How to look for each kind; None: as this computer does.
    """
    usual: dict[Kind, Callable[[], Iterable[Found]]] = {
        "serial": serial_ports,
        "android": android_phones,
        "ios": iphones,
    }
    devices: list[Found] = []
    unsearched: dict[Kind, str] = {}
    for kind, look in (usual if looks is None else looks).items():
        try:
            devices += look()
        except DeviceError as error:
            unsearched[kind] = str(error)
    return Search(tuple(devices), unsearched)


def serial_ports() -> Iterator[Found]:
    """Yield the serial ports that have hardware behind them."""
    for port in sorted(list_ports.comports()):
        told = " ".join(part for part in (port.manufacturer, port.product) if part)
        yield Found("serial", port.device, told or port.description or None)


def android_phones() -> Iterator[Found]:
    """Yield the phones that the adb server knows; it is started if need be.

    Raises:
        DeviceError: the package is missing, or no server can be started.
    """
    _need("adbutils", "android")
    from bench_melt.targets.adb import AdbServer

    server = AdbServer()
    server.ensure()
    for phone in server.listed():
        yield Found("android", phone.serial, phone.model, phone.problem())


def iphones() -> Iterator[Found]:
    """Yield the iPhones that usbmuxd knows.

    Raises:
        DeviceError: the package is missing, or no usbmuxd runs.
    """
    _need("pymobiledevice3", "ios")
    from bench_melt.targets.ios_list import list_iphones

    for phone in list_iphones(None):
        yield Found("ios", phone.udid, f"over {phone.connection}")


def _need(package: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise DeviceError(
            f"python package '{package}' is not installed: pip install 'tinyengine-mcu[{extra}]'"
        )
