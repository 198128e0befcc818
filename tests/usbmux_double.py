"""A usbmuxd on 127.0.0.1 with one iPhone behind it, as far as lockdown's services go.

usbmuxd's plist protocol (ListDevices, ReadBUID, ReadPairRecord, Connect), lockdownd (values,
session without TLS, StartService) and behind it diagnostics_relay, installation_proxy, house_arrest
and AFC over folders of this computer. Any other port is a port of this computer. The developer
services (DTX inside a tunnel) are not here.
"""

import asyncio
import contextlib
import plistlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.afc_double import serve_afc

UDID = "00008120-000A1B2C3D4E5F60"
LOCKDOWN = 62078
Result = TypeVar("Result")
Service = Callable[["IPhone", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

BATTERY: Mapping[str, Any] = {
    "CurrentCapacity": 76,
    "AppleRawCurrentCapacity": 2391,
    "Temperature": 2940,
    "IsCharging": False,
    "FullyCharged": False,
    "Voltage": 4012,
    "InstantAmperage": (1 << 64) - 512,
    "UpdateTime": 1_700_000_000,
}


@dataclass
class IPhone:
    """What the phone has and says."""

    folder: Path
    version: str = "17.4.1"
    udids: list[str] = field(default_factory=lambda: [UDID])
    trusted: bool = True
    pair_answer: str = "PairingDialogResponsePending"
    public_key: bytes = b""
    battery: Mapping[str, Any] | None = field(default_factory=lambda: dict(BATTERY))
    apps: dict[str, dict[str, str]] = field(default_factory=dict)
    install_error: str | None = None
    installs: int = 0
    free_bytes: int = 1 << 36
    locked: bool = False

    def values(self) -> dict[str, Any]:
        """lockdownd's values."""
        return {
            "ProductType": "iPhone15,2",
            "ProductVersion": self.version,
            "BuildVersion": "21E236",
            "HardwarePlatform": "t8120",
            "CPUArchitecture": "arm64e",
            "DeviceClass": "iPhone",
            "UniqueDeviceID": self.udids[0] if self.udids else UDID,
            "UniqueChipID": 0xA1B2C3D4E5F60,
            "WiFiAddress": "00:11:22:33:44:55",
            "DevicePublicKey": self.public_key,
        }


class Usbmuxd:
    """The daemon, in a thread of its own."""

    def __init__(self, phone: IPhone) -> None:
        self.phone = phone
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = self._run(self._listen())
        self.address = "127.0.0.1:{1}".format(*self._server.sockets[0].getsockname())

    def unplug(self) -> None:
        """The phone is gone; usbmuxd stays."""
        self.phone.udids.clear()
        self._run(self._drop())

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._run(self._drop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._connection, "127.0.0.1", 0)

    async def _drop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            size, _, _, tag = struct.unpack("<4I", await reader.readexactly(16))
            request = plistlib.loads(await reader.readexactly(size - 16))
            if request["MessageType"] == "Connect":
                port = socket.ntohs(request["PortNumber"])
                service = await _service_at(self.phone, port)
                _answer(writer, tag, {"MessageType": "Result", "Number": 0 if service else 3})
                if service is not None:
                    await service(self.phone, reader, writer)
                    return
            else:
                _answer(writer, tag, self._told(request))

    def _told(self, request: Mapping[str, Any]) -> dict[str, Any]:
        match request["MessageType"]:
            case "ReadBUID":
                return {"BUID": "30142955-444094379208051516"}
            case "ListDevices":
                return {"DeviceList": [_attached(*pair) for pair in enumerate(self.phone.udids)]}
            case "ReadPairRecord" if self.phone.trusted:
                record = {"HostID": "H", "SystemBUID": "S", "HostCertificate": b"c"}
                return {"PairRecordData": plistlib.dumps(record)}
            case "ReadPairRecord":
                return {"MessageType": "Result", "Number": 2}
        return {"MessageType": "Result", "Number": 0}


def _attached(number: int, udid: str) -> dict[str, Any]:
    properties = {"SerialNumber": udid, "ConnectionType": "USB", "DeviceID": number + 1}
    return {"MessageType": "Attached", "DeviceID": number + 1, "Properties": properties}


def _answer(writer: asyncio.StreamWriter, tag: int, value: Mapping[str, Any]) -> None:
    data = plistlib.dumps(dict(value))
    writer.write(struct.pack("<4I", 16 + len(data), 1, 8, tag) + data)


async def _receive(reader: asyncio.StreamReader) -> dict[str, Any]:
    size = struct.unpack(">I", await reader.readexactly(4))[0]
    found: dict[str, Any] = plistlib.loads(await reader.readexactly(size))
    return found


def _send(writer: asyncio.StreamWriter, value: Mapping[str, Any]) -> None:
    data = plistlib.dumps(dict(value))
    writer.write(struct.pack(">I", len(data)) + data)


async def _service_at(phone: IPhone, port: int) -> Service | None:
    if not phone.udids:
        return None
    if port == LOCKDOWN:
        return _lockdown
    if port in _PORTS:
        return _PORTS[port][1]
    try:
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None

    async def relay(
        phone: IPhone, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async def copy(source: asyncio.StreamReader, goal: asyncio.StreamWriter) -> None:
            while data := await source.read(1 << 16):
                goal.write(data)
                await goal.drain()

        up = asyncio.get_running_loop().create_task(copy(reader, outer))
        try:
            await copy(inner, writer)
        finally:
            up.cancel()
            outer.close()

    return relay


async def _lockdown(
    phone: IPhone, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while True:
        request = await _receive(reader)
        name = request["Request"]
        _send(writer, {"Request": name, **_lockdown_answer(phone, name, request)})


def _lockdown_answer(phone: IPhone, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    ports = {service: port for port, (service, _) in _PORTS.items()}
    match name:
        case "QueryType":
            return {"Type": "com.apple.mobile.lockdown"}
        case "GetValue":
            key = request.get("Key")
            return {"Value": phone.values() if key is None else phone.values()[key]}
        case "StartSession":
            return {"SessionID": "1", "EnableSessionSSL": False}
        case "Pair":
            return {"Error": phone.pair_answer}
        case "StartService" if phone.locked:
            return {"Error": "PasswordProtected"}
        case "StartService" if request["Service"] in ports:
            return {"Port": ports[request["Service"]]}
        case "StartService":
            return {"Error": "InvalidService"}
    return {"Error": "UnknownRequest"}


async def _diagnostics(
    phone: IPhone, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while True:
        request = await _receive(reader)
        asked = request.get("EntryClass") == "IOPMPowerSource"
        found = phone.battery if asked else None
        _send(writer, {"Status": "Success", "Diagnostics": {"IORegistry": found} if found else {}})


async def _installation(
    phone: IPhone, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while True:
        request = await _receive(reader)
        if request["Command"] == "Lookup":
            wanted = request["ClientOptions"].get("BundleIDs", list(phone.apps))
            _send(writer, {"LookupResult": {b: phone.apps[b] for b in wanted if b in phone.apps}})
            continue
        package = phone.folder / "media" / request["PackagePath"].lstrip("/")
        if phone.install_error is not None or not package.is_file():
            _send(writer, {"Error": phone.install_error or "no package", "ErrorDescription": "x"})
            continue
        from bench_melt.targets.ios_phone import read_package

        told = read_package(package)
        phone.installs += 1
        phone.apps[told["CFBundleIdentifier"]] = {k: told[k] for k in told if "Version" in k}
        _send(writer, {"Status": "InstallingApplication", "PercentComplete": 60})
        _send(writer, {"Status": "Complete"})


async def _house_arrest(
    phone: IPhone, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    request = await _receive(reader)
    if request["Command"] != "VendContainer" or request["Identifier"] not in phone.apps:
        _send(writer, {"Error": "ApplicationLookupFailed"})
        return
    _send(writer, {"Status": "Complete"})
    root = phone.folder / "containers" / request["Identifier"]
    (root / "Documents").mkdir(parents=True, exist_ok=True)
    await serve_afc(root, lambda: phone.free_bytes, reader, writer)


async def _media(phone: IPhone, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    (phone.folder / "media").mkdir(exist_ok=True)
    await serve_afc(phone.folder / "media", lambda: phone.free_bytes, reader, writer)


_PORTS: Mapping[int, tuple[str, Service]] = {
    50001: ("com.apple.mobile.diagnostics_relay", _diagnostics),
    50002: ("com.apple.mobile.installation_proxy", _installation),
    50003: ("com.apple.mobile.house_arrest", _house_arrest),
    50004: ("com.apple.afc", _media),
}


@contextlib.contextmanager
def usbmuxd(phone: IPhone) -> Any:
    """Have a daemon with a phone while the block runs."""
    made = Usbmuxd(phone)
    try:
        yield made
    finally:
        made.close()
