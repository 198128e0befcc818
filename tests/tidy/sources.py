"""The files of the repository, as the tidy tests read them."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("tinyengine", "codegen", "bench_melt")  # imports go from right to left only


def tracked(*suffixes: str) -> list[Path]:
    """Return the files that git tracks and that exist, by suffix; all without one."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return sorted(p for p in paths if p.is_file() and (not suffixes or p.suffix in suffixes))


def modules(folders: Iterable[str] = FLOORS) -> list[Path]:
    """Return the tracked Python files under the given top-level folders."""
    wanted = set(folders)
    return [path for path in tracked(".py") if path.relative_to(ROOT).parts[0] in wanted]


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"
