"""Nordic's Power Profiler Kit II through the package `ppk2-api`."""

import time
from typing import Any

import numpy as np

from bench_melt.energy.samples import Samples
from bench_melt.meters.base import (
    BaseMeter,
    Clock,
    MeterInfo,
    Worker,
    optional,
    times_of_blocks,
)
from tinyengine.errors import DeviceError, UserError

RATE_HZ = 100_000.0
_POLL_S = 0.01
_VOLTAGE_V = (0.8, 5.0)


class Ppk2Meter(BaseMeter):
    """Supplies the device (`source`), or sits in its supply, and measures current.

    It stamps nothing and measures no voltage: time is counted from the rate, and the voltage is the
    one that it supplies, or that the user says the device has.
    """

    def __init__(
        self,
        voltage_v: float,
        port: str | None = None,
        *,
        source: bool = True,
        clock: Clock = time.monotonic,
    ) -> None:
        if not _VOLTAGE_V[0] <= voltage_v <= _VOLTAGE_V[1]:
            raise UserError(f"a PPK2 handles 0.8 to 5 V; voltage_v is {voltage_v}")
        self._voltage_v = voltage_v
        self._port = port
        self._source = source
        self._clock = clock
        self._device: Any = None
        self._worker: Worker | None = None
        self._blocks: list[list[float]] = []
        self._arrivals_s: list[float] = []

    @property
    def info(self) -> MeterInfo:
        """What it is."""
        way = "source" if self._source else "ampere meter"
        identity = f"PPK2 {self._port or 'absent'}, {way}, {self._voltage_v} V"
        return MeterInfo("ppk2", identity, RATE_HZ, ("current A",), "host")

    def start(self) -> None:
        """Open the port, set it up, and collect in a thread."""
        api = optional("ppk2_api.ppk2_api", "ppk2-api").PPK2_API
        self.close()
        self._blocks, self._arrivals_s = [], []
        self._port = self._port or _only_port(api.list_devices())
        try:
            self._device = api(self._port, timeout=1, write_timeout=1, exclusive=True)
        except OSError as error:  # pyserial's SerialException is one
            raise _refused(self._port, error) from error
        device = self._device
        if device.get_modifiers() is None:
            raise DeviceError(f"PPK2 at '{self._port}' does not tell its calibration; replug it")
        if self._source:
            device.use_source_meter()
        else:
            device.use_ampere_meter()
        device.set_source_voltage(round(self._voltage_v * 1000))
        device.toggle_DUT_power("ON")
        device.start_measuring()
        self._worker = Worker("ppk2", self._take, _POLL_S, self._clock)
        self._worker.start()

    def _take(self) -> None:
        data = self._device.get_data()
        if data:
            arrived_s = self._clock()
            microampere, _ = self._device.get_samples(data)
            if microampere:
                self._blocks.append(microampere)
                self._arrivals_s.append(arrived_s)

    def stop(self) -> Samples:
        """End, and return current x the known voltage."""
        worker, self._worker = self._worker, None
        if worker is None:
            raise DeviceError("meter 'ppk2' was not started")
        worker.end()
        self.close()
        if not self._blocks:
            raise DeviceError(f"PPK2 at '{self._port}' gave no samples")
        counts = [len(block) for block in self._blocks]
        time_s = times_of_blocks(counts, self._arrivals_s, RATE_HZ)
        current_a = np.concatenate([np.asarray(block, np.float64) for block in self._blocks]) / 1e6
        return Samples.of(time_s, np.full(len(time_s), self._voltage_v), current_a)

    def close(self) -> None:
        """End the measurement; the device stays powered."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()
        device, self._device = self._device, None
        if device is not None:
            device.stop_measuring()
            if device.ser is not None:
                device.ser.close()


def _only_port(ports: list[str]) -> str:
    if len(ports) != 1:
        found = ", ".join(ports) or "none"
        raise UserError(f"{len(ports)} PPK2 found ({found}): plug in one, or name its port")
    return ports[0]


def _refused(port: str | None, error: OSError) -> UserError | DeviceError:
    if "ermission" in str(error):
        return UserError(
            f"no permission to open the PPK2's port '{port}'; add this user to the group that owns "
            "it (often 'dialout'), and log in anew"
        )
    return DeviceError(f"cannot open the PPK2's port '{port}': {error}")
