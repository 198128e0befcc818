"""A missing toolchain says what to install."""

import sys
from pathlib import Path

import pytest

from codegen.toolchain import find_tool, find_toolchain, run_tool
from tinyengine.errors import InternalError, UserError


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)


def test_no_arm_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as error:
        find_toolchain("arm-none-eabi-")
    text = str(error.value)
    assert "'arm-none-eabi-gcc' is not on the PATH" in text
    packages = "gcc-arm-none-eabi libnewlib-arm-none-eabi"
    assert f"apt-get install -y --no-install-recommends {packages} " in text
    assert "make setup" in text and "tinyengine-codegen doctor --install" in text


def test_no_host_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"'gcc' is not on the PATH; install: apt-get .* libc6-dev"):
        find_toolchain("")


def test_too_old_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "arm-none-eabi-gcc", "arm-none-eabi-gcc (15:8-2019-q3) 8.3.1 20190703")
    program(tmp_path, "arm-none-eabi-objdump", "objdump")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"too old .*8\.3\.1.*gcc 10 or newer"):
        find_toolchain("arm-none-eabi-")


def test_a_tool_tells_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "meter", "meter 1.2")
    monkeypatch.setenv("PATH", str(tmp_path))
    tool = find_tool("meter")
    assert tool is not None and tool.version == "meter 1.2"
    assert find_tool("absent") is None


def test_a_time_out_names_the_command() -> None:
    with pytest.raises(InternalError, match="did not end within 0.2 s: .*sleep"):
        run_tool([sys.executable, "-c", "import time; time.sleep(9)"], timeout_s=0.2)
