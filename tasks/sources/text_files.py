"""A CSV or TSV file, plain or compressed, read as text, some rows at a time.

In: path, delimiter, encoding and the names of the wanted columns. Out: chunks of text with the line each row starts on.
Fails with `SourceError`, which names file, line and mend; an `OSError` of the system (a share that went away) passes.
"""

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pandas as pd

from tasks.errors import SourceError
from tasks.job import Source
from tasks.sources.chunk import Chunk, OpenPart, Place, chunk_rows

PACKED = {".gz", ".bz2", ".xz", ".zip"}
TABBED = {".tsv", ".tab"}
BATCH = 1_000  # records that csv reads at a time
BREAK = re.compile(r"\r\n|\r|\n")


@contextmanager
def open_text_file(path: Path, source: Source) -> Iterator[OpenPart]:
    """Open a text file and read its header.

    Args:
        path: the file; .gz, .bz2, .xz and .zip are unpacked.
        source: delimiter and encoding.

    Yields:
        The names of its columns and a way to read their rows as text; the index is the line (header = 1) that a row
        starts on.

    Raises:
        SourceError: the file is missing, damaged, empty or of another encoding.
    """
    place, delimiter = Place(str(path), "line"), delimiter_of(path, source)
    with ExitStack() as stack:
        with explained(path, source.encoding):
            file = stack.enter_context(open_text(path, source.encoding))
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = _header(reader, path)

        def read(columns: Sequence[str]) -> Iterator[Chunk]:
            with explained(path, source.encoding):
                for frame in _chunks(reader, header, list(dict.fromkeys(columns)), path):
                    yield Chunk(frame, place)

        yield OpenPart(place, header, read)


def delimiter_of(path: Path, source: Source) -> str:
    """The delimiter of a text file: as set, otherwise by the ending of its name, that of packing left aside."""
    name = path.with_suffix("") if path.suffix.lower() in PACKED else path
    return source.delimiter or ("\t" if name.suffix.lower() in TABBED else ",")


def _header(reader: Any, path: Path) -> list[str]:
    """The first record that is no blank line."""
    while True:
        _, records = _records(reader, 1, path)
        if not records:
            raise SourceError(f"{path} is empty; its first line names the columns")
        if not _is_blank(records[0]):
            return records[0]


def _chunks(reader: Any, header: list[str], columns: Sequence[str], path: Path) -> Iterator[pd.DataFrame]:
    """The wanted fields of the next rows, until there are none.

    The lists that csv makes are soon let go: a million of them slow the garbage collector down.
    """
    places = {name: header.index(name) for name in columns}
    most = chunk_rows(len(places))
    is_there = True
    while is_there:
        lines: list[int] = []
        texts: dict[str, list[str]] = {name: [] for name in places}
        while is_there and len(lines) < most:
            starts, records = _records(reader, min(BATCH, most - len(lines)), path)
            is_there = bool(starts)
            if not set(map(len, records)) <= {len(header)}:
                starts, records = _without_blanks(starts, records, len(header), path)
            lines.extend(starts)
            for name, place in places.items():
                texts[name].extend([record[place] for record in records])
        if lines:
            yield pd.DataFrame(texts, index=pd.Index(lines, dtype="int64"), dtype=object)


def _records(reader: Any, count: int, path: Path) -> tuple[Sequence[int], list[list[str]]]:
    """The next records and the line that each starts on; quoted fields may span lines, a blank line has no fields."""
    line, records = reader.line_num + 1, list[list[str]]()
    try:
        records.extend(islice(reader, count))
    except csv.Error as error:
        at = line + sum(_lines_of(record) for record in records)  # those before the broken one are there
        raise SourceError(f"{path}, line {at}: {error}; check its quotes") from error
    if reader.line_num - line + 1 == len(records):
        return range(line, line + len(records)), records
    return list(accumulate(map(_lines_of, records[:-1]), initial=line)), records


def _lines_of(record: Sequence[str]) -> int:
    """Lines that a record takes: one more than the breaks in its quoted fields."""
    return 1 + sum(len(BREAK.findall(field)) for field in record)


def _without_blanks(
    starts: Sequence[int], records: list[list[str]], width: int, path: Path
) -> tuple[list[int], list[list[str]]]:
    """The records that are no blank lines; one of another width than the header is refused."""
    kept = [(line, record) for line, record in zip(starts, records, strict=True) if not _is_blank(record)]
    for line, record in kept:
        if len(record) != width:
            rule = f"{len(record)} fields where the header has {width}"
            raise SourceError(f"{path}, line {line}: {rule}; check its delimiters and quotes")
    return [line for line, _ in kept], [record for _, record in kept]


def _is_blank(record: Sequence[str]) -> bool:
    return len(record) < 2 and not "".join(record).strip()  # noqa: PLR2004 - no delimiter


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[TextIO]:
    """Open a plain or compressed file; a byte order mark before UTF-8 text is skipped."""
    known = "utf-8-sig" if encoding.lower() in {"utf-8", "utf8", "utf_8"} else encoding
    with open_bytes(path) as binary, io.TextIOWrapper(binary, encoding=known, newline="") as text:
        yield text


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a plain or compressed file as the bytes that are in it."""
    with ExitStack() as stack:
        file: Any
        match path.suffix.lower():
            case ".gz":
                file = gzip.open(path, "rb")  # noqa: SIM115 - closed by the stack
            case ".bz2":
                file = bz2.open(path, "rb")  # noqa: SIM115
            case ".xz":
                file = lzma.open(path, "rb")  # noqa: SIM115
            case ".zip":
                archive = stack.enter_context(zipfile.ZipFile(path))
                names = [name for name in archive.namelist() if not name.endswith("/")]
                if len(names) != 1:
                    raise SourceError(f"{path} holds {len(names)} files; pack exactly one table")
                file = _member(archive, names[0], path)
            case _:
                file = path.open("rb")
        yield stack.enter_context(file)


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> Any:
    try:
        return archive.open(name)
    except (RuntimeError, NotImplementedError) as error:
        raise SourceError(f"{path} cannot be unpacked: {error}; pack it without password, by deflate") from error


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
        if error.errno is not None:  # the system's, not the decompressor's
            raise
        raise SourceError(f"{damaged}: {error}") from error
