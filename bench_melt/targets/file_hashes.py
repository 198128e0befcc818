"""Hashes of files on their way to a phone: gigabytes are read once, not per repetition."""

from pathlib import Path

from bench_melt.models import file_sha256
from tinyengine.errors import UserError


class FileHashes:
    """SHA-256 of files, as long as they do not change."""

    def __init__(self) -> None:
        """Know none yet."""
        self._known: dict[tuple[Path, int, int], str] = {}

    def of(self, source: Path) -> tuple[int, str]:
        """Return a file's size in bytes and its hash.

        Raises:
            UserError: it cannot be read.
        """
        try:
            facts = source.stat()
            key = (source.resolve(), facts.st_size, facts.st_mtime_ns)
            if key not in self._known:
                self._known[key] = file_sha256(source)
        except OSError as error:
            raise UserError(f"cannot read '{source}': {error.strerror}") from error
        return facts.st_size, self._known[key]
