"""What is installed: outside tools, Python packages, and what can be done about the rest."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codegen import toolchain
from codegen.paths import boards_dir, firmware_dir


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the tools need or can use; `version` is None where it is missing."""

    name: str
    version: str | None
    where: str
    needed_for: str
    apt_packages: tuple[str, ...] = ()


# program, what for, Debian packages that hold it
_TOOLS = (
    ("gcc", "board 'host'", toolchain.HOST_PACKAGES),
    (f"{toolchain.ARM_PREFIX}gcc", "Cortex-M boards", toolchain.ARM_PACKAGES),
    ("qemu-system-arm", "boards 'qemu_*'", toolchain.QEMU_PACKAGES),
)

# what phones, boards with Linux and runners need, and their tests: much to install unasked
_MORE_TOOLS = (
    ("adb", "phones with Android; tests/phone", ("adb",)),
    ("mksh", "tests/phone: the shell of Android", ("mksh",)),
    ("toybox", "tests/phone: its commands", ("toybox",)),
    ("g++", "bench-melt runner build", ("g++",)),
    ("cmake", "bench-melt runner build", ("cmake",)),
    ("ninja", "bench-melt runner build", ("ninja-build",)),
    ("aarch64-linux-gnu-g++", "runners for phones and boards", toolchain.CROSS_PACKAGES),
    ("qemu-aarch64-static", "trying such runners here", toolchain.EMULATOR_PACKAGES),
)

# data that Debian packages: good to have, nothing breaks without it
_DATA = ("dataset-fashion-mnist",)

# import name, distribution, what for; the extras come last
_PACKAGES = (
    ("tinyengine", "tinyengine-mcu", "model -> plan"),
    ("codegen", "tinyengine-mcu", "plan -> ELF"),
    ("bench_melt", "tinyengine-mcu", "ELF -> device -> report"),
    ("numpy", "numpy", "arithmetic"),
    ("tflite", "tflite", "reading .tflite"),
    ("flatbuffers", "flatbuffers", "reading .tflite"),
    ("autograd", "autograd", "gradcheck"),
    ("serial", "pyserial", "the link"),
    ("ai_edge_litert", "ai-edge-litert", "extra 'litert'"),
    ("tflite_runtime", "tflite-runtime", "extra 'tflite-runtime'"),
    ("tflite_micro", "tflite-micro", "extra 'dev': the reference interpreter"),
    ("sklearn", "scikit-learn", "extra 'data'"),
    ("skimage", "scikit-image", "extra 'data'"),
    ("seglearn", "seglearn", "extra 'data'"),
    ("asyncssh", "asyncssh", "extra 'ssh': boards with Linux"),
    ("ortools", "ortools", "extra 'cp-sat': compile --arena cp-sat"),
    ("platformio", "platformio", "extra 'platformio'"),
)


def examine_tools(*, everything: bool = False) -> tuple[Finding, ...]:
    """Return the outside programs, found or missing.

    everything: offer to install those too that not every use of the tools needs.
    """
    findings = [*(_tool(*row) for row in _TOOLS)]
    findings += [_tool(name, use, apt if everything else ()) for name, use, apt in _MORE_TOOLS]
    findings.append(_ssh_server(everything))
    arm = toolchain.find_tool(f"{toolchain.ARM_PREFIX}gcc")
    if arm is not None:
        version = "present" if toolchain.has_newlib(arm) else None
        packages = toolchain.ARM_PACKAGES
        findings.append(Finding("newlib (nano)", version, "", "Cortex-M boards", packages))
    return tuple(findings)


def examine_data() -> tuple[Finding, ...]:
    """Return the data sets that Debian packages; empty where there is no dpkg."""
    if toolchain.find_tool("dpkg-query") is None:
        return ()
    return tuple(_data(name) for name in _DATA)


def examine_packages() -> tuple[Finding, ...]:
    """Return this Python, its packages with the places they load from, and our data folders."""
    return tuple(_packages())


def missing_packages(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Return the Debian packages that hold the missing tools, each once, in order."""
    names = [name for item in findings if item.version is None for name in item.apt_packages]
    return tuple(dict.fromkeys(names))


def _tool(name: str, needed_for: str, packages: tuple[str, ...]) -> Finding:
    tool = toolchain.find_tool(name)
    version, where = (tool.version, str(tool.path)) if tool else (None, "")
    return Finding(name, version, where, needed_for, packages)


def _ssh_server(offered: bool) -> Finding:
    """Return the server of tests/remote, whose Debian package starts a service, too."""
    packages = ("openssh-server",) if offered else ()
    # it stands where only root's PATH leads
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/sbin")
    if found is None:
        return Finding("sshd", None, "", "tests/remote: openssh-server, by hand", packages)
    answer = toolchain.run_tool([found, "-V"], timeout_s=20)
    lines = (line for line in answer.stderr.splitlines() if "OpenSSH" in line)
    return Finding("sshd", next(lines, "present"), found, "tests/remote", packages)


def _data(name: str) -> Finding:
    format_option = "--showformat=${db:Status-Status} ${Version}"
    answer = toolchain.run_tool(["dpkg-query", "-W", format_option, name], timeout_s=20)
    status, _, version = answer.stdout.partition(" ")
    return Finding(name, version if status == "installed" else None, "", "data set", (name,))


def _packages() -> Iterator[Finding]:
    yield Finding("python", platform.python_version(), sys.executable, "everything")
    for module, distribution, needed_for in _PACKAGES:
        spec = importlib.util.find_spec(module)
        if spec is None:
            yield Finding(module, None, "", needed_for)
            continue
        places = list(spec.submodule_search_locations or ()) or [str(spec.origin)]
        yield Finding(module, _version(distribution), places[0], needed_for)
    for name, folder in (("firmware", firmware_dir()), ("boards", boards_dir())):
        yield Finding(name, _count(folder), str(folder), "travels with the package")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a distribution"


def _count(folder: Path) -> str:
    return f"{sum(path.is_file() for path in folder.rglob('*'))} files"
