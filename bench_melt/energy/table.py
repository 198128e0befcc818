"""Small CSV tables that nobody vouches for: header checked, every row with its line number."""

import contextlib
import csv
import difflib
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from tinyengine.errors import UserError

Rows = Iterator[tuple[int, dict[str, str]]]


@contextlib.contextmanager
def open_table(
    path: Path, kind: str, columns: Sequence[str]
) -> Iterator[tuple[Rows, dict[str, int]]]:
    """Open a CSV file that has at least `columns`.

    Yields:
        The rows that are not blank, as line number and the wanted fields by column name; and the
        place of every column.

    Raises:
        UserError: cannot be read, is not text, or has not these columns; while iterating: a row
            that is too short.
    """
    with open_text(path, kind) as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{kind} '{path}' line 1: {error}") from error
        places = _places(header, path, kind, columns)
        yield _rows(reader, places, f"{kind} '{path}'", columns), places


@contextlib.contextmanager
def open_text(path: Path, kind: str) -> Iterator[TextIO]:
    """Open a text file, also one that gzip compressed (its name ends in .gz).

    Raises:
        UserError: cannot be read, or is not text; also while it is read.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
                yield file
        else:
            with path.open(encoding="utf-8-sig", newline="") as plain:
                yield plain
    except OSError as error:
        raise UserError(f"cannot read {kind} '{path}': {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise UserError(f"cannot read {kind} '{path}': its compressed data is damaged") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{kind} '{path}' is not a text file: {error.reason}") from error


def _places(
    header: list[str] | None, path: Path, kind: str, columns: Sequence[str]
) -> dict[str, int]:
    wanted = ",".join(columns)
    if header is None:
        raise UserError(f"{kind} '{path}' is empty; its first line must be '{wanted}'")
    names = [name.strip() for name in header]
    for column in columns:
        if column not in names:
            near = difflib.get_close_matches(column, names, 1)
            hint = f" ('{near[0]}' is not it)" if near else ""
            raise UserError(
                f"{kind} '{path}' line 1: no column '{column}'{hint}; the header must be '{wanted}'"
            )
        if names.count(column) > 1:
            raise UserError(f"{kind} '{path}' line 1: column '{column}' appears twice")
    return {name: place for place, name in enumerate(names)}


def _rows(
    reader: Iterator[list[str]], places: dict[str, int], where: str, columns: Sequence[str]
) -> Rows:
    line = 1
    try:
        for fields in reader:
            line = reader.line_num  # type: ignore[attr-defined]
            if not any(field.strip() for field in fields):
                continue
            short = [name for name in columns if places[name] >= len(fields)]
            if short:
                raise UserError(
                    f"{where} line {line}: {len(fields)} fields, no '{short[0]}' among them"
                )
            yield line, {name: fields[places[name]] for name in columns}
    except csv.Error as error:
        raise UserError(f"{where} line {line + 1}: {error}") from error
