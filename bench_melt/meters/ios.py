"""An iPhone's battery gauge, as `pymobiledevice3` reads it from the phone's registry."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from bench_melt.energy.samples import Floats, Samples
from bench_melt.meters.base import Clock, MeterInfo, PolledMeter
from tinyengine.errors import DeviceError

Battery = Callable[[], Mapping[str, Any]]  # AppleSmartBattery's properties

_SIGNED_64 = 1 << 64


class IosBatteryMeter(PolledMeter):
    """InstantAmperage and Voltage, refreshed every some 20 s: good for sustained runs alone.

    Readings that the phone has not refreshed since (UpdateTime) are left out; stamps are
    UpdateTime, whole seconds of the phone's clock, or the host's clock where it is not told.
    """

    def __init__(
        self, battery: Battery, every_s: float = 1.0, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(every_s, clock)
        self._battery = battery
        self._last: float | None = None
        self._clock_name = "device"

    @property
    def info(self) -> MeterInfo:
        """What it is."""
        rate_hz = 1.0 / self._every_s
        channels = ("voltage V", "current A")
        return MeterInfo("ios", "AppleSmartBattery", rate_hz, channels, self._clock_name)

    def start(self) -> None:
        """Forget what was read before, then sample."""
        self._last = None
        super().start()

    def read(self) -> tuple[float, ...] | None:
        """Return seconds, volts and amperes out of the battery; None: nothing new."""
        told = self._battery()
        missing = [name for name in ("InstantAmperage", "Voltage") if name not in told]
        if missing:
            raise DeviceError(f"the phone's battery does not tell {' and '.join(missing)}")
        milliampere = int(told["InstantAmperage"])
        if milliampere >= _SIGNED_64 // 2:  # a negative number, read as if it were not
            milliampere -= _SIGNED_64
        stamp = told.get("UpdateTime")
        if stamp is None:
            self._clock_name = "host"
        at_s = self._clock() if stamp is None else float(stamp)
        if stamp is not None and at_s == self._last:
            return None
        self._last = at_s
        return at_s, float(told["Voltage"]) / 1e3, -milliampere / 1e3

    def convert(self, rows: Floats) -> Samples:
        """Return the samples."""
        return Samples.of(rows[:, 0], rows[:, 1], rows[:, 2])
