"""Files on their way to a machine with Linux and back, over sftp."""

import contextlib
import posixpath
import shlex
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from bench_melt.models import file_sha256
from bench_melt.targets.ssh_link import SshLink
from tinyengine.errors import DeviceError, UserError

Shell = Callable[[str, float], str]
_Result = TypeVar("_Result")

_HASH_S = 600.0  # a large model on a slow card


class Staging:
    """A folder of the machine. A file lies in a sub-folder named by its hash: nothing there is
    ever overwritten, and two models of one name do not meet."""

    def __init__(self, link: SshLink, shell: Shell, folder: str) -> None:
        """Use `folder`, relative to the login's."""
        self._link, self._shell, self._folder = link, shell, folder
        self._there: dict[tuple[Path, int, int], str] = {}

    def put(self, source: Path) -> str:
        """Have a file there: only copied where size and hash differ. Returns its path.

        Raises:
            UserError: it cannot be read here.
            DeviceError: no space, no permission, or it arrived damaged.
        """
        try:
            status = source.stat()
            key = (source, status.st_size, status.st_mtime_ns)
            if key in self._there:
                return self._there[key]
            digest = file_sha256(source)
        except OSError as error:
            raise UserError(f"cannot read '{source}': {error.strerror}") from error
        sftp = self._link.sftp()
        home = self._do(lambda: sftp.realpath("."), ".")
        goal = posixpath.join(str(home), self._folder, digest[:16], source.name)
        if self._size(sftp, goal) != status.st_size or self._hash(goal) != digest:
            self._copy(sftp, source, goal, digest)
        mode = status.st_mode & 0o777 | 0o600
        self._do(lambda: sftp.chmod(goal, mode), goal)
        self._there[key] = goal
        return goal

    def fetch(self, path: str, goal: Path) -> None:
        """Fetch a file, whole or not at all.

        Raises:
            DeviceError: it is not there, may not be read, or cannot be written here.
        """
        sftp, part = self._link.sftp(), goal.with_name(f".{goal.name}.part")
        try:
            self._do(lambda: sftp.get(path, str(part)), path)
            part.replace(goal)
        except OSError as error:
            raise DeviceError(f"cannot write '{goal}': {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)

    def _copy(self, sftp: asyncssh.SFTPClient, source: Path, goal: str, digest: str) -> None:
        """Copy under another name, compare, then rename: a broken copy never has the name."""
        size, folder, part = source.stat().st_size, posixpath.dirname(goal), f"{goal}.part"
        self._do(lambda: sftp.makedirs(folder, exist_ok=True), folder)
        free = self._free(sftp, folder)
        if free is not None and free < size:
            raise self._full(source, folder, free)
        try:
            self._do(lambda: sftp.put(str(source), part), part)
        except DeviceError as error:
            free = self._free(sftp, folder) if self._link.is_open else None
            with contextlib.suppress(DeviceError):
                self._do(lambda: sftp.remove(part), part)
            # OpenSSH tells a full disk as a mere "Failure"
            if isinstance(error.__cause__, asyncssh.SFTPFailure | asyncssh.SFTPNoSpaceOnFilesystem):
                raise self._full(source, folder, free) from error
            raise
        if self._hash(part) != digest:
            raise DeviceError(f"'{source.name}' arrived damaged at '{self._link.name}': {part}")
        self._do(lambda: sftp.posix_rename(part, goal), goal)

    def _full(self, source: Path, folder: str, free: int | None) -> DeviceError:
        size, name = source.stat().st_size, self._link.name
        if free is not None and free >= size:
            return DeviceError(
                f"'{source.name}' ({size:,} B) could not be written to '{folder}' on '{name}', "
                f"where {free:,} B are free: is there a quota, or a limit on the size of files?"
            )
        there = "" if free is None else f", {free:,} B are free"
        return DeviceError(
            f"no space on '{name}' for '{source.name}': {size:,} B are needed in '{folder}'"
            f"{there}; delete old folders in '{posixpath.dirname(folder)}', or give the machine "
            "another 'staging'"
        )

    def _size(self, sftp: asyncssh.SFTPClient, path: str) -> int | None:
        async def asked() -> int | None:
            return await sftp.getsize(path) if await sftp.isfile(path) else None

        return self._do(asked, path)

    def _hash(self, path: str) -> str:
        line = self._shell(f"sha256sum {shlex.quote(path)}", _HASH_S)
        word = line.strip().lstrip("\\").partition(" ")[0]
        if len(word) != 64:
            raise DeviceError(f"'{self._link.name}' cannot hash '{path}': {line.strip()}")
        return word

    def _free(self, sftp: asyncssh.SFTPClient, folder: str) -> int | None:
        async def asked() -> int:
            found = await sftp.statvfs(folder)
            return found.bavail * found.frsize

        try:
            return self._do(asked, folder)
        except DeviceError:
            return None  # an extension that not every server has

    def _do(self, work: Callable[[], Coroutine[Any, Any, _Result]], path: str) -> _Result:
        try:
            return self._link.call(lambda ssh: work())
        except asyncssh.SFTPConnectionLost as error:
            raise self._link.lost_error(str(error)) from error
        except asyncssh.SFTPNoSuchFile as error:
            raise DeviceError(f"there is no '{path}' on '{self._link.name}'") from error
        except asyncssh.SFTPPermissionDenied as error:
            raise DeviceError(f"no permission for '{path}' on '{self._link.name}'") from error
        except asyncssh.SFTPError as error:
            raise DeviceError(f"'{path}' on '{self._link.name}': {error}") from error
