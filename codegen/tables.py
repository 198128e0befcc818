"""TOML files as checked tables: an unknown key is an error that offers the nearest known ones."""

import difflib
import re
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
    problems = error.errors()
    for problem in problems:
        # an array's index says nothing to the reader: name the array
        *path, key = [part for part in problem["loc"] if isinstance(part, str)] or [""]
        table, keys = _table_at(path, schema)
        where = f" in [{'.'.join(table)}]" if table else ""
        match problem["type"]:
            case "extra_forbidden":
                yield f"unknown key '{key}'{where}{nearest(key, keys)}"
            case "missing":
                yield f"key '{key}'{where} is missing"
            case "value_error":
                yield problem["msg"].removeprefix("Value error, ") + (f" in [{key}]" if key else "")
            case "literal_error":
                known = re.findall("'([^']*)'", problem["ctx"]["expected"])
                near = nearest(str(problem["input"]), known)
                yield f"key '{key}'{where} is {problem['input']!r}{near}: {problem['msg'].lower()}"
            case "union_tag_invalid":
                tag, known = problem["ctx"]["tag"], problem["ctx"]["expected_tags"]
                near = nearest(tag, re.findall("'([^']*)'", known))
                yield f"unknown kind '{tag}' in [{key}]{near}; kinds: {known}"
            case "union_tag_not_found":
                yield f"key 'kind' in [{key}] is missing"
            case "too_short" if _has_inner(problem["loc"], problems):
                continue  # the array is only empty because what it holds is wrong
            case _:
                yield f"key '{key}'{where} is {problem['input']!r}: {problem['msg'].lower()}"


def _has_inner(place: tuple[Any, ...], problems: Sequence[Any]) -> bool:
    return any(len(p["loc"]) > len(place) and p["loc"][: len(place)] == place for p in problems)


def _table_at(
    path: Sequence[str], schema: type[BaseModel]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a (nested) table, and the keys that the schema knows in it."""
    names: list[str] = []
    choices: list[type[BaseModel]] = [schema]
    for name in path:
        field = choices[0].model_fields.get(name)
        found = list(_tables_of(field.annotation)) if field else []
        if found:
            names.append(name)
            choices = found
        else:
            # the tag of a union of tables: it chooses one of them
            choices = [table for table in choices if name in _tags(table)] or choices
    return tuple(names), tuple(choices[0].model_fields)


def _tags(table: type[BaseModel]) -> tuple[Any, ...]:
    field = table.model_fields.get("kind")
    return get_args(field.annotation) if field else ()


def _tables_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the tables that an annotation mentions: itself, optional, or in a tuple or mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not None:
        arguments = get_args(annotation)
        for argument in arguments[:1] if get_origin(annotation) is Annotated else arguments:
            yield from _tables_of(argument)
