"""Rows in a database: SQLite by default, PostgreSQL by URL. Nothing is ever overwritten.

Three tables: `bench_meta` (the schema's version), `bench_runs` (one line per sweep, with the
suite's text) and `bench_rows` (one line per repetition, the columns of `bench_melt.record`). A row
is one transaction: after kill -9 it is there whole or not at all.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from bench_melt.record import COLUMNS, IDENTITY_COLUMNS, OUTCOME_COLUMNS, Row
from tinyengine.errors import UserError

SCHEMA_VERSION = 1
DEFAULT_URL = "sqlite:///bench_melt.sqlite"

_SQLITE_HEAD = b"SQLite format 3\0"

_TYPES: Mapping[type, Any] = {
    str: sa.Text,
    int: sa.BigInteger,
    float: sa.Double,
    bool: sa.Boolean,
}
_REQUIRED = {*IDENTITY_COLUMNS, *OUTCOME_COLUMNS} - {"reason"}

_METADATA = sa.MetaData()
_META = sa.Table("bench_meta", _METADATA, sa.Column("version", sa.Integer, nullable=False))
_RUNS = sa.Table(
    "bench_runs",
    _METADATA,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("suite", sa.Text, nullable=False),
    sa.Column("suite_sha256", sa.Text, nullable=False, index=True),
    sa.Column("suite_text", sa.Text, nullable=False),
    sa.Column("cells", sa.Integer, nullable=False),
    sa.Column("started_at", sa.Text, nullable=False),
    sa.Column("finished_at", sa.Text),
)
_ROWS = sa.Table(
    "bench_rows",
    _METADATA,
    *(
        sa.Column(name, _TYPES[kind], nullable=name not in _REQUIRED)
        for name, kind in COLUMNS.items()
    ),
    sa.Column("details", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("run_id", "cell_key"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One sweep. finished_at: None while cells are missing."""

    run_id: str
    suite: str
    suite_sha256: str
    suite_text: str
    cells: int
    started_at: str
    finished_at: str | None = None


class Store:
    """An open database of runs and rows."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        """Wrap an engine whose schema is there; `folder` is where raw samples go."""
        self._engine = engine
        self.samples_folder = folder

    def add_run(self, run: Run) -> None:
        """Begin a sweep."""
        with self._writing() as connection:
            connection.execute(_RUNS.insert().values(**_run_values(run)))

    def finish_run(self, run_id: str, finished_at: str) -> None:
        """Note that every cell of a sweep has its row."""
        with self._writing() as connection:
            connection.execute(
                _RUNS.update().where(_RUNS.c.run_id == run_id).values(finished_at=finished_at)
            )

    def run_to_resume(self, suite_sha256: str) -> Run | None:
        """Return the newest sweep of exactly this suite, those that lack rows first, or None."""
        query = (
            sa.select(_RUNS)
            .where(_RUNS.c.suite_sha256 == suite_sha256)
            .order_by(
                _RUNS.c.finished_at.is_not(None),
                _RUNS.c.started_at.desc(),
                _RUNS.c.run_id.desc(),
            )
            .limit(1)
        )
        with self._reading() as connection:
            found = connection.execute(query).mappings().first()
        return Run(**found) if found else None

    def runs(self) -> tuple[Run, ...]:
        """Return all sweeps, oldest first."""
        query = sa.select(_RUNS).order_by(_RUNS.c.started_at, _RUNS.c.run_id)
        with self._reading() as connection:
            return tuple(Run(**found) for found in connection.execute(query).mappings())

    def finished_cells(self, run_id: str) -> frozenset[str]:
        """Return the keys of the cells that have their row."""
        query = sa.select(_ROWS.c.cell_key).where(_ROWS.c.run_id == run_id)
        with self._reading() as connection:
            return frozenset(connection.execute(query).scalars())

    def add_row(self, row: Row) -> None:
        """Write one repetition, whole or not at all.

        Raises:
            UserError: it is there already (another harness runs this sweep), or it cannot be
                written (disk full, no permission).
        """
        values = row.flat()
        values["details"] = json.dumps(values["details"], allow_nan=False, sort_keys=True)
        with self._writing() as connection:
            connection.execute(_ROWS.insert().values(**values))

    def rows(self, run_id: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Return rows as column -> value, oldest first; of one sweep or of all."""
        query = sa.select(_ROWS).order_by(_ROWS.c.started_at, _ROWS.c.run_id, _ROWS.c.position)
        if run_id is not None:
            query = query.where(_ROWS.c.run_id == run_id)
        with self._reading() as connection:
            return [dict(found) for found in connection.execute(query).mappings()]

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError as error:
            raise UserError(
                f"database '{_shown(self._engine)}' has this row already: is another harness "
                "running the same suite? Nothing was overwritten"
            ) from error
        except DBAPIError as error:
            raise UserError(
                f"cannot write to database '{_shown(self._engine)}': {error.orig}; rows written "
                "before this are safe, go on with '--resume'"
            ) from error

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise UserError(
                f"cannot read database '{_shown(self._engine)}': {error.orig}"
            ) from error


@contextmanager
def open_store(url: str, *, create: bool) -> Iterator[Store]:
    """Open the database at `url` while the block runs.

    Args:
        url: SQLAlchemy URL, or the path of a SQLite file.
        create: Make it if it is not there; else that is an error.

    Raises:
        UserError: the URL is none, the database is absent, unreadable, or of a newer version.
    """
    engine = _engine(url, create=create)
    try:
        _prepare(engine, create=create)
        yield Store(engine, _samples_folder(engine))
    finally:
        engine.dispose()


def _engine(url: str, *, create: bool) -> Engine:
    try:
        parsed = make_url(url if "://" in url else f"sqlite:///{url}")
        if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
            path = Path(str(parsed.database))
            if not create and not path.is_file():
                raise UserError(f"there is no database '{path}'; 'bench-melt run' makes one")
            _refuse_other_files(path)
            if not path.parent.is_dir():
                raise UserError(f"there is no folder '{path.parent}' for database '{path.name}'")
        engine = sa.create_engine(parsed)
    except (ArgumentError, NoSuchModuleError) as error:
        raise UserError(
            f"'{masked(url)}' is no database URL: {error}; for instance "
            "'sqlite:///results.sqlite' or 'postgresql+psycopg://user@host/name'"
        ) from error
    except ModuleNotFoundError as error:
        raise UserError(
            f"database '{masked(url)}' needs the python package '{error.name}': install it"
        ) from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_sqlite)
    return engine


def _refuse_other_files(path: Path) -> None:
    """Refuse a file that is no database: SQLite takes a short one for empty, and overwrites it."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE_HEAD))
    except OSError:
        return  # not there yet, or SQLite says what is wrong
    if head and head != _SQLITE_HEAD:
        raise UserError(f"'{path}' is not a database of SQLite; it was left as it is")


def _set_sqlite(connection: Any, _record: object) -> None:
    """A commit is on the disk when it returns, and readers do not block the writer."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _prepare(engine: Engine, *, create: bool) -> None:
    """Check the schema's version; make the tables where there are none."""
    try:
        with engine.begin() as connection:
            if not sa.inspect(connection).has_table(_META.name):
                if not create:
                    raise UserError(
                        f"database '{_shown(engine)}' holds no results of 'bench-melt run'"
                    )
                _METADATA.create_all(connection)
                connection.execute(_META.insert().values(version=SCHEMA_VERSION))
                return
            version = connection.execute(sa.select(_META.c.version)).scalar_one()
    except DBAPIError as error:
        raise UserError(f"cannot open database '{_shown(engine)}': {error.orig}") from error
    if version != SCHEMA_VERSION:
        raise UserError(
            f"database '{_shown(engine)}' has schema version {version}, this tool writes and reads "
            f"{SCHEMA_VERSION}; update the tool or name another database with --db"
        )


def _samples_folder(engine: Engine) -> Path:
    """Return where raw samples go: beside a SQLite file, else in the working folder."""
    name = engine.url.database
    if engine.dialect.name == "sqlite" and name and name != ":memory:":
        path = Path(name)
        return path.with_name(f"{path.name}.samples")
    return Path("bench_melt.samples")


def _shown(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def masked(url: str) -> str:
    """Return a URL without what may be a password."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://...@{tail}" if at else url


def _run_values(run: Run) -> dict[str, Any]:
    return {column.name: getattr(run, column.name) for column in _RUNS.columns}
