"""Finds compilers and the other outside tools, asks their versions, runs them, installs them."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyengine.errors import InternalError, UserError

ARM_PREFIX = "arm-none-eabi-"
ARM_PACKAGES = ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi")
HOST_PACKAGES = ("gcc", "libc6-dev")
QEMU_PACKAGES = ("qemu-system-arm",)
CROSS_PACKAGES = ("g++-aarch64-linux-gnu", "libc6-dev-arm64-cross")
EMULATOR_PACKAGES = ("qemu-user-static",)

_OLDEST_GCC = 10  # the first that writes the call graph with frame sizes (-fcallgraph-info=su)


@dataclass(frozen=True, slots=True)
class Tool:
    """An outside program: where it is and what it says its version is."""

    name: str
    path: Path
    version: str


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A C compiler and the disassembler that belongs to it."""

    gcc: Tool
    objdump: Path

    @property
    def has_callgraph(self) -> bool:
        """True when the compiler writes call graphs with frame sizes (gcc >= 10)."""
        return "clang" not in self.gcc.version and _major(self.gcc.version) >= _OLDEST_GCC


def apt_line(packages: Sequence[str]) -> str:
    """Return the command that installs Debian packages, without the recommended 1.5 GB."""
    return f"apt-get install -y --no-install-recommends {' '.join(packages)}"


def how_to_install(packages: Sequence[str]) -> str:
    """Return the three ways to get packages, for the end of an error message."""
    return (
        f"install: {apt_line(packages)} (or 'make setup' in a checkout, "
        "or 'tinyengine-codegen doctor --install')"
    )


def find_tool(name: str) -> Tool | None:
    """Return the program `name` of the PATH with the first line of its `--version`, or None."""
    found = shutil.which(name)
    if found is None:
        return None
    try:
        answer = run_tool([found, "--version"], timeout_s=20)
    except UserError:
        return None
    # some have no such option, and complain
    said = (answer.stdout or answer.stderr) if answer.returncode == 0 else ""
    lines = said.strip().splitlines()
    return Tool(name, Path(found), lines[0] if lines else "unknown")


def find_toolchain(prefix: str) -> Toolchain:
    """Return the compiler whose programs start with `prefix`; empty means the native one.

    Raises:
        UserError: it is missing, incomplete or too old; the message says what to install.
    """
    if prefix:
        names: Sequence[str] = (f"{prefix}gcc",)
        packages = ARM_PACKAGES if prefix == ARM_PREFIX else ()
    else:
        names, packages = ("gcc", "cc"), HOST_PACKAGES
    gcc = next((tool for tool in map(find_tool, names) if tool), None)
    objdump = shutil.which(f"{prefix}objdump")
    advice = how_to_install(packages) if packages else "put it on the PATH"
    if gcc is None or objdump is None:
        missing = names[0] if gcc is None else f"{prefix}objdump"
        raise UserError(f"the toolchain's '{missing}' is not on the PATH; {advice}")
    chain = Toolchain(gcc, Path(objdump))
    if prefix and not chain.has_callgraph:
        raise UserError(
            f"'{gcc.path}' is too old ({gcc.version}): gcc {_OLDEST_GCC} or newer is needed for "
            f"the worst-case stack; {advice}"
        )
    if prefix == ARM_PREFIX and not has_newlib(gcc):
        raise UserError(f"'{gcc.path}' has no C library (nano.specs of newlib); {advice}")
    return chain


def has_newlib(gcc: Tool) -> bool:
    """True when an Arm compiler has newlib's nano variant beside it."""
    answer = run_tool([str(gcc.path), "-print-file-name=nano.specs"], timeout_s=20)
    return Path(answer.stdout.strip()).is_absolute()


def run_tool(
    argv: Sequence[str], *, timeout_s: float, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program without a shell and return what it wrote, whatever its exit code.

    Raises:
        UserError: it cannot be started.
        InternalError: it did not end within `timeout_s`.
    """
    # messages are read by people and by us: the same language everywhere
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(
            list(argv),
            cwd=cwd,
            env=environment,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise UserError(f"cannot run '{argv[0]}': {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise InternalError(
            f"'{argv[0]}' did not end within {timeout_s:g} s: {' '.join(argv)}"
        ) from error


def install_packages(packages: Sequence[str]) -> str | None:
    """Install Debian packages where root or a password-free sudo permits.

    Returns:
        None when all went well, else one line saying why not and what to do.
    """
    if shutil.which("apt-get") is None:
        return f"no apt-get here: install what {', '.join(packages)} hold by other means"
    sudo: tuple[str, ...] = ()
    if os.geteuid() != 0:
        if not shutil.which("sudo") or run_tool(["sudo", "-n", "true"], timeout_s=20).returncode:
            return f"not root, and sudo asks for a password; run: sudo {apt_line(packages)}"
        sudo = ("sudo", "-n")
    install = ("env", "DEBIAN_FRONTEND=noninteractive", *apt_line(packages).split())
    if run_tool([*sudo, *install], timeout_s=1800).returncode == 0:
        return None
    run_tool([*sudo, "apt-get", "update"], timeout_s=600)  # the lists may be stale or absent
    answer = run_tool([*sudo, *install], timeout_s=1800)
    if answer.returncode == 0:
        return None
    last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
    return f"'{apt_line(packages)}' failed: {last}"


def _major(version: str) -> int:
    """Return 12 for `arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205`."""
    numbers = re.findall(r"(?<![\w.:])(\d+)\.\d+", re.sub(r"\([^)]*\)", "", version))
    return int(numbers[0]) if numbers else 0
