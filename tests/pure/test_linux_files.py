"""What Linux tells in /proc and /sys, and this computer as a machine."""

import sys
from pathlib import Path

import pytest

from bench_melt.targets.description import Description, load_machine, machine_names
from bench_melt.targets.linux_files import info_of, state_of, usage_of
from bench_melt.targets.local import LocalMachine
from bench_melt.targets.machine import Deadline, TimeLimitError
from tinyengine.errors import DeviceError, UserError

pytestmark = pytest.mark.pure

PHONE = {
    "/proc/meminfo": "MemTotal:        7654321 kB\nMemFree: 1 kB\nMemAvailable:    4000000 kB\n",
    "/sys/class/thermal/thermal_zone0/type": "cpu-0-0\n",
    "/sys/class/thermal/thermal_zone0/temp": "41500\n",
    "/sys/class/thermal/thermal_zone1/type": "modem\n",
    "/sys/class/thermal/thermal_zone1/temp": "-274000\n",
    "/sys/class/thermal/thermal_zone2/type": "battery\n",
    "/sys/class/thermal/thermal_zone2/temp": "30100\n",
    "/sys/devices/system/cpu/cpu10/cpufreq/scaling_cur_freq": "3000000\n",
    "/sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq": "1800000\n",
    "/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor": "schedutil\n",
    "/sys/class/power_supply/usb/type": "USB\n",
    "/sys/class/power_supply/bat/type": "Battery\n",
    "/sys/class/power_supply/bat/capacity": "87\n",
    "/sys/class/power_supply/bat/status": "Discharging\n",
    "/sys/class/power_supply/bat/charge_counter": "3456789\n",
}


def test_a_phones_state() -> None:
    state = state_of(PHONE, ("*",))
    assert state.temperatures_c == {"cpu-0-0": 41.5, "battery": 30.1}
    assert state.cpu_hz == (1_800_000_000, 3_000_000_000)
    assert state.governor == "schedutil"
    assert state.memory_available_bytes == 4_000_000 * 1024
    assert (state.battery_percent, state.battery_mah) == (87.0, 3456.789)
    assert state.charging is False
    assert state_of(PHONE, ("cpu-*",)).hottest_c() == 41.5
    assert state_of({}, ("*",)).hottest_c() is None


def test_a_process() -> None:
    files = {
        "/proc/9/status": "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n",
        "/proc/9/smaps_rollup": "Rss: 1 kB\nPss:   900 kB\nPss_Anon: 7 kB\n",
        "/proc/9/stat": "9 (a) b) (c) S 1 9 9 0 -1 4 1 2 3 4 150 50 7 3 20 0 1 0 5\n",
    }
    usage = usage_of(files)
    assert (usage.rss_bytes, usage.rss_peak_bytes, usage.pss_bytes) == (1 << 20, 2 << 20, 921_600)
    assert usage.cpu_s == pytest.approx(2.10)
    assert usage_of({}).cpu_s is None


def test_what_a_board_is() -> None:
    files = {
        "/etc/os-release": 'NAME=x\nPRETTY_NAME="Ubuntu 22.04.4 LTS"\n',
        "/proc/version": "Linux version 5.15.136-tegra (buildbrain@x) #1\n",
        "/sys/firmware/devicetree/base/model": "NVIDIA Jetson Orin Nano\0",
        "/proc/meminfo": "MemTotal: 8 kB\n",
    }
    info = info_of(files, "aarch64")
    assert info.os_build == "Ubuntu 22.04.4 LTS, Linux version 5.15.136-tegra"
    assert info.soc == info.cpu_info == "NVIDIA Jetson Orin Nano"
    assert info.memory_bytes == 8192


def local() -> LocalMachine:
    return LocalMachine(load_machine("local"))


def test_this_computer_runs_a_program() -> None:
    code = "import sys; print('ready 5'); print('oops', file=sys.stderr); sys.exit(3)"
    with local() as machine:
        assert (machine.probe().memory_bytes or 0) > 1 << 20
        process = machine.start([sys.executable, "-c", code])
        assert process.wait_line("ready", Deadline(10)) == "ready 5"
        assert process.wait(Deadline(10)) == 3
        assert process.output() == "ready 5\n" and "oops" in process.tail()


def test_a_program_that_ends_before_it_is_ready_is_quoted() -> None:
    with local() as machine:
        process = machine.start([sys.executable, "-c", "import sys; sys.exit('no such model')"])
        with pytest.raises(DeviceError, match="ended with exit code 1 before.*no such model"):
            process.wait_line("ready", Deadline(10))


def test_waiting_ends_with_the_deadline_and_stop_ends_the_process() -> None:
    with local() as machine:
        process = machine.start([sys.executable, "-c", "import time; time.sleep(60)"])
        with pytest.raises(
            TimeLimitError, match=r"time limit of 0.1 s passed while waiting for 'x'"
        ):
            process.wait_line("x", Deadline(0.1))
        with pytest.raises(TimeLimitError):
            process.wait(Deadline(0.1))
        assert process.poll() is None
    assert process.poll() is not None


def test_memory_of_a_process_is_kept_after_its_end() -> None:
    with local() as machine:
        code = "b = bytearray(50 << 20); print('ready', flush=True); input()"
        process = machine.start([sys.executable, "-c", code])
        process.wait_line("ready", Deadline(10))
        process.usage()
        process.wait(Deadline(10))
        assert (process.usage().rss_peak_bytes or 0) > 50 << 20


def test_what_cannot_be_started() -> None:
    with local() as machine:
        with pytest.raises(DeviceError, match="core 4000"):
            machine.start(["true"], cores=[4000])
        with pytest.raises(DeviceError, match="cannot run '/no/such/program'"):
            machine.run(["/no/such/program"])


@pytest.mark.parametrize("name", machine_names())
def test_every_shipped_machine_loads(name: str) -> None:
    machine = load_machine(name)
    assert machine.name == name and machine.tested


def test_an_unknown_machine_gets_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown machine 'locl' \(nearest: 'local'\)"):
        load_machine("locl")


def test_core_groups(tmp_path: Path) -> None:
    machine = Description(
        name="x", summary="", kind="local", tested="only in tests", cores={"big": (4, 5)}
    )
    assert machine.core_numbers("big") == (4, 5)
    assert machine.core_numbers((1,)) == (1,)
    with pytest.raises(UserError, match="no cores called 'bigg'.*nearest: 'big'"):
        machine.core_numbers("bigg")
