"""What boards with Linux tell beyond /proc and /sys as everybody has them: Jetson, Raspberry Pi."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from bench_melt.targets.linux_files import INFO_FILES, STATE_FILES, Files
from bench_melt.targets.machine import MachineInfo, State

BOARD_INFO_FILES = (*INFO_FILES, "/etc/nv_tegra_release")
BOARD_STATE_FILES = (
    *STATE_FILES,
    "/sys/class/hwmon/hwmon*/name",
    "/sys/class/hwmon/hwmon*/temp*_input",
    "/sys/class/hwmon/hwmon*/temp*_label",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_min_freq",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_max_freq",
    "/var/lib/nvpmodel/status",
    "/etc/nvpmodel.conf",
)

# nvpmodel: the power mode of a Jetson. jetson_clocks tells its state only to root, so it is read
# from what it does: every core's lowest clock is its highest. vcgencmd: a Raspberry Pi's throttling
ASK_TOOLS = (
    "PATH=$PATH:/sbin; "
    "for t in nvpmodel jetson_clocks vcgencmd; do command -v $t >/dev/null && echo has $t; done; "
    "command -v nvpmodel >/dev/null && nvpmodel -q 2>&1; "
    "command -v vcgencmd >/dev/null && vcgencmd get_throttled 2>&1; true"
)

_MODE = re.compile(r"NV Power Mode:\s*(\S+)")
_MODE_NUMBER = re.compile(r"pmode:\s*(\d+)")
_MODE_NAME = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>")
_THROTTLED = re.compile(r"^throttled=(0x[0-9a-fA-F]+)", re.MULTILINE)
_RELEASE = re.compile(r"# R(\d+) \(release\), REVISION: ([\d.]+)")


def read_line(root: str, patterns: Sequence[str], mark: str) -> str:
    """Return a command line of builtins that prints every readable file below `root`.

    Before each stands `mark` and its path. No process is started for it on the machine.
    """
    names = " ".join(f"{shlex.quote(root)}{pattern}" if root else pattern for pattern in patterns)
    return (
        f'for f in {names}; do if [ -f "$f" ] && [ -r "$f" ]; then printf "%s\\n" "{mark}$f"; '
        'l=; while IFS= read -r l || [ -n "$l" ]; do printf \'%s\\n\' "$l"; done <"$f"; fi; '
        "done 2>/dev/null"
    )


def files_of(text: str, root: str, mark: str) -> dict[str, str]:
    """Return path (without the root) -> content of what `read_line` printed."""
    found = {}
    for part in text.split(mark)[1:]:
        path, _, content = part.partition("\n")
        found[path.removeprefix(root)] = content
    return found


def board_info(info: MachineInfo, files: Files) -> MachineInfo:
    """Add NVIDIA's release to what the system is called."""
    release = _RELEASE.search(files.get("/etc/nv_tegra_release", ""))
    if release is None:
        return info
    name = f"L4T R{release[1]}.{release[2]}"
    return replace(info, os_build=f"{info.os_build}, {name}" if info.os_build else name)


def board_state(state: State, files: Files, zones: Sequence[str], told: str) -> State:
    """Add hwmon's temperatures, the power mode and throttling; `told` is what ASK_TOOLS printed."""
    mode = _power_mode(files, told)
    parts = [mode] if mode else []
    if "has jetson_clocks" in told.splitlines() and (pinned := _clocks_pinned(files)) is not None:
        parts.append(f"jetson_clocks {'on' if pinned else 'off'}")
    throttled = _THROTTLED.search(told)
    return replace(
        state,
        temperatures_c={**hwmon_temperatures(files, zones), **state.temperatures_c},
        power_mode=", ".join(parts) or None,
        thermal_status=f"throttled={throttled[1]}" if throttled else state.thermal_status,
    )


def hwmon_temperatures(files: Files, zones: Sequence[str]) -> Mapping[str, float]:
    """Return "chip label" -> degrees of the sensors that match a zone pattern."""
    found: dict[str, float] = {}
    for path, text in sorted(files.items()):
        match = re.fullmatch(r"(/sys/class/hwmon/hwmon\d+)/(temp\d+)_input", path)
        if match is None or not re.fullmatch(r"-?\d+\s*", text):
            continue
        chip = files.get(f"{match[1]}/name", "").strip() or match[1].rpartition("/")[2]
        label = files.get(f"{match[1]}/{match[2]}_label", "").strip() or match[2]
        name, value_c = f"{chip} {label}", int(text) / 1000
        if -40 < value_c < 150 and any(fnmatchcase(name, zone) for zone in zones):
            found[name] = value_c
    return found


def _power_mode(files: Files, told: str) -> str | None:
    """Return what nvpmodel says; where it only answers root, what its files say."""
    if found := _MODE.search(told):
        return found[1]
    number = _MODE_NUMBER.search(files.get("/var/lib/nvpmodel/status", ""))
    if number is None:
        return None
    names = _MODE_NAME.findall(files.get("/etc/nvpmodel.conf", ""))
    known = {int(key): str(name) for key, name in names}
    return known.get(int(number[1]), f"mode {int(number[1])}")


def _clocks_pinned(files: Files) -> bool | None:
    """Return whether every core's lowest clock is its highest; None where no core tells."""
    lowest = {path: text for path, text in files.items() if path.endswith("scaling_min_freq")}
    if not lowest:
        return None
    return all(
        files.get(path.replace("scaling_min", "scaling_max"), "").strip() == text.strip()
        for path, text in lowest.items()
    )
