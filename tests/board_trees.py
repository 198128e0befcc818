"""Folders that stand in for / of a board: laid out as its vendor says, the values made up."""

from pathlib import Path

_ORIN_NANO = {
    "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 62.50\nCPU part\t: 0xd42\n",
    "proc/meminfo": "MemTotal:        7801208 kB\nMemAvailable:    5800000 kB\n",
    "proc/version": "Linux version 5.15.148-tegra (buildbrain@x) (gcc) #1 SMP PREEMPT\n",
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n',
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
    "sys/firmware/devicetree/base/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5040\n",
    "sys/class/hwmon/hwmon1/curr1_input": "1000\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/class/hwmon/hwmon1/in2_input": "5032\n",
    "sys/class/hwmon/hwmon1/curr2_input": "152\n",
    "sys/class/hwmon/hwmon1/in3_label": "VDD_SOC\n",
    "sys/class/hwmon/hwmon1/in3_input": "5032\n",
    "sys/class/hwmon/hwmon1/curr3_input": "264\n",
    "sys/class/hwmon/hwmon0/name": "tmp451\n",
    "sys/class/hwmon/hwmon0/temp1_input": "38250\n",
}
_ZONES = {
    "cpu-thermal": 45_500,
    "gpu-thermal": 44_000,
    "cv0-thermal": -256_000,
    "tj-thermal": 45_600,
}


def orin_nano(root: Path, *, pinned: bool = False) -> Path:
    """Make the tree of a Jetson Orin Nano."""
    files = dict(_ORIN_NANO)
    for index, (name, value) in enumerate(_ZONES.items()):
        zone = f"sys/class/thermal/thermal_zone{index}"
        files |= {f"{zone}/type": f"{name}\n", f"{zone}/temp": f"{value}\n"}
    for core in range(6):
        clock = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        files |= {
            f"{clock}/cpuinfo_max_freq": "1510400\n",
            f"{clock}/scaling_max_freq": "1510400\n",
            f"{clock}/scaling_min_freq": "1510400\n" if pinned else "729600\n",
            f"{clock}/scaling_cur_freq": "1113600\n",
            f"{clock}/scaling_governor": "schedutil\n",
        }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
