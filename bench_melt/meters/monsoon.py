"""Monsoon's power monitors (HVPM, LVPM) through its own package `monsoon`."""

import contextlib
import io
import threading
from typing import Any, Literal

import numpy as np

from bench_melt.energy.samples import Samples
from bench_melt.meters.base import BaseMeter, MeterInfo, optional
from tinyengine.errors import DeviceError, UserError

RATE_HZ = 5000.0
_STOP_S = 10.0
_ALWAYS = -1.0  # a stop trigger that every time stamp exceeds
_NO_ERROR_HANDLING = 0  # the library's own restarts a recording, and prints, when USB fails


class MonsoonMeter(BaseMeter):
    """Main channel: supplies `voltage_v` if given, and measures voltage and current.

    The library stamps the samples of one USB packet (three) with the host's clock when it reads it,
    so stamps repeat and are late by chance: the join restores the times.
    """

    def __init__(
        self,
        model: Literal["HVPM", "LVPM"] = "HVPM",
        serial: int | None = None,
        voltage_v: float | None = None,
    ) -> None:
        self._model = model
        self._serial = serial
        self._voltage_v = voltage_v
        self._engine: Any = None
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._above: Any = None

    @property
    def info(self) -> MeterInfo:
        """What it is."""
        serial = "first found" if self._serial is None else str(self._serial)
        identity = f"Monsoon {self._model}, serial {serial}"
        return MeterInfo("monsoon", identity, RATE_HZ, ("voltage V", "current A"), "host")

    def start(self) -> None:
        """Find it, set the supply, and sample in a thread."""
        library = optional(f"Monsoon.{self._model}", "monsoon")
        sampling = optional("Monsoon.sampleEngine", "monsoon")
        self.close()
        monitor = self._connect(library)
        try:
            if self._voltage_v is not None:
                monitor.setVout(self._voltage_v)
            engine = sampling.SampleEngine(monitor, errorMode=_NO_ERROR_HANDLING)
        except Exception as error:
            raise self._failed(error) from error
        engine.ConsoleOutput(False)
        for channel in (1, 4):  # main current, main voltage
            engine.enableChannel(channel)
        for channel in (2, 3, 5):
            engine.disableChannel(channel)
        self._above = sampling.triggers.GREATER_THAN
        self._engine, self._error = engine, None
        endless = sampling.triggers.SAMPLECOUNT_INFINITE
        self._thread = threading.Thread(target=self._run, args=(endless,), daemon=True)
        self._thread.start()

    def _connect(self, library: Any) -> Any:
        said = io.StringIO()  # the library prints what it should raise
        try:
            monitor = library.Monsoon()
            with contextlib.redirect_stdout(said):
                monitor.setup_usb(self._serial)
        except Exception as error:
            raise self._failed(error) from error
        if monitor.Protocol.DEVICE is None:
            words = said.getvalue().strip()
            raise DeviceError(f"{self.info.identity} not found on USB ({words or 'no word'})")
        return monitor

    def _run(self, endless: int) -> None:
        try:
            self._engine.startSampling(endless)
        except Exception as error:
            self._error = error

    def stop(self) -> Samples:
        """End, and return the main channel."""
        engine = self._engine
        if engine is None:
            raise DeviceError("meter 'monsoon' was not started")
        self._end()
        if self._error is not None:
            raise self._failed(self._error) from self._error
        times, milliampere, _, _, volts, _ = engine.getSamples()
        count = min(len(times), len(milliampere), len(volts))  # the last block may be cut short
        if not count:
            raise DeviceError(f"{self.info.identity} gave no samples: it did not calibrate")
        return Samples.of(
            np.maximum.accumulate(np.asarray(times[:count], np.float64)),
            np.asarray(volts[:count], np.float64),
            np.asarray(milliampere[:count], np.float64) / 1e3,
        )

    def close(self) -> None:
        """End the sampling."""
        if self._engine is not None:
            self._end()

    def _end(self) -> None:
        engine, self._engine = self._engine, None
        thread, self._thread = self._thread, None
        engine.setStopTrigger(self._above, _ALWAYS)
        if thread is not None:
            thread.join(_STOP_S)
            if thread.is_alive():
                raise DeviceError(f"{self.info.identity} does not stop within {_STOP_S:.0f} s")

    def _failed(self, error: Exception) -> UserError | DeviceError:
        if getattr(error, "errno", None) == 13:
            return UserError(
                f"no permission for {self.info.identity} (USB 2ab9:0001); add a udev rule with "
                'ATTRS{idVendor}=="2ab9", MODE="0666", and replug it'
            )
        return DeviceError(f"{self.info.identity} failed: {error}")
