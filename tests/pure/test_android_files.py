"""What Android's tools print, parsed; whatever is absent or nonsense is None."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench_melt.targets.android_files import files_of, info_from, properties_of, state_from
from bench_melt.targets.machine import MachineInfo, State

pytestmark = pytest.mark.pure

RECORDED = Path(__file__).parents[1] / "fixtures" / "phone"
PIXEL = """\
Thermal Status: 2
Cached temperatures:
\tTemperature{mValue=65.0, mType=0, mName=MID, mStatus=0}
HAL Ready: true
Current temperatures from HAL:
\tTemperature{mValue=41.793081, mType=3, mName=VIRTUAL-SKIN, mStatus=2}
\tTemperature{mValue=100.0, mType=7, mName=ocp_cpu2, mStatus=0}
\tTemperature{mValue=36.2, mType=2, mName=battery, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=3, mType=2, mName=thermal-cpufreq-2}
"""


def test_a_pixels_thermal_service() -> None:
    state = state_from({}, ("VIRTUAL-SKIN", "ocp*"), "", PIXEL, "1\n")
    assert state.temperatures_c == {"VIRTUAL-SKIN": 41.793081}
    assert (state.thermal_status, state.power_mode) == ("moderate", "low_power")
    assert state_from({}, ("*",), "", PIXEL, "").hottest_c() == 41.793081


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("status: 1", None),
        ("status: 2", True),
        ("status: 3", False),
        ("status: 4", False),
        ("status: 5", True),
        ("status: x", None),
    ],
)
def test_whether_a_phone_charges(line: str, expected: bool | None) -> None:
    assert state_from({}, (), line, "", "").charging is expected


def test_a_battery_of_another_scale_and_without_a_counter() -> None:
    told = "  level: 150\n  scale: 200\n  Charge counter: 0\n  temperature: 301\n"
    state = state_from({}, ("battery",), told, "", "null\n")
    assert (state.battery_percent, state.battery_mah) == (75.0, None)
    assert (state.temperatures_c, state.power_mode) == ({"battery": 30.1}, None)


def test_files_under_their_names() -> None:
    told = "==> /r/proc/a:b <==\none\n\n\n==> /r/sys/c <==\n\n==> /r/sys/d <==\nlast"
    assert files_of(told, "/r") == {"/proc/a:b": "one\n\n", "/sys/c": "\n", "/sys/d": "last"}
    assert files_of("", "/r") == {}


def test_what_an_older_phone_calls_its_chip() -> None:
    properties = properties_of("[ro.board.platform]: [sdm845]\n[ro.soc.model]: []\nnoise\n")
    info = info_from(properties, {}, "aarch64", "")
    assert (info.soc, info.os_build, info.gpu_info) == ("sdm845", None, None)
    assert info_from({}, {}, "aarch64", "") == MachineInfo(
        cpu_info="aarch64", architecture="aarch64"
    )


@settings(deadline=None)
@given(st.data())
def test_no_text_is_too_odd(data: st.DataObject) -> None:
    """Recorded texts with pieces replaced by anything never raise."""
    texts = []
    for name in ("dumpsys_battery", "dumpsys_thermalservice", "getprop"):
        text = (RECORDED / f"{name}.txt").read_text()
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 12)))
        odd = data.draw(
            st.one_of(st.text(max_size=8), st.sampled_from(["nan", "inf", "-", "1e999"]))
        )
        texts.append(text[:start] + odd + text[end:])
    battery, thermal, getprop = texts
    state = state_from({}, ("*",), battery, thermal, getprop)
    assert isinstance(state, State)
    assert all(-40 < value_c < 150 for value_c in state.temperatures_c.values())
    info_from(properties_of(getprop), files_of(thermal, ""), None, battery)
