"""Writing a generated folder: never over anybody else's files, each file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tinyengine.errors import UserError

# written by us besides what `emit` lists: built by `build`, and safe to leave in place
_OURS_TO_CLEAN = ("src", "port")


class Folder:
    """A folder that is empty, new, or ours (it holds the marker file)."""

    def __init__(self, path: Path, marker: str) -> None:
        """Check `path`; nothing is written.

        Raises:
            UserError: a file is in the way, or the folder holds something that is not ours.
        """
        self.path, self.marker = path, marker
        if path.exists() and not path.is_dir():
            raise UserError(f"'{path}' is a file; name a new or empty folder with --out")
        if path.is_dir() and any(path.iterdir()) and not (path / marker).is_file():
            raise UserError(
                f"'{path}' is not empty and was not made by 'tinyengine-codegen compile' (it has "
                f"no {marker}); nothing was written. Name a new or empty folder with --out"
            )

    def write(self, files: Mapping[str, str]) -> None:
        """Write all files (relative path -> text), then drop generated sources no longer listed.

        The marker comes last, so that a folder cut short is never taken for a whole one.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for name in sorted(files, key=lambda n: (n == self.marker, n)):
            _write_whole(self.path / name, files[name])
        for top in _OURS_TO_CLEAN:
            for path in sorted((self.path / top).rglob("*")):
                if path.is_file() and path.relative_to(self.path).as_posix() not in files:
                    path.unlink()


def _write_whole(path: Path, content: str) -> None:
    data = content.encode("utf-8")
    if path.is_file() and path.read_bytes() == data:
        return  # unchanged files keep their time, so builds stay quick
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.tmp{os.getpid()}")
    fresh.write_bytes(data)
    fresh.replace(path)
