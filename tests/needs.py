"""What tests need from outside. On a desk a missing tool is a skip, in CI (CI=true) a failure.

The one exception is `../shared`: other people's files, which no clone carries.
"""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

NEEDS = {
    "hostc": ("gcc",),
    "cross": ("arm-none-eabi-gcc",),
    "emu": ("arm-none-eabi-gcc", "qemu-system-arm"),
    "phone": ("adb", "mksh", "toybox"),
    "remote": ("sshd", "ssh-keygen"),
}


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def missing(reason: str) -> NoReturn:
    """End the test: something that it needs is not installed."""
    if in_ci():
        pytest.fail(f"{reason} (a skip outside CI)", pytrace=False)
    pytest.skip(reason)


def without(tool: str) -> None:
    """Go on only when a program is on the PATH."""
    if which(tool) is None:
        missing(f"'{tool}' is not installed; 'make setup' says how")


def which(tool: str) -> str | None:
    """Return the path of a program, also of a server's, which only root's PATH leads to."""
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/sbin")


def package(name: str, how: str = "'make setup' installs it") -> None:
    """Go on only when a Python package can be imported."""
    if importlib.util.find_spec(name) is None:
        missing(f"python package '{name}' is not installed; {how}")


def shared_folder() -> Path:
    """Return `../shared` of the checkout; skips, also in CI, where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    return folder
