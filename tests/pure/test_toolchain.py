"""A missing toolchain says what to install."""

import os
import sys
from pathlib import Path

import pytest

from codegen.toolchain import find_tool, find_toolchain, install_packages, run_tool
from tinyengine.errors import InternalError, UserError


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
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
    program(tmp_path, "arm-none-eabi-gcc", "echo 'arm-none-eabi-gcc (15:8-2019-q3) 8.3.1 20190703'")
    program(tmp_path, "arm-none-eabi-objdump", "echo 'objdump'")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"too old .*8\.3\.1.*gcc 10 or newer"):
        find_toolchain("arm-none-eabi-")


def test_a_tool_tells_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "meter", "echo 'meter 1.2'")
    monkeypatch.setenv("PATH", str(tmp_path))
    tool = find_tool("meter")
    assert tool is not None and tool.version == "meter 1.2"
    assert find_tool("absent") is None


def test_a_time_out_names_the_command() -> None:
    with pytest.raises(InternalError, match="did not end within 0.2 s: .*sleep"):
        run_tool([sys.executable, "-c", "import time; time.sleep(9)"], timeout_s=0.2)


def test_installing_as_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    program(tmp_path, "apt-get", f'echo "$DEBIAN_FRONTEND $@" >> {log}')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert install_packages(["one", "two"]) is None
    assert log.read_text() == "noninteractive install -y --no-install-recommends one two\n"


def test_stale_package_lists_are_fetched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    program(tmp_path, "apt-get", f'echo "$1" >> {log}; echo "E: no package" >&2; exit 100')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    problem = install_packages(["one"])
    assert problem == "'apt-get install -y --no-install-recommends one' failed: E: no package"
    assert log.read_text().split() == ["install", "update", "install"]


def test_without_permission_the_command_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "apt-get", "exit 9")
    program(tmp_path, "sudo", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    problem = install_packages(["one"])
    assert problem is not None and problem.endswith(
        "run: sudo apt-get install -y --no-install-recommends one"
    )
