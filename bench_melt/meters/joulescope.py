"""Joulescope JS110 and JS220 through the package `joulescope`."""

from typing import Any

import numpy as np

from bench_melt.energy.samples import Samples
from bench_melt.meters.base import BaseMeter, MeterInfo, optional
from tinyengine.errors import DeviceError, UserError


class _Taker:
    """What the library calls with its buffer whenever there is more in it."""

    def __init__(self) -> None:
        self.driver_active = False  # the library's own
        self.taken = 0
        self.parts: list[tuple[int, Any, Any]] = []  # first sample's number, A, V

    def stream_notify(self, stream_buffer: Any) -> bool:
        """Take what is new; True would end the stream."""
        start, end = stream_buffer.sample_id_range
        start = max(start, self.taken)  # what was not taken in time is gone: the numbers say so
        if end > start:
            data = stream_buffer.samples_get(start, end, fields=["current", "voltage"])["signals"]
            # what it gives are views of a ring that it goes on to overwrite
            amps, volts = (np.array(data[name]["value"]) for name in ("current", "voltage"))
            self.parts.append((start, amps, volts))
            self.taken = end
        return False


class JoulescopeMeter(BaseMeter):
    """Measures voltage and current; the sample's number at the meter's own rate is its time."""

    def __init__(self, serial: str | None = None, rate_hz: int = 10_000) -> None:
        self._serial = serial
        self._rate_hz = rate_hz
        self._device: Any = None
        self._taker = _Taker()
        self._found = ""

    @property
    def info(self) -> MeterInfo:
        """What it is."""
        identity = self._found or f"Joulescope {self._serial or '(the only one)'}"
        channels = ("voltage V", "current A")
        return MeterInfo("joulescope", identity, float(self._rate_hz), channels, "meter")

    def start(self) -> None:
        """Open it and stream."""
        library = optional("joulescope", "joulescope")
        self.close()
        device = self._choose(library.scan(config="auto"))
        try:
            device.open()
        except Exception as error:
            raise _failed(device, error) from error
        self._device, self._found = device, str(device)
        try:
            device.parameter_set("sampling_frequency", self._rate_hz)
        except (KeyError, ValueError) as error:
            self.close()
            raise UserError(f"{device} does not sample at rate_hz = {self._rate_hz}") from error
        self._taker = _Taker()
        device.stream_process_register(self._taker)
        device.start()

    def _choose(self, devices: list[Any]) -> Any:
        if self._serial is not None:
            devices = [device for device in devices if self._serial in str(device)]
        if len(devices) != 1:
            wanted = f" called '{self._serial}'" if self._serial else ""
            names = ", ".join(str(device) for device in devices) or "none"
            raise DeviceError(f"{len(devices)} Joulescopes{wanted} found ({names}); one is needed")
        return devices[0]

    def stop(self) -> Samples:
        """End, and return what came; samples that the meter marks as missing are left out."""
        if self._device is None:
            raise DeviceError("meter 'joulescope' was not started")
        self.close()
        parts = self._taker.parts
        if not parts:
            raise DeviceError(f"{self._found} gave no samples")
        index = np.concatenate([first + np.arange(len(amps)) for first, amps, _ in parts])
        current_a = np.concatenate([amps for _, amps, _ in parts]).astype(np.float64)
        voltage_v = np.concatenate([volts for _, _, volts in parts]).astype(np.float64)
        there = np.isfinite(current_a) & np.isfinite(voltage_v)
        time_s = index[there] / float(self._rate_hz)
        return Samples.of(time_s, voltage_v[there], current_a[there])

    def close(self) -> None:
        """End the stream and let go of the device."""
        device, self._device = self._device, None
        if device is not None:
            device.stop()
            device.stream_process_unregister(self._taker)
            device.close()


def _failed(device: Any, error: Exception) -> UserError | DeviceError:
    if "ermission" in str(error) or "ACCESS" in str(error).upper():
        return UserError(
            f"no permission to open {device}; install Joulescope's udev rules, and replug it"
        )
    return DeviceError(f"cannot open {device}: {error}")
