"""Small files of a kernel that tell what is measured: of this computer, or of one with a shell."""

import fnmatch
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench_melt.meters.base import Shell
from tinyengine.errors import DeviceError, UserError


class Files(Protocol):
    """A tree of files under a root."""

    root: str

    def find(self, pattern: str) -> list[str]:
        """Return the paths that match, below the root and sorted: "hwmon*/name"."""

    def read(self, paths: Sequence[str]) -> list[str]:
        """Return what the files hold, stripped.

        Raises:
            UserError: this user may not read one.
            DeviceError: one is gone.
        """


class LocalFiles:
    """Files of this computer."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self._root = root

    def find(self, pattern: str) -> list[str]:
        """Return the paths that match, below the root and sorted."""
        return sorted(path.relative_to(self._root).as_posix() for path in self._root.glob(pattern))

    def read(self, paths: Sequence[str]) -> list[str]:
        """Return what the files hold, stripped."""
        return [self._one(path) for path in paths]

    def _one(self, path: str) -> str:
        try:
            return (self._root / path).read_text(encoding="utf-8").strip()
        except PermissionError as error:
            raise _forbidden(f"{self.root}/{path}") from error
        except OSError as error:
            raise DeviceError(f"cannot read '{self.root}/{path}': {error.strerror}") from error


class ShellFiles:
    """Files of a device that runs commands for us: one command per reading, however many files.

    Only what a shell has built in is used: where the shell stays, no process begins per reading.
    """

    def __init__(self, root: str, shell: Shell) -> None:
        self.root = root
        self._shell = shell

    def find(self, pattern: str) -> list[str]:
        """Return the paths that match, below the root and sorted."""
        listing = self._shell(f"cd {shlex.quote(self.root)} && ls -d {pattern} 2>/dev/null; true")
        names = (name.strip() for name in listing.splitlines())
        return sorted(name for name in names if fnmatch.fnmatchcase(name, pattern))

    def read(self, paths: Sequence[str]) -> list[str]:
        """Return what the files hold, stripped."""
        names = " ".join(shlex.quote(path) for path in paths)
        # a missing file must not shift the others' answers: one line each, empty where it failed
        answer = self._shell(
            f"cd {shlex.quote(self.root)} && for f in {names}; do "
            'if [ -r "$f" ]; then l=; read -r l <"$f"; echo "=$l"; '
            'elif [ -e "$f" ]; then echo denied; else echo absent; fi; done'
        )
        lines = [line.strip() for line in answer.splitlines() if line.strip()]
        if len(lines) != len(paths):
            raise DeviceError(f"reading {names} below '{self.root}' answered {answer.strip()!r}")
        for path, line in zip(paths, lines, strict=True):
            if line == "denied":
                raise _forbidden(f"{self.root}/{path}")
            if line == "absent":
                raise DeviceError(f"cannot read '{self.root}/{path}': it is not there")
        return [line.removeprefix("=").strip() for line in lines]


def number(text: str, what: str) -> float:
    """Return a number that a kernel file holds.

    Raises:
        DeviceError: it holds something else.
    """
    try:
        return float(text)
    except ValueError as error:
        raise DeviceError(f"{what} holds {text!r}, not a number") from error


def _forbidden(path: str) -> UserError:
    return UserError(
        f"no permission to read '{path}'; run as a user who may, or let this one: "
        f"sudo chmod a+r '{path}'"
    )
