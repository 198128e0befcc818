"""What Linux tells about itself and its processes in `/proc` and `/sys`, parsed.

The same text comes from this computer, over ssh from a board and over adb from a phone, so the
parsing takes texts: `Files` maps a path to what it holds. A file that is absent or unreadable is
simply not in it, and the figure is None.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from bench_melt.targets.machine import MachineInfo, State, Usage

Files = Mapping[str, str]

INFO_FILES = (
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/version",
    "/etc/os-release",
    "/sys/firmware/devicetree/base/model",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq",
)
STATE_FILES = (
    "/proc/meminfo",
    "/sys/class/thermal/thermal_zone*/type",
    "/sys/class/thermal/thermal_zone*/temp",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor",
    "/sys/class/power_supply/*/type",
    "/sys/class/power_supply/*/capacity",
    "/sys/class/power_supply/*/status",
    "/sys/class/power_supply/*/charge_counter",
)

_ZONE = re.compile(r"/sys/class/thermal/(thermal_zone\d+)/temp$")
_CORE = re.compile(r"/cpu(\d+)/cpufreq/")
_SUPPLY = re.compile(r"(/sys/class/power_supply/[^/]+)/type$")
_TICKS_PER_S = 100  # USER_HZ: fixed in Linux's interface on every architecture
_SENSIBLE_C = (-40.0, 150.0)  # a sensor that is off tells -274000 or 0x7fffffff


def process_files(pid: int) -> tuple[str, str, str]:
    """Return the files that `usage_of` wants of a process."""
    return f"/proc/{pid}/status", f"/proc/{pid}/smaps_rollup", f"/proc/{pid}/stat"


def usage_of(files: Files) -> Usage:
    """Return a process's memory and processor time from its three files (any may be absent)."""
    status = _first(files, "/status")
    rollup = _first(files, "/smaps_rollup")
    return Usage(
        rss_bytes=_kib(status, "VmRSS"),
        rss_peak_bytes=_kib(status, "VmHWM"),
        pss_bytes=_kib(rollup, "Pss"),
        cpu_s=_cpu_s(_first(files, "/stat")),
    )


def info_of(files: Files, architecture: str | None) -> MachineInfo:
    """Return what the machine is from INFO_FILES."""
    cpu = files.get("/proc/cpuinfo", "")
    soc = files.get("/sys/firmware/devicetree/base/model", "").rstrip("\0\n") or None
    release = dict(_assignments(files.get("/etc/os-release", "")))
    kernel = " ".join(files.get("/proc/version", "").split()[:3])
    build = ", ".join(part for part in (release.get("PRETTY_NAME"), kernel) if part)
    return MachineInfo(
        os_build=build or None,
        soc=soc,
        cpu_info=_field(cpu, "model name") or _field(cpu, "Hardware") or soc or architecture,
        memory_bytes=_kib(files.get("/proc/meminfo", ""), "MemTotal"),
        cores_max_hz=_clocks(files, "cpuinfo_max_freq"),
        architecture=architecture,
    )


def state_of(files: Files, zones: Sequence[str]) -> State:
    """Return temperatures of the zones that match, clocks, memory and battery from STATE_FILES."""
    governors = {text.strip() for path, text in files.items() if path.endswith("scaling_governor")}
    battery = _battery(files)
    percent = _number(files.get(f"{battery}/capacity"))
    charge_uah = _number(files.get(f"{battery}/charge_counter"))
    status = files.get(f"{battery}/status", "").strip()
    return State(
        temperatures_c=dict(_temperatures(files, zones)),
        governor="/".join(sorted(governors)) or None,
        cpu_hz=_clocks(files, "scaling_cur_freq"),
        memory_available_bytes=_kib(files.get("/proc/meminfo", ""), "MemAvailable"),
        battery_percent=percent,
        battery_mah=None if charge_uah is None else charge_uah / 1000,
        charging=status in ("Charging", "Full") if status else None,
    )


def _temperatures(files: Files, zones: Sequence[str]) -> Iterator[tuple[str, float]]:
    for path, text in sorted(files.items()):
        if found := _ZONE.search(path):
            name = files.get(path.removesuffix("temp") + "type", "").strip() or found[1]
            raw = _number(text)
            # the kernel's unit is a thousandth of a degree
            value_c = None if raw is None else raw / 1000
            if value_c is None or not _SENSIBLE_C[0] < value_c < _SENSIBLE_C[1]:
                continue
            if any(fnmatchcase(name, zone) or fnmatchcase(found[1], zone) for zone in zones):
                yield name, value_c


def _battery(files: Files) -> str:
    """Return the folder of the battery, "" without one."""
    for path, text in sorted(files.items()):
        if (found := _SUPPLY.match(path)) and text.strip() == "Battery":
            return found[1]
    return ""


def _clocks(files: Files, name: str) -> tuple[int, ...]:
    """Return one clock in Hz per core, in core order; the files hold kHz."""
    found = {
        int(core[1]): int(_number(text) or 0) * 1000
        for path, text in files.items()
        if path.endswith(f"/{name}") and (core := _CORE.search(path))
    }
    return tuple(found[core] for core in sorted(found))


def _cpu_s(stat: str) -> float | None:
    """Return user and system time of a process and of its children that ended."""
    # the second field is the program's name in parentheses, and may hold anything
    fields = stat.rpartition(")")[2].split()
    if len(fields) < 15:
        return None
    return sum(int(ticks) for ticks in fields[11:15]) / _TICKS_PER_S


def _first(files: Files, ending: str) -> str:
    return next((text for path, text in files.items() if path.endswith(ending)), "")


def _kib(text: str, key: str) -> int | None:
    found = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _field(text: str, key: str) -> str | None:
    found = re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name, value.strip('"')
