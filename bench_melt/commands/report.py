"""`bench-melt report`: rows of the database as a table, a flat file or a page."""

import sys
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bench_melt.report.flat import to_csv, to_json, to_jsonl, to_sql
from bench_melt.report.pages import to_html
from bench_melt.report.summary import to_markdown
from bench_melt.state import check_writable, write_whole
from bench_melt.store import DEFAULT_URL, open_store
from tinyengine.errors import UserError


class Form(StrEnum):
    """What a report may look like."""

    MD = "md"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    SQL = "sql"
    HTML = "html"


_WRITERS: Mapping[Form, Callable[[Sequence[Mapping[str, Any]]], str]] = {
    Form.MD: to_markdown,
    Form.CSV: to_csv,
    Form.JSON: to_json,
    Form.JSONL: to_jsonl,
    Form.SQL: to_sql,
    Form.HTML: to_html,
}


def command(
    db: Annotated[str, typer.Option(help="database URL, or a SQLite file")] = DEFAULT_URL,
    form: Annotated[Form, typer.Option("-o", "--output", help="what to write")] = Form.MD,
    run: Annotated[str | None, typer.Option(help="one run's id, or its start; default all")] = None,
    to: Annotated[Path | None, typer.Option(help="file to write; default stdout")] = None,
) -> None:
    """Write what was measured: tables for people, flat files for programs, a page of pictures."""
    if to is not None:
        check_writable(to)
    with open_store(db, create=False) as store:
        runs = [r.run_id for r in store.runs() if run is None or r.run_id.startswith(run)]
        if run is not None and len(runs) != 1:
            known = ", ".join(r.run_id for r in store.runs()) or "none"
            raise UserError(f"'{run}' is {len(runs)} runs of '{db}'; its runs: {known}")
        rows = store.rows(runs[0] if run is not None else None)
    text = _WRITERS[form](rows)
    if to is None:
        sys.stdout.write(text)
    else:
        write_whole(to, text.encode())
