"""A query of any SQLAlchemy URL, answered row by row from a cursor of the server.

In: url and query of the job; secrets in the url are named, see `tasks/secrets.py`. Out: chunks of the answer, rows
counted from 1. The query goes to the database as it stands, colons and percent signs included; the connection is
read-only where the database knows how, and always closed. Fails with `SecretError`: a secret is not there; with
`SourceError`: the driver is not installed, the query fails; with its kind `DatabaseUnreachableError`, which is worth
another try, where there is no connection. No message shows the password.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import URL, Connection, CursorResult, create_engine, exc, make_url
from sqlalchemy.pool import NullPool

from tasks.errors import SourceError
from tasks.job import Job
from tasks.secrets import reveal
from tasks.sources.chunk import Chunk, OpenPart, Place, chunk_rows

POSTGRES = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}  # the driver that our extra brings
EXTRAS = {"psycopg": "pip install 'moirai-flows[postgres]'"}


class DatabaseUnreachableError(SourceError):
    """There is no connection to the database, or it broke off."""


@contextmanager
def open_query(job: Job) -> Iterator[OpenPart]:
    """Ask the database of a job.

    Args:
        job: source.url, source.query and the folder that a relative path of a database file starts at.

    Yields:
        The names of the answer's columns and a way to read its rows.

    Raises:
        DatabaseUnreachableError: there is no connection.
        SourceError: url or query cannot be used.
    """
    url, place = database_url(job), Place("source.query", "row")
    with _connected(url) as connection, _asked(str(job.source.query), connection, url) as result:
        header = [str(name) for name in result.keys()]  # noqa: SIM118 - not a mapping

        def read(columns: Sequence[str]) -> Iterator[Chunk]:
            with _explained(url):
                yield from _chunks(result, header, list(dict.fromkeys(columns)), place)

        yield OpenPart(place, header, read)


@contextmanager
def _asked(query: str, connection: Connection, url: URL) -> Iterator[CursorResult]:
    """The answer to a query, whose cursor is closed in the end."""
    with _explained(url):
        result = connection.exec_driver_sql(query.strip().rstrip(";"))
    if not result.returns_rows:
        raise SourceError(f"source.query gives no rows to {url.get_backend_name()}; write a SELECT")
    try:
        yield result
    finally:
        with _explained(url):
            result.close()


def _chunks(result: CursorResult, header: list[str], columns: list[str], place: Place) -> Iterator[Chunk]:
    places, row = [header.index(name) for name in columns], 1
    for rows in result.partitions(chunk_rows(len(header))):
        fields = list(zip(*rows, strict=True))
        index = pd.RangeIndex(row, row + len(rows))
        row += len(rows)
        frame = {name: _column(fields[place], index) for name, place in zip(columns, places, strict=True)}
        yield Chunk(pd.DataFrame(frame, index=index), place)


def _column(cells: Sequence[Any], index: pd.Index) -> pd.Series:
    """Cells of a column; moments of one zone, or all without one, as pandas holds them, all else as it comes."""
    made = np.empty(len(cells), dtype=object)
    made[:] = cells
    column = pd.Series(made, index=index, dtype=object)
    if pd.api.types.infer_dtype(made, skipna=True) != "datetime":
        return column
    if len({cell.tzinfo for cell in cells if cell is not None}) > 1:
        return column
    try:
        return pd.to_datetime(column)
    except ValueError:  # beyond the years that pandas holds: whoever reads time stamps says so
        return column


def database_url(job: Job) -> URL:
    """The URL of a job's database, with secrets filled in and the path of a file made absolute.

    Raises:
        SecretError: a secret is not there.
        SourceError: the text is no URL, or the file does not exist.
    """
    template = str(job.source.url)
    try:
        url = make_url(reveal(template, "source.url"))
    except (exc.ArgumentError, ValueError):
        form = "write one such as postgresql://user:${PASSWORD}@host/database"
        raise SourceError(f"source.url {template!r} is no SQLAlchemy URL; {form}") from None  # it shows the secret
    url = url.set(drivername=POSTGRES.get(url.drivername, url.drivername))
    database = url.database or ":memory:"
    if url.get_backend_name() == "sqlite" and database != ":memory:" and not database.startswith("file:"):
        path = job.resolve(database)  # SQLite would make a file where there is none
        if not path.is_file():
            raise SourceError(f"database {path} does not exist; set source.url")
        url = url.set(database=str(path))
    return url


@contextmanager
def _connected(url: URL) -> Iterator[Connection]:
    """A read-only connection that fetches rows as they are asked for."""
    try:
        engine = create_engine(url, poolclass=NullPool)
    except ModuleNotFoundError as error:
        mend = EXTRAS.get(str(error.name), f"install the Python package of {error.name}")
        raise SourceError(f"source.url: no driver for {url.drivername} is installed; {mend}") from error
    except exc.NoSuchModuleError as error:
        mend = f"install the SQLAlchemy dialect {url.drivername}"
        raise SourceError(f"source.url: SQLAlchemy does not know {url.drivername!r}; {mend}") from error
    except exc.ArgumentError as error:
        raise SourceError(f"source.url: {_in_words(error, url)}") from error
    with _explained(url, is_connecting=True):
        connection = engine.connect()
    with connection:
        with _explained(url):
            options: dict[str, Any] = {"no_parameters": True, "stream_results": True}
            if engine.dialect.name == "postgresql":
                options["postgresql_readonly"] = True
            connection = connection.execution_options(**options)
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA query_only = ON")
        yield connection


@contextmanager
def _explained(url: URL, *, is_connecting: bool = False) -> Iterator[None]:
    """Turn what a database says into one sentence without the password."""
    where = URL.create(url.drivername, None, None, url.host, url.port, url.database).render_as_string()
    try:
        yield
    except exc.DBAPIError as error:
        if is_connecting or error.connection_invalidated:
            text = f"database {where} is unreachable: {_in_words(error, url)}; check source.url and whether it runs"
            raise DatabaseUnreachableError(text) from error
        raise SourceError(f"source.query fails on {where}: {_in_words(error, url)}") from error
    except exc.SQLAlchemyError as error:
        raise SourceError(f"source.query fails on {where}: {_in_words(error, url)}") from error


def _in_words(error: Exception, url: URL) -> str:
    """The first line of what the database said."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    return said[0].replace(str(url.password), "***") if url.password else said[0]
