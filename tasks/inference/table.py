"""The beginning of an unknown source as a table: files of text or Parquet, or the answer of a database.

In: a path, folder, glob or database URL as a person writes it. Out: a `Table`. Fails with `SourceError` where there is
nothing to read or it is no table, and with `JobError` where the URL holds a password.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.errors import SourceError
from tasks.inference.text_table import read_text_table
from tasks.inference.typed_table import read_parquet_table, read_query_table
from tasks.job import Job, job_from_settings
from tasks.sources.chunk import Place
from tasks.sources.listing import list_files
from tasks.sources.parquet_files import is_parquet

SAMPLE = 32_000_000  # characters looked at; about a million rows of five columns
CELL = 8  # characters that count as one cell of a Parquet file or query


@dataclass(frozen=True)
class Table:
    """The rows that were looked at, and how they were read."""

    name: str
    """The path or URL, as given."""
    source: dict[str, Any]
    """Settings of `source` that lead to the rows."""
    frame: pd.DataFrame
    """Columns are numeric, time stamps (of typed sources only), or text; "" where text is missing."""
    is_typed: bool
    """Whether the source knows types: Parquet and databases do, text files do not."""
    is_sample: bool
    """Whether the source goes on behind the rows of `frame`."""
    files: int
    delimiter: str = ","
    encoding: str = "utf-8"

    @property
    def place(self) -> Place:
        """The table for messages; its rows count from 1."""
        return Place(self.name, "row")

    @property
    def texts(self) -> list[str]:
        """Names of the columns that hold text."""
        return list(self.frame.select_dtypes(exclude=["number", "datetime", "datetimetz"]))


def read_table(data: str, query: str | None = None) -> Table:
    """Read the beginning of a source.

    Args:
        data: file, folder, glob, or SQLAlchemy URL.
        query: what a database is asked; None for files.

    Raises:
        SourceError: one sentence on why it cannot be used, and the mend.
        JobError: the URL holds a password, or is none.
    """
    if "://" in data:
        return _read_database(data, query)
    if query is not None:
        raise SourceError(f"--query goes with the URL of a database; {data} is none (sqlite:///shop.db would be one)")
    job = _probe({"path": data}, data)
    files = list_files(job)
    share = max(1, SAMPLE // len(files))
    kinds = {is_parquet(path) for path in files}
    if len(kinds) > 1:
        raise SourceError(f"{data} holds text and Parquet files; give a glob of one kind, such as '{data}/*.parquet'")
    if kinds == {True}:
        frame, is_sample = read_parquet_table(files, job, share // CELL)
        return Table(data, {"path": data}, frame, is_typed=True, is_sample=is_sample, files=len(files))
    text = read_text_table(files, share)
    return Table(
        data,
        {"path": data},
        text.frame,
        is_typed=False,
        is_sample=text.is_sample,
        files=len(files),
        delimiter=text.delimiter,
        encoding=text.encoding,
    )


def _read_database(url: str, query: str | None) -> Table:
    if query is None:
        raise SourceError(
            f"{url} is a database; say with --query what it is to be asked, one row per row of the source"
        )
    source = {"url": url, "query": query}
    frame, is_sample = read_query_table(_probe(source, "moirai init"), SAMPLE // CELL)
    return Table(url, source, frame, is_typed=True, is_sample=is_sample, files=0)


def _probe(source: dict[str, Any], origin: str) -> Job:
    """A job that says where to read, and nothing else that is true."""
    settings = {
        "name": "probe",
        "source": source,
        "columns": {"timestamp": "t", "target": ["y"]},
        "frequency": "D",
        "horizon": 1,
    }
    return job_from_settings(settings, folder=Path.cwd(), origin=origin)
