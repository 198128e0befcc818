"""Compiles C files into objects, two at a time, and only those whose inputs have changed."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from codegen.toolchain import run_tool
from tinyengine.errors import InternalError

JOBS = 2
_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Unit:
    """One C file and where its object goes; both relative to the working folder, or absolute."""

    source: str
    object: str


@dataclass(frozen=True, slots=True)
class Record:
    """What an object was made from: every file read, and the digest of them and the command."""

    inputs: tuple[str, ...]
    digest: str


def compile_units(
    units: Sequence[Unit],
    command: Sequence[str],
    *,
    cwd: Path,
    identity: str,
    before: Mapping[str, Record],
) -> tuple[dict[str, Record], int]:
    """Bring every unit's object up to date.

    Args:
        units: What to compile.
        command: The compiler with all flags but `-c`, source and `-o`.
        cwd: The folder that relative paths start from.
        identity: What else decides the result: the compiler's version.
        before: The records of the last build, by object.

    Returns:
        The records by object, and how many units were compiled.

    Raises:
        InternalError: the compiler refused a file.
    """
    salt = "\0".join((identity, *command))
    stale = [unit for unit in units if not _is_fresh(unit, before.get(unit.object), salt, cwd)]
    with ThreadPoolExecutor(JOBS) as pool:
        made = list(pool.map(lambda unit: _compile(unit, command, salt, cwd), stale))
    fresh = dict(zip((unit.object for unit in stale), made, strict=True))
    return {unit.object: fresh.get(unit.object) or before[unit.object] for unit in units}, len(made)


def digest_of(paths: Iterable[str], salt: str, cwd: Path) -> str:
    """Return the SHA-256 of a salt and the names and contents of files."""
    total = hashlib.sha256(salt.encode())
    for path in paths:
        total.update(f"\0{path}\0".encode())
        total.update(hashlib.sha256((cwd / path).read_bytes()).digest())
    return total.hexdigest()


def _is_fresh(unit: Unit, record: Record | None, salt: str, cwd: Path) -> bool:
    if record is None or not (cwd / unit.object).is_file():
        return False
    try:
        return digest_of(record.inputs, salt, cwd) == record.digest
    except OSError:
        return False  # a header that it included is gone


def _compile(unit: Unit, command: Sequence[str], salt: str, cwd: Path) -> Record:
    (cwd / unit.object).parent.mkdir(parents=True, exist_ok=True)
    listing = f"{unit.object.removesuffix('.o')}.d"
    argv = [*command, "-MMD", "-MF", listing, "-c", unit.source, "-o", unit.object]
    answer = run_tool(argv, timeout_s=_TIMEOUT_S, cwd=cwd)
    if answer.returncode:
        lines = "\n".join(answer.stderr.strip().splitlines()[:20])
        raise InternalError(f"the compiler refuses '{unit.source}':\n{lines}\n{' '.join(argv)}")
    inputs = _dependencies((cwd / listing).read_text(encoding="utf-8"))
    return Record(inputs, digest_of(inputs, salt, cwd))


def _dependencies(text: str) -> tuple[str, ...]:
    r"""Return the files after the colon of a makefile rule: `a.o: a.c \ b.h` -> a.c, b.h."""
    words = re.split(r"(?<!\\)\s+", text.replace("\\\n", " ").partition(": ")[2].strip())
    return tuple(sorted({re.sub(r"\\(.)", r"\1", word) for word in words}))
