"""Which processors runners are built for, and the compilers that build for them."""

import importlib.util
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from codegen.tables import nearest
from codegen.toolchain import CROSS_PACKAGES, apt_line, run_tool
from tinyengine.errors import UserError

EMULATOR = "qemu-aarch64-static"

_GCC = "aarch64-linux-gnu-"
_ZIG_TARGET = "aarch64-linux-musl"  # static by nature: Android's kernel needs no more
_ZIG_TOOLS: Mapping[str, Sequence[str]] = {
    "cc": ("cc", "-target", _ZIG_TARGET),
    "c++": ("c++", "-target", _ZIG_TARGET),
    "ar": ("ar",),
    "ranlib": ("ranlib",),
}


class Choice(StrEnum):
    """Which compiler to build with."""

    AUTO = "auto"
    GCC = "gcc"
    ZIG = "zig"


@dataclass(frozen=True, slots=True)
class Processor:
    """What a runner is built for. Both empty: this computer, with all that its processor has.

    gcc_march, zig_cpu: the same set of instructions, as gcc and as zig name it.
    """

    name: str
    summary: str
    gcc_march: str = ""
    zig_cpu: str = ""

    @property
    def is_host(self) -> bool:
        """True when what is built runs here only."""
        return not self.gcc_march


PROCESSORS = {
    found.name: found
    for found in (
        Processor("host", "this computer"),
        Processor(
            "aarch64",
            "Armv8.2 with dot product and fp16: phones since 2019, Jetson Orin, Raspberry Pi 5",
            "armv8.2-a+dotprod+fp16",
            "generic+v8_2a+dotprod+fullfp16",
        ),
        Processor(
            "aarch64-i8mm",
            "the same with int8 matrices: phones since 2022 (Galaxy S23, Pixel 8)",
            "armv8.2-a+dotprod+fp16+i8mm",
            "generic+v8_2a+dotprod+fullfp16+i8mm",
        ),
        Processor("aarch64-v8", "any 64-bit Arm: Raspberry Pi 4", "armv8-a", "generic"),
    )
}


@dataclass(frozen=True, slots=True)
class Compiler:
    """Programs that compile for one processor.

    ar, ranlib: None: those that CMake finds. flags: for C and C++; link: for programs.
    """

    version: str
    cc: str
    cxx: str
    ar: str | None
    ranlib: str | None
    flags: str
    link: str


def find_processor(name: str) -> Processor:
    """Return a processor by its name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in PROCESSORS:
        raise UserError(
            f"unknown target '{name}'{nearest(name, tuple(PROCESSORS))}; targets: "
            f"{', '.join(PROCESSORS)}"
        )
    return PROCESSORS[name]


def find_compiler(processor: Processor, choice: Choice, scratch: Path) -> Compiler:
    """Return what compiles for a processor; gcc before zig, for it compiles faster.

    Args:
        processor: To compile for.
        choice: Which compiler the user wants.
        scratch: Folder for the small scripts that zig is called through.

    Raises:
        UserError: it is not installed; says what to install.
    """
    if processor.is_host:
        return _native()
    prefixed = [shutil.which(f"{_GCC}{name}") for name in ("gcc", "g++")]
    if choice is not Choice.ZIG and all(prefixed):
        cc, cxx = (str(path) for path in prefixed)
        version = _first_line([cxx, "--version"])
        return Compiler(version, cc, cxx, None, None, f"-march={processor.gcc_march}", "-static -s")
    zig = _zig()
    if choice is not Choice.GCC and zig is not None:
        return _zig_compiler(zig, processor, scratch)
    ways = {
        Choice.GCC: f"gcc: {apt_line(CROSS_PACKAGES)}",
        Choice.ZIG: "zig: pip install 'tinyengine-mcu[runner]'",
    }
    wanted = [text for kind, text in ways.items() if choice in (Choice.AUTO, kind)]
    raise UserError(
        f"no compiler for target '{processor.name}' is installed; {'; or '.join(wanted)}"
    )


def find_program(name: str) -> Path:
    """Return a build tool from the PATH or from beside this Python.

    Raises:
        UserError: it is not installed; says what to install.
    """
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    found = shutil.which(name) or beside
    if found is None:
        package = {"ninja": "ninja-build"}.get(name, name)
        raise UserError(
            f"building a runner needs '{name}', which is not on the PATH; install: "
            f"{apt_line((package,))}, or pip install 'tinyengine-mcu[runner]'"
        )
    return Path(found)


def _native() -> Compiler:
    for cc, cxx in (("gcc", "g++"), ("cc", "c++"), ("clang", "clang++")):
        paths = shutil.which(cc), shutil.which(cxx)
        if paths[0] and paths[1]:
            version = _first_line([paths[1], "--version"])
            return Compiler(version, paths[0], paths[1], None, None, "", "-s")
    raise UserError(
        "no C++ compiler for this computer is on the PATH; install: "
        f"{apt_line(('g++', 'libc6-dev'))}"
    )


def _zig() -> Path | None:
    """Return the program of the Python package `ziglang`, which need not be imported for it."""
    spec = importlib.util.find_spec("ziglang")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        program = Path(folder) / "zig"
        if os.access(program, os.X_OK):
            return program
    return None


def _zig_compiler(zig: Path, processor: Processor, scratch: Path) -> Compiler:
    """CMake takes one program each: a script that adds zig's own words."""
    scratch.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, words in _ZIG_TOOLS.items():
        path = scratch / f"zig-{name}"
        path.write_text(
            f'#!/bin/sh\nexec {shlex.join([str(zig), *words])} "$@"\n', encoding="utf-8"
        )
        path.chmod(0o755)
        paths[name] = str(path)
    return Compiler(
        version=f"zig {_first_line([str(zig), 'version'])}",
        cc=paths["cc"],
        cxx=paths["c++"],
        ar=paths["ar"],
        ranlib=paths["ranlib"],
        flags=f"-mcpu={processor.zig_cpu}",
        link="-static -s",
    )


def _first_line(argv: Sequence[str]) -> str:
    answer = run_tool(argv, timeout_s=60)
    lines = (answer.stdout or answer.stderr).strip().splitlines()
    return re.sub(r"\s+", " ", lines[0]) if lines else "unknown"
