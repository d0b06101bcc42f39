"""The CSV file behind a source, read as text, some rows at a time; `ingest.py` gives it meaning.

In: path, delimiter, encoding and the names of the columns. Out: chunks of text with the line each
row starts on. Fails with `SourceError`, which names file, line and mend; an `OSError` of the system
(a share that went away) passes.
"""

import bz2
import csv
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from tasks.errors import SourceError
from tasks.job import Source

CHUNK = 100_000  # rows read at a time; bounds the memory that text takes
NAMES_SHOWN = 30  # column names in an error: a wide file has thousands


def read_text(source: Source, path: Path, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Read the named columns of a CSV file as text.

    Args:
        source: delimiter and encoding.
        path: the file; .gz, .bz2, .xz and .zip are unpacked.
        columns: names of the wanted columns.

    Yields:
        Up to `CHUNK` rows of text; the index is the line (header = 1) that a row starts on.

    Raises:
        SourceError: the file is missing, damaged, empty, of another encoding, or lacks a column.
    """
    with explained(path, source.encoding), open_text(path, source.encoding) as file:
        records = _records(csv.reader(file, delimiter=source.delimiter or ",", strict=True), path)
        _, header = next(records, (0, []))
        if not header:
            raise SourceError(f"{path} is empty; its first line names the columns")
        check_header(header, columns, source, path)
        places = {name: header.index(name) for name in columns}
        while True:
            lines, texts = _chunk(records, places, len(header), path)
            if not lines:
                return
            yield pd.DataFrame(texts, index=lines, dtype=object)


def _chunk(
    records: Iterator[tuple[int, list[str]]], places: Mapping[str, int], width: int, path: Path
) -> tuple[list[int], dict[str, list[str]]]:
    """Lines and wanted fields of the next rows.

    The lists that csv makes are not kept: a million of them slow the garbage collector down.
    """
    lines: list[int] = []
    texts: dict[str, list[str]] = {name: [] for name in places}
    columns = [(texts[name], place) for name, place in places.items()]
    for line, record in islice(records, CHUNK):
        if len(record) != width:
            rule = f"{len(record)} fields where the header has {width}"
            raise SourceError(f"{path}, line {line}: {rule}; check its delimiters and quotes")
        lines.append(line)
        for column, place in columns:
            column.append(record[place])
    return lines, texts


def check_header(header: list[str], wanted: Sequence[str], source: Source, path: Path) -> None:
    """Every wanted column is there exactly once; otherwise `SourceError` lists what is there."""
    there = f"it has {', '.join(header[:NAMES_SHOWN])}"
    there += f" and {len(header) - NAMES_SHOWN} more" if len(header) > NAMES_SHOWN else ""
    if len(header) == 1:
        there += f" (one column only: is source.delimiter {source.delimiter or ','!r} right?)"
    absent = [name for name in wanted if name not in header]
    if absent:
        raise SourceError(f"{path} has no column {', '.join(map(repr, absent))}; {there}")
    twice = [name for name in wanted if header.count(name) > 1]
    if twice:
        raise SourceError(f"{path} has more than one column {twice[0]!r}; {there}")


def _records(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line and fields of each record; quoted fields may span lines, blank lines only count."""
    line = 1
    try:
        for record in reader:
            if len(record) > 1 or (record and record[0].strip()):
                yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(f"{path}, line {line}: {error}; check its quotes") from error


def open_text(path: Path, encoding: str) -> AbstractContextManager[TextIO]:
    """Open a plain or compressed file; a byte order mark before UTF-8 text is skipped."""
    known = "utf-8-sig" if encoding.lower() in {"utf-8", "utf8", "utf_8"} else encoding
    match path.suffix.lower():
        case ".gz":
            return gzip.open(path, "rt", encoding=known, newline="")
        case ".bz2":
            return bz2.open(path, "rt", encoding=known, newline="")
        case ".xz":
            return lzma.open(path, "rt", encoding=known, newline="")
        case ".zip":
            return _open_zip(path, known)
        case _:
            return path.open(encoding=known, newline="")


@contextmanager
def _open_zip(path: Path, encoding: str) -> Iterator[TextIO]:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if len(names) != 1:
            raise SourceError(f"{path} holds {len(names)} files; pack exactly one CSV file")
        with (
            archive.open(names[0]) as binary,
            io.TextIOWrapper(binary, encoding, newline="") as text,
        ):
            yield text


@contextmanager
def explained(path: Path, encoding: str) -> Iterator[None]:
    """Turn what goes wrong while reading into one sentence; trouble of the outside world passes."""
    damaged = f"{path} is damaged or not what its ending says"
    try:
        yield
    except FileNotFoundError as error:
        raise SourceError(f"source {path} does not exist; set source.path") from error
    except IsADirectoryError as error:
        raise SourceError(f"source {path} is a folder; source.path names one CSV file") from error
    except PermissionError as error:
        raise SourceError(f"source {path} may not be read; check its permissions") from error
    except LookupError as error:
        raise SourceError(f"source.encoding {encoding!r} is unknown; try utf-8 or latin-1") from error
    except UnicodeError as error:
        raise SourceError(f"{path} is not {encoding} text ({error}); set source.encoding") from error
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise SourceError(f"{damaged}: {error}") from error
    except OSError as error:
        if error.errno is not None:  # the system's own
            raise
        raise SourceError(f"{damaged}: {error}") from error
