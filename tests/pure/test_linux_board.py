"""What boards tell beside /proc and /sys: power modes, pinned clocks, throttling, hwmon."""

import pytest

from bench_melt.targets.linux_board import board_info, board_state, files_of
from bench_melt.targets.machine import MachineInfo, State

CONF = "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
CLOCK = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_"


@pytest.mark.parametrize(
    ("told", "files", "mode"),
    [
        ("", {}, None),
        ("has nvpmodel\nNV Fan Mode:quiet\nNV Power Mode: MODE_30W\n2\n", {}, "MODE_30W"),
        (
            "has nvpmodel\nNVPM ERROR: not root",
            {"/var/lib/nvpmodel/status": "pmode:0002 fmode:quiet\n", "/etc/nvpmodel.conf": CONF},
            "MAXN_SUPER",
        ),
        ("", {"/var/lib/nvpmodel/status": "pmode:0007\n"}, "mode 7"),
        (
            "has jetson_clocks",
            {f"{CLOCK}min_freq": "1510400\n", f"{CLOCK}max_freq": "1510400\n"},
            "jetson_clocks on",
        ),
        (
            "has jetson_clocks\nNV Power Mode: 15W",
            {f"{CLOCK}min_freq": "115200\n", f"{CLOCK}max_freq": "1510400\n"},
            "15W, jetson_clocks off",
        ),
        ("has jetson_clocks", {}, None),
        ("", {f"{CLOCK}min_freq": "1\n", f"{CLOCK}max_freq": "1\n"}, None),
    ],
)
def test_power_modes(told: str, files: dict[str, str], mode: str | None) -> None:
    assert board_state(State(), files, ("*",), told).power_mode == mode


def test_throttling_of_a_raspberry_pi() -> None:
    assert board_state(State(), {}, (), "throttled=0x50005\n").thermal_status == "throttled=0x50005"
    kept = board_state(State(thermal_status="x"), {}, (), "")
    assert kept.thermal_status == "x"


def test_hwmon_sensors_by_pattern() -> None:
    folder = "/sys/class/hwmon/hwmon3"
    files = {
        f"{folder}/name": "nvme\n",
        f"{folder}/temp1_input": "51850\n",
        f"{folder}/temp1_label": "Composite\n",
        f"{folder}/temp2_input": "-274000\n",
        f"{folder}/temp3_input": "",  # a sensor that is asleep
        "/sys/class/hwmon/hwmon4/temp1_input": "40000\n",
    }
    everything = board_state(State(), files, ("*",), "").temperatures_c
    assert everything == {"nvme Composite": 51.85, "hwmon4 temp1": 40.0}
    assert not board_state(State(), files, ("*-therm*",), "").temperatures_c


def test_what_a_shell_printed_becomes_files_again() -> None:
    text = "noise\n@@/r/proc/x\n1\n2\n@@/r/sys/y\n@@/r/etc/z\na@b\n"
    assert files_of(text, "/r", "@@") == {"/proc/x": "1\n2\n", "/sys/y": "", "/etc/z": "a@b\n"}


def test_nvidias_release() -> None:
    files = {"/etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 1\n"}
    assert board_info(MachineInfo(os_build="Ubuntu"), files).os_build == "Ubuntu, L4T R35.4.1"
    assert board_info(MachineInfo(), files).os_build == "L4T R35.4.1"
    assert board_info(MachineInfo(os_build="Debian"), {}).os_build == "Debian"
