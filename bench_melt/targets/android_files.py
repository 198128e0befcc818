"""What Android's own tools print (`getprop`, `dumpsys`, `head -v`), parsed.

Whatever is absent, refused or nonsense is None: phones differ in what they let the shell see.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from bench_melt.targets.linux_files import Files, info_of, state_of
from bench_melt.targets.machine import MachineInfo, State

# frameworks/base, PowerManager.THERMAL_STATUS_*
THERMAL_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")

_PROPERTY = re.compile(r"^\[([^\]]+)\]: \[(.*)\]$", re.MULTILINE)
_HEADER = re.compile(r"^==> (/.*) <==\n", re.MULTILINE)
_TEMPERATURE = re.compile(
    r"Temperature\{mValue=([^,]+), mType=(-?\d+), mName=([^,]+), mStatus=\d+\}"
)
_GPU = re.compile(r"^GLES: (.+)$", re.MULTILINE)
_CHARGING = {"2": True, "3": False, "4": False, "5": True}  # BatteryManager: 1 is "unknown"
_SENSIBLE_C = (-40.0, 150.0)
_NO_DEGREES = ("6", "7", "8")  # TemperatureType: voltage, current and charge of the battery


def properties_of(getprop: str) -> dict[str, str]:
    """Return the system's properties, empty ones left out."""
    return {name: value for name, value in _PROPERTY.findall(getprop) if value}


def files_of(head: str, root: str) -> dict[str, str]:
    """Return path -> text from what `head -v FILE...` printed, paths as without `root`."""
    parts = _HEADER.split(head)
    # between two files head puts an empty line
    texts = [text.removesuffix("\n") if text.endswith("\n\n") else text for text in parts[2::2]]
    return {
        f"/{path.removeprefix(root).lstrip('/')}": text
        for path, text in zip(parts[1::2], texts, strict=True)
    }


def info_from(
    properties: Mapping[str, str], files: Files, architecture: str | None, surfaces: str
) -> MachineInfo:
    """Return what a phone is.

    Args:
        properties: Of `getprop`.
        files: INFO_FILES.
        architecture: As `uname -m` says.
        surfaces: What `dumpsys SurfaceFlinger` prints: it names the graphics processor.
    """
    maker, model = properties.get("ro.soc.manufacturer"), properties.get("ro.soc.model")
    named = " ".join(part for part in (maker, model) if part)
    soc = named or properties.get("ro.board.platform") or properties.get("ro.hardware")
    gpu = _GPU.search(surfaces)
    return replace(
        info_of(files, architecture),
        os_build=properties.get("ro.build.fingerprint"),
        soc=soc,
        cpu_info=soc or architecture,
        gpu_info=gpu[1].strip() if gpu else None,
    )


def state_from(
    files: Files, zones: Sequence[str], battery: str, thermal: str, low_power: str
) -> State:
    """Return a phone's state.

    Args:
        files: STATE_FILES; many phones hide most of them from the shell.
        zones: Patterns of the sensors that count.
        battery: `dumpsys battery`.
        thermal: `dumpsys thermalservice`.
        low_power: `settings get global low_power`.
    """
    known = state_of(files, zones)
    told = _fields(battery)
    level, scale = _number(told.get("level")), _number(told.get("scale"))
    charge_uah = _number(told.get("Charge counter"))
    return replace(
        known,
        temperatures_c={**known.temperatures_c, **dict(_temperatures(thermal, told, zones))},
        thermal_status=_status(thermal),
        power_mode={"0": "normal", "1": "low_power"}.get(low_power.strip()),
        battery_percent=100 * level / scale if level is not None and scale else None,
        # some phones have no counter and say 0 or less
        battery_mah=charge_uah / 1000 if charge_uah and charge_uah > 0 else known.battery_mah,
        charging=_CHARGING.get(told.get("status", "")),
    )


def _temperatures(
    thermal: str, battery: Mapping[str, str], zones: Sequence[str]
) -> Iterator[tuple[str, float]]:
    """Yield the sensors that match: the battery's, then those of the thermal service."""
    found = []
    tenths = _number(battery.get("temperature"))
    if tenths is not None:
        found.append(("battery", tenths / 10))
    # before this heading stand values that the service remembers, however old
    _, _, current = thermal.partition("Current temperatures from HAL:")
    for text, kind, name in _TEMPERATURE.findall(current):
        value_c = _number(text)
        if value_c is not None and kind not in _NO_DEGREES:
            found.append((name.strip(), value_c))
    for name, value_c in found:
        sensible = _SENSIBLE_C[0] < value_c < _SENSIBLE_C[1]
        if sensible and any(fnmatchcase(name, zone) for zone in zones):
            yield name, value_c


def _status(thermal: str) -> str | None:
    found = re.search(r"^\s*Thermal Status: (\d+)$", thermal, re.MULTILINE)
    number = int(found[1]) if found else len(THERMAL_STATUS)
    return THERMAL_STATUS[number] if number < len(THERMAL_STATUS) else None


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None
