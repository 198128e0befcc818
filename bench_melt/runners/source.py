"""llama.cpp's complete source: out of a source package of the package index, unpacked once.

`llama-cpp-python` carries it below `vendor/llama.cpp`. Only that folder is unpacked; nothing of the
package is installed or run. To name a source package pip asks its build backend (scikit-build-core,
in an environment of its own) for the metadata; the backend compiles nothing for that.
"""

import json
import re
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bench_melt.models import file_sha256
from bench_melt.packaged import pip_download
from tinyengine.errors import UserError

PACKAGE = "llama-cpp-python"
VERSION = "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"

_INSIDE = ("vendor", "llama.cpp")
_HEAD = (".git", "modules", *_INSIDE, "HEAD")
_NOTE = "tinyengine-source.json"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """An unpacked source tree. commit: of llama.cpp, None where the archive does not tell."""

    folder: Path
    archive: str
    sha256: str
    commit: str | None


def get_source(cache: Path, archive: Path | None, tell: Tell) -> Source:
    """Return the unpacked source, fetching it the first time.

    Args:
        cache: Where it is kept.
        archive: A source package that lies here already; None: the pinned one from the index.
        tell: Receives a line before each long part.

    Raises:
        UserError: it cannot be had, is not the pinned file, or holds no llama.cpp.
    """
    if archive is not None:
        if not archive.is_file():
            raise UserError(f"there is no source package '{archive}'")
        return _unpacked(cache, archive, file_sha256(archive), tell)
    there = cache / SHA256[:16]
    if (there / _NOTE).is_file():
        return _read(there)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        tell(f"source: downloading {PACKAGE}=={VERSION} (77 MB)")
        fetched = _download(Path(scratch))
        found = file_sha256(fetched)
        if found != SHA256:
            raise UserError(
                f"'{fetched.name}' has the sha256 {found}, expected {SHA256}: it is not the file "
                "that was released; fetch it by other means and name it with --source"
            )
        return _unpacked(cache, fetched, found, tell)


def _download(folder: Path) -> Path:
    advice = "fetch it by other means and name it with --source"
    return pip_download(f"{PACKAGE}=={VERSION}", folder, ("--no-binary", PACKAGE), advice)


def _unpacked(cache: Path, archive: Path, sha256: str, tell: Tell) -> Source:
    """Unpack beside the goal and rename: an interruption never leaves half a tree."""
    goal = cache / sha256[:16]
    if (goal / _NOTE).is_file():
        return _read(goal)
    tell(f"source: unpacking {archive.name}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        fresh = Path(scratch) / "tree"
        try:
            commit = _extract(archive, fresh)
        except (tarfile.TarError, EOFError, OSError) as error:
            # tarfile lists what each way of compression says, a line each
            reason = "it is no archive of tar" if "\n" in str(error) else error
            raise UserError(f"cannot unpack source package '{archive}': {reason}") from error
        if not (fresh / "CMakeLists.txt").is_file():
            raise UserError(
                f"source package '{archive}' holds no {'/'.join(_INSIDE)}/CMakeLists.txt; "
                f"{PACKAGE} of the package index does (version {VERSION} was tried)"
            )
        source = Source(goal, archive.name, sha256, commit)
        note = {**asdict(source), "folder": None}
        (fresh / _NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
        fresh.rename(goal)
    return source


def _extract(archive: Path, goal: Path) -> str | None:
    """Unpack the llama.cpp of an archive; return its commit. Links out of it are refused."""
    if not hasattr(tarfile, "data_filter"):
        raise UserError(
            f"python {sys.version.split()[0]} cannot unpack archives safely; use 3.11.4 or newer"
        )
    with tarfile.open(archive) as tar:
        goal.mkdir()
        tar.extractall(goal, members=list(_members(tar)), filter="data")
        for member in tar.getmembers():
            if Path(member.name).parts[1:] == _HEAD and (file := tar.extractfile(member)):
                found = re.fullmatch(rb"[0-9a-f]{40}", file.read(64).strip())
                return found.group().decode() if found else None
    return None


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield what lies in the folder, under names relative to it; git's own files stay out."""
    skip = len(_INSIDE) + 1
    for member in tar.getmembers():
        parts = Path(member.name).parts
        if parts[1:skip] == _INSIDE and len(parts) > skip and ".git" not in parts:
            yield member.replace(name="/".join(parts[skip:]), deep=False)


def _read(folder: Path) -> Source:
    note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    return Source(folder, note["archive"], note["sha256"], note["commit"])
