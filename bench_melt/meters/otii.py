"""Qoitech's Otii Arc and Ace through the server of the Otii desktop application."""

from typing import Any

import numpy as np

from bench_melt.energy.samples import Samples
from bench_melt.meters.base import BaseMeter, MeterInfo, optional
from tinyengine.errors import DeviceError, UserError

_CURRENT, _VOLTAGE = "mc", "mv"


class OtiiMeter(BaseMeter):
    """Records main current and voltage in a project of its own, and fetches them when stopped.

    The application stamps a recording by its first sample and its interval. The voltage is sampled
    more slowly than the current, and taken as a line between its samples.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 1905,
        device: str | None = None,
        voltage_v: float | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._wanted = device
        self._voltage_v = voltage_v
        self._client: Any = None
        self._device: Any = None
        self._project: Any = None
        self._found = ""
        self._rate_hz: float | None = None

    @property
    def info(self) -> MeterInfo:
        """What it is."""
        identity = self._found or f"Otii at {self._host}:{self._port}"
        return MeterInfo("otii", identity, self._rate_hz, ("voltage V", "current A"), "meter")

    def start(self) -> None:
        """Connect, switch the supply on if a voltage is given, and record."""
        library = optional("otii_tcp_client.otii_client", "otii-tcp-client")
        self.close()
        client = library.OtiiClient()
        try:
            otii = client.connect(host=self._host, port=self._port)
            self._client = client
            self._device = device = self._choose(otii.get_devices())
            self._project = otii.create_project()
            device.add_to_project()
            device.enable_channel(_CURRENT, True)
            device.enable_channel(_VOLTAGE, True)
            if self._voltage_v is not None:
                device.set_main_voltage(self._voltage_v)
                device.set_main(True)
            self._rate_hz = float(device.get_channel_samplerate(_CURRENT))
            self._project.start_recording()
        except (UserError, DeviceError):
            self.close()
            raise
        except Exception as error:
            self._client = self._client or client
            self.close()
            raise DeviceError(
                f"the Otii server at {self._host}:{self._port} refuses: {_words(error)}; is the "
                "application running, its TCP server on, and a licence for automation free?"
            ) from error

    def _choose(self, devices: list[Any]) -> Any:
        if self._wanted is not None:
            devices = [d for d in devices if self._wanted in (d.name, d.id)]
        if len(devices) != 1:
            wanted = f" called '{self._wanted}'" if self._wanted else ""
            names = ", ".join(d.name for d in devices) or "none"
            raise DeviceError(f"{len(devices)} Otii devices{wanted} found ({names}); one is needed")
        self._found = f"{devices[0].type} {devices[0].name} {devices[0].id}"
        return devices[0]

    def stop(self) -> Samples:
        """End the recording and fetch it."""
        if self._project is None:
            raise DeviceError("meter 'otii' was not started")
        project, self._project = self._project, None
        try:
            project.stop_recording()
            recording = project.get_last_recording()
            if recording is None:
                raise DeviceError(f"{self._found} recorded nothing")
            time_s, current_a = self._channel(recording, _CURRENT)
            volts_at_s, volts = self._channel(recording, _VOLTAGE)
        except DeviceError:
            raise
        except Exception as error:
            raise DeviceError(f"{self._found} failed: {_words(error)}") from error
        finally:
            self.close()
        return Samples.of(time_s, np.interp(time_s, volts_at_s, volts), current_a)

    def _channel(self, recording: Any, channel: str) -> tuple[Any, Any]:
        count = recording.get_channel_data_count(self._device.id, channel)
        if count < 2:
            raise DeviceError(f"{self._found} recorded {count} samples of channel '{channel}'")
        data = recording.get_channel_data(self._device.id, channel, 0, count)
        values = np.asarray(data["values"], np.float64)
        return data["timestamp"] + np.arange(len(values)) * data["interval"], values

    def close(self) -> None:
        """End the recording and the connection; the device stays powered."""
        project, self._project = self._project, None
        client, self._client = self._client, None
        try:
            if project is not None:
                project.stop_recording()
        finally:
            if client is not None:
                client.disconnect()


def _words(error: Exception) -> str:
    return str(getattr(error, "message", "") or error)
