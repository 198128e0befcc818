"""TOML files as checked tables: an unknown key is an error that offers the nearest known ones."""

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tinyengine.errors import UserError

# a strict table takes no text for a path
TextPath = Annotated[Path, Field(strict=False)]


class Table(BaseModel):
    """One TOML table: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


AnyTable = TypeVar("AnyTable", bound=Table)


def read_table(path: Path, schema: type[AnyTable], what: str) -> AnyTable:
    """Read a TOML file of the user's and check it.

    Args:
        path: The file.
        schema: What it must hold.
        what: How messages call it, for instance "board file".

    Raises:
        UserError: the file cannot be read, is not TOML or breaks the schema; every problem named.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {what} '{path}': {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{what} '{path}' is not TOML: {error}") from error
    try:
        # the strict model takes no list where a tuple is declared
        return schema.model_validate(_tuples(table))
    except ValidationError as error:
        raise UserError(f"{what} '{path}': {'; '.join(_problems(error, schema))}") from error


def nearest(word: str, known: Sequence[str]) -> str:
    """Return ` (nearest: 'a', 'b')` for a word that is not among `known`, or ""."""
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f" (nearest: {', '.join(repr(name) for name in close)})" if close else ""


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def _problems(error: ValidationError, schema: type[BaseModel]) -> Iterator[str]:
    for problem in error.errors():
        # an array's index says nothing to the reader: name the array
        *table, key = [part for part in problem["loc"] if isinstance(part, str)] or [""]
        where = f" in [{'.'.join(table)}]" if table else ""
        match problem["type"]:
            case "extra_forbidden":
                yield f"unknown key '{key}'{where}{nearest(key, _keys(table, schema))}"
            case "missing":
                yield f"key '{key}'{where} is missing"
            case "value_error":
                yield problem["msg"].removeprefix("Value error, ") + (f" in [{key}]" if key else "")
            case _:
                yield f"key '{key}'{where} is {problem['input']!r}: {problem['msg'].lower()}"


def _keys(table: Sequence[str], schema: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys that the schema knows in a (nested) table."""
    for name in table:
        field = schema.model_fields.get(name)
        found = list(_tables_of(field.annotation)) if field else []
        if not found:
            # the tag of a union of tables: its members' keys are those of the level above
            continue
        schema = found[0]
    return tuple(schema.model_fields)


def _tables_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the tables that an annotation mentions: itself, optional, or in a tuple or mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not None:
        arguments = get_args(annotation)
        for argument in arguments[:1] if get_origin(annotation) is Annotated else arguments:
            yield from _tables_of(argument)
