"""Stand-ins for the libraries of instruments: what the meters call, with the same signatures.

`tests/pure/test_meters_libraries.py` compares the signatures with the libraries' where installed.
"""

import sys
import time
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.needs import package

Array = np.ndarray[Any, Any]


def install(patch: pytest.MonkeyPatch, name: str, **contents: object) -> None:
    """Let `import name` find these contents, parents included."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        parent = ".".join(parts[:depth])
        if parent not in sys.modules or not hasattr(sys.modules[parent], "fake"):
            module = ModuleType(parent)
            module.fake = True  # type: ignore[attr-defined]
            module.__path__ = []
            patch.setitem(sys.modules, parent, module)
    module = ModuleType(name)
    module.fake = True  # type: ignore[attr-defined]
    for key, value in contents.items():
        setattr(module, key, value)
    patch.setitem(sys.modules, name, module)


def needed(name: str) -> None:
    """Go on only when the library of a meter can be imported; with numpy 1 none is asked for."""
    if np.__version__.startswith("1."):
        pytest.skip("the extra 'meters' needs numpy 2: joulescope is built for it")
    package(name, "pip install 'tinyengine-mcu[meters]'")


@dataclass
class Bench:
    """What the fakes did, and how they shall fail."""

    calls: list[Any] = field(default_factory=list)
    error: Exception | None = None
    present: bool = True

    def did(self, *call: object) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error


class triggers:  # noqa: N801
    SAMPLECOUNT_INFINITE = 0xFFFFFFFF

    @staticmethod
    def GREATER_THAN(x: float, y: float) -> bool:  # noqa: N802
        return x > y


def monsoon(bench: Bench) -> tuple[type, type, type]:
    """Return stand-ins of HVPM.Monsoon, sampleEngine.SampleEngine and sampleEngine.triggers."""

    class Monsoon:
        def __init__(self, *args: object, **kwargs: object) -> None:
            self.Protocol: Any = None

        def setup_usb(self, serialno: object = None, Protocol: object = None) -> None:  # noqa: N803
            bench.did("setup_usb", serialno)
            if not bench.present:
                print("Unable to find device")  # noqa: T201
            self.Protocol = SimpleNamespace(DEVICE=object() if bench.present else None)

        def setVout(self, value: float) -> None:  # noqa: N802
            bench.did("setVout", value)

    class SampleEngine:
        def __init__(
            self,
            Monsoon: object,  # noqa: N803
            bulkProcessRate: int = 128,  # noqa: N803
            errorMode: int = 1,  # noqa: N803
            calsToKeep: int = 5,  # noqa: N803
        ) -> None:
            bench.did("SampleEngine", errorMode)
            self.channels = {0, 1, 4}
            self.stop: tuple[Any, float] | None = None
            self.rows = 0

        def ConsoleOutput(self, boolValue: bool) -> None:  # noqa: N802, N803
            assert boolValue is False

        def enableChannel(self, channel: int) -> None:  # noqa: N802
            self.channels.add(channel)

        def disableChannel(self, channel: int) -> None:  # noqa: N802
            self.channels.discard(channel)

        def setStopTrigger(self, triggerstyle: Any, triggerlevel: float) -> None:  # noqa: N802
            self.stop = (triggerstyle, triggerlevel)

        def startSampling(  # noqa: N802
            self,
            samples: int = 5000,
            granularity: int = 1,
            legacy_timestamp: bool = False,
            calTime: int = 1250,  # noqa: N803
        ) -> None:
            bench.did("startSampling", samples)
            while self.stop is None or not self.stop[0](self.rows / 5000, self.stop[1]):
                self.rows += 3
                time.sleep(0.0005)

        def getSamples(self) -> list[list[float]]:  # noqa: N802
            bench.did("getSamples", sorted(self.channels))
            times = [i // 3 * 3 / 5000 for i in range(self.rows)]
            amps = [250.0] * self.rows
            return [times, amps[:-1], [], [], [4.0] * self.rows, []]

    return Monsoon, SampleEngine, triggers


def ppk2(bench: Bench) -> type:
    """Return a stand-in of ppk2_api.PPK2_API: 1 ms of 2000 uA per reading."""

    class Serial:
        closed = False

        def close(self) -> None:
            bench.calls.append(("close",))

    class PPK2_API:  # noqa: N801
        def __init__(self, port: str, **kwargs: object) -> None:
            bench.did("open", port, kwargs)
            self.ser = Serial()
            self.last = time.monotonic()

        @staticmethod
        def list_devices() -> list[str]:
            return ["/dev/ttyACM7"] if bench.present else []

        def get_modifiers(self) -> bool:
            return True

        def use_source_meter(self) -> None:
            bench.did("source")

        def use_ampere_meter(self) -> None:
            bench.did("ampere")

        def set_source_voltage(self, mV: int) -> None:  # noqa: N803
            bench.did("mV", mV)

        def toggle_DUT_power(self, state: str) -> None:  # noqa: N802
            bench.did("power", state)

        def start_measuring(self) -> None:
            bench.did("start")

        def stop_measuring(self) -> None:
            bench.calls.append(("stop",))

        def get_data(self) -> bytes:
            now = time.monotonic()
            due = int((now - self.last) * 100_000)
            self.last += due / 100_000
            return b"\0\0\0\0" * due

        def get_samples(self, buf: bytes) -> tuple[list[float], list[int]]:
            return [2000.0] * (len(buf) // 4), []

    return PPK2_API


class Ring:
    def __init__(self) -> None:
        self.sample_id_range = (5000, 5000)
        self.values = np.zeros(100, np.float32)

    def samples_get(self, start: int, stop: int, fields: Any = None) -> dict[str, Any]:
        assert fields == ["current", "voltage"]
        amps = self.values[: stop - start]
        volts = np.full(stop - start, 5.0, np.float32)
        return {
            "signals": {
                "current": {"value": amps, "units": "A"},
                "voltage": {"value": volts, "units": "V"},
            }
        }


def joulescope(bench: Bench) -> Any:
    """Return a stand-in of joulescope.scan and its device, whose buffer is a ring."""

    class Device:
        taker: Any = None

        def __str__(self) -> str:
            return "JS220-001122"

        def open(
            self, event_callback_fn: Any = None, mode: Any = None, timeout: Any = None
        ) -> None:
            bench.did("open")

        def close(self, timeout: Any = None) -> None:
            bench.calls.append(("close",))

        def parameter_set(self, name: str, value: int) -> None:
            if value != 10_000:
                raise ValueError("not allowed")
            bench.did("set", name, value)

        def stream_process_register(self, obj: Any) -> None:
            obj.driver_active = True
            self.taker = obj

        def stream_process_unregister(self, obj: Any) -> None:
            obj.driver_active = False

        def start(
            self, stop_fn: Any = None, duration: Any = None, contiguous_duration: Any = None
        ) -> None:
            ring = Ring()
            for turn in range(5):
                ring.values[:] = 0.1 * (turn + 1)
                if turn == 2:
                    ring.values[3] = np.nan
                first = 5000 + 100 * turn
                ring.sample_id_range = (first, first + 100)
                if turn != 3:  # one block is never offered: its time must stay empty
                    assert self.taker.stream_notify(ring) is False

        def stop(self) -> None:
            bench.calls.append(("stop",))

    def scan(name: Any = None, config: Any = None) -> list[Any]:
        return [Device()] if bench.present else []

    scan.device = Device  # type: ignore[attr-defined]
    return scan


class Recording:
    def get_channel_data_count(self, device_id: str, channel: str) -> int:
        return {"mc": 400, "mv": 100}[channel]

    def get_channel_data(
        self, device_id: str, channel: str, index: int, count: int, strip: bool = True
    ) -> dict[str, Any]:
        assert device_id == "Arc1" and index == 0
        value, interval = {"mc": (0.5, 0.00025), "mv": (4.0, 0.001)}[channel]
        return {"timestamp": 3.25, "interval": interval, "values": [value] * count}


def otii(bench: Bench) -> tuple[type, type, type, type]:
    """Return stand-ins of OtiiClient, Arc, Project and Recording."""

    class Project:
        def start_recording(self) -> None:
            bench.did("start")

        def stop_recording(self) -> None:
            bench.calls.append(("stop",))

        def get_last_recording(self) -> Any:
            return Recording()

    class Arc:
        type, id, name = "Arc", "Arc1", "desk"

        def add_to_project(self) -> None:
            bench.did("add")

        def enable_channel(self, channel: str, enable: bool) -> None:
            bench.did("enable", channel, enable)

        def set_main_voltage(self, value: float) -> None:
            bench.did("voltage", value)

        def set_main(self, enable: bool) -> None:
            bench.did("main", enable)

        def get_channel_samplerate(self, channel: str) -> int:
            return 4000

    class Otii:
        def get_devices(self, timeout: int = 10, devicefilter: Any = None) -> list[Any]:
            return [Arc()] if bench.present else []

        def create_project(self) -> Any:
            return Project()

    class OtiiClient:
        def connect(
            self,
            *,
            host: str = "127.0.0.1",
            port: int = 1905,
            try_for_seconds: int = 0,
            licensing: Any = "auto",
            credentials: str = "",
            licenses: Any = None,
        ) -> Any:
            bench.did("connect", host, port)
            return Otii()

        def disconnect(self) -> None:
            bench.calls.append(("disconnect",))

    return OtiiClient, Arc, Project, Recording
