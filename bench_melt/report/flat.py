"""Rows as they are: csv, json, jsonl and sql."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench_melt.record import COLUMNS
from bench_melt.report.llama_bench import FIELDS, llama_bench_rows

Rows = Sequence[Mapping[str, Any]]

_SQL = {str: "TEXT", int: "INTEGER", float: "REAL", bool: "INTEGER"}
_ALL = (*COLUMNS, "details")


def to_csv(rows: Rows) -> str:
    """Return one line per row with a header; not measured is empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _ALL, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def to_json(rows: Rows) -> str:
    """Return a list of objects; not measured is null."""
    return json.dumps([_opened(row) for row in rows], indent=1, allow_nan=False) + "\n"


def to_jsonl(rows: Rows) -> str:
    """Return one object per line."""
    return "".join(json.dumps(_opened(row), allow_nan=False) + "\n" for row in rows)


def to_sql(rows: Rows) -> str:
    """Return statements that make and fill `bench_rows` and, in llama-bench's form, `llama_bench`.

    llama.cpp's compare-llama-bench.py reads the second, out of `report -o sql | sqlite3 x.sqlite`.
    """
    parts = [
        "BEGIN;",
        _create("bench_rows", {**COLUMNS, "details": str}),
        *_inserts("bench_rows", _ALL, rows),
        _create("llama_bench", FIELDS),
        *_inserts("llama_bench", tuple(FIELDS), list(llama_bench_rows(rows))),
        "COMMIT;",
    ]
    return "\n".join(parts) + "\n"


def _opened(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "details": json.loads(row["details"])}


def _create(table: str, columns: Mapping[str, type]) -> str:
    inside = ",\n".join(f"  {name} {_SQL[kind]}" for name, kind in columns.items())
    return f"CREATE TABLE IF NOT EXISTS {table} (\n{inside}\n);"


def _inserts(table: str, columns: Sequence[str], rows: Rows) -> Iterator[str]:
    head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES"
    for row in rows:
        yield f"{head} ({', '.join(_literal(row[name]) for name in columns)});"


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return str(int(value))
        case int() | float():
            return repr(value)
        case _:
            return "'" + str(value).replace("\0", "").replace("'", "''") + "'"
