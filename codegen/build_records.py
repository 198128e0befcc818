"""What a build remembers of the one before it, and one process at a time in its folder."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from codegen.compile_c import Record


def load_records(path: Path) -> dict[str, Record]:
    """Return what each object was made from; nothing where the file is absent or damaged."""
    try:
        return {
            name: Record(tuple(entry["inputs"]), entry["digest"])
            for name, entry in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # everything is built again


def save_records(path: Path, records: Mapping[str, Record]) -> None:
    """Write the records, whole or not at all."""
    fresh = path.with_suffix(".tmp")
    table = {name: asdict(record) for name, record in sorted(records.items())}
    fresh.write_text(json.dumps(table, indent=1), encoding="utf-8")
    fresh.replace(path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time build in `folder`, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
