"""Were the fast kernels compiled in? A benchmark must not report slow ones in their place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import ARMAttributesSection

from codegen.board import Board
from codegen.paths import firmware_dir
from tinyengine.errors import UserError

_ARMV7E_M = 13  # Tag_CPU_arch (ABI addenda of the Arm architecture, 3.3.5)
VARIANTS = ("mve", "dsp")  # fastest first; a core with Helium runs DSP kernels too
_MVE_FLOAT = 2  # Tag_MVE_arch: 1 is Helium with integers only

# fast kernels for some sizes only, which are not named after the one that takes any
_BY_SIZE = {"te_depthwise_conv2d_s8": tuple(f"te_depthwise_{n}x{n}_s8" for n in (3, 5, 7))}


def require_instructions(board: Board, elf: Path) -> None:
    """Compare the board's features with the build attributes that the compiler left in the ELF.

    Raises:
        UserError: a feature was not compiled for, so that its fast kernels cannot be there.
    """
    if board.is_host:
        return
    tags = _attributes(elf)
    arch = tags.get("TAG_CPU_ARCH", 0)
    compiled = {
        "dsp": arch == _ARMV7E_M or tags.get("TAG_DSP_EXTENSION", 0) > 0,
        "mve": tags.get("TAG_MVE_ARCH", 0) >= (_MVE_FLOAT if "fpu" in board.features else 1),
        "fpu": tags.get("TAG_FP_ARCH", 0) > 0,
    }
    for feature in board.features:
        if not compiled[feature]:
            raise UserError(
                f"board '{board.name}' has feature '{feature}', but its firmware was compiled "
                f"without it (flags {' '.join(board.build.cflags)}): the fast kernels are not in "
                f"it, and their benchmark would show the slow ones. Mend cflags (-mcpu, -mfpu), or "
                f"take '{feature}' out of features"
            )


def require_fast_kernels(board: Board, functions: Iterable[str]) -> None:
    """Look whether each kernel that has a variant for this core was used in it at least once.

    functions: the kernels that the measured code calls.

    Raises:
        UserError: names the kernels of which only the slow form was compiled in.
    """
    used = set(functions)
    wanted = [variant for variant in VARIANTS if variant in board.features]
    slow = [
        function
        for function in sorted(used)
        if (fast := _fast_forms(function, wanted)) and not used & fast
    ]
    if slow:
        raise UserError(
            f"board '{board.name}' has features {', '.join(board.features)}, but of kernels "
            f"{', '.join(slow)} only the portable form was compiled in: the benchmark would show "
            "the slow ones. Compile the model again with this board"
        )


def variant_of(functions: Iterable[str]) -> str:
    """Return the fastest kind of kernel among some: 'mve', 'dsp' or 'portable'."""
    used = list(functions)
    found = (v for v in VARIANTS if any(f.endswith(f"_{v}") for f in used))
    return next(found, "portable")


def _fast_forms(function: str, variants: Iterable[str]) -> set[str]:
    folder = firmware_dir() / "kernels" / "arm"
    forms = (function, *_BY_SIZE.get(function, ()))
    names = (f"{form}_{variant}" for form in forms for variant in variants)
    return {name for name in names if (folder / f"{name}.c").is_file()}


def calls_between_marks(code: str, function: str) -> list[tuple[str, ...]]:
    """Return, for each interval between two marks of a generated function, the kernels it calls.

    code: the text of src/<model>.c. function: run_forward or run_train.
    """
    body = code.partition(f"static void {function}(")[2].partition("\n}\n")[0]
    intervals = body.split("te_mark();")[1:-1]
    return [tuple(re.findall(r"\b(te_\w+)\(", text)) for text in intervals]


def _attributes(elf: Path) -> dict[str, int]:
    """Return the numeric build attributes of a whole program."""
    with elf.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            if isinstance(section, ARMAttributesSection):
                return {
                    str(attribute.tag): attribute.value
                    for sub in section.iter_subsections()
                    for part in sub.iter_subsubsections()
                    for attribute in part.iter_attributes()
                    if isinstance(attribute.value, int)
                }
    return {}
