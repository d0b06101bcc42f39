"""The beginning of unknown text files as one table: encoding, delimiter and header found by looking.

In: files with the same columns, and how much of them to read. Out: `TextTable`. Fails with `SourceError` where a file
is empty, damaged or no text, where its first line is no header, and where files differ in their columns.
"""

import csv
import io
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tasks.errors import SourceError
from tasks.inference.dates import DATE, looks_dated
from tasks.inference.findings import list_names
from tasks.sources.text_files import explained, open_text

SNIFFED = 2_000_000  # characters, and lines, that the delimiter is looked for in
SNIFFED_LINES = 100
DELIMITERS = ",;\t|"
ENCODINGS = ["utf-8", "cp1252"]  # the second one reads almost every byte: it comes last
MOST_RECORDS = 0.9  # share of the first lines that must agree with the header on the number of fields


@dataclass(frozen=True)
class TextTable:
    """Rows of text files, and how they were read."""

    frame: pd.DataFrame
    """Numeric where every field is a number or missing, otherwise text as it stands."""
    delimiter: str
    encoding: str
    is_sample: bool
    """Whether the files go on behind the rows of `frame`."""


def read_text_table(files: Sequence[Path], characters: int) -> TextTable:
    """Read the beginnings of text files, plain or compressed.

    Args:
        files: at least one.
        characters: how much is read of each.

    Raises:
        SourceError: one sentence on why a file cannot be used, and the mend.
    """
    text, encoding, is_sample = _read_beginning(files[0], characters)
    delimiter, header = _sniff(text, files[0])
    _check_header(header, files[0])
    texts = [text if text.endswith("\n") else f"{text}\n"]
    for path in files[1:]:
        more, other, goes_on = _read_beginning(path, characters)
        if other != encoding:
            raise SourceError(f"{path} is {other}, {files[0]} {encoding}; convert them to one encoding")
        texts.append(_without_header(more, delimiter, header, path, files[0]))
        is_sample |= goes_on
    frame = _parse("".join(texts), delimiter, files[0])
    if frame.empty:
        raise SourceError(f"{files[0]} has a header but no rows")
    return TextTable(frame, delimiter, encoding, is_sample)


def _read_beginning(path: Path, characters: int) -> tuple[str, str, bool]:
    """Whole lines from the beginning, their encoding, and whether the file goes on."""
    for encoding in ENCODINGS:
        with explained(path, encoding):
            try:
                with open_text(path, encoding) as file:
                    text, is_sample = file.read(characters), bool(file.read(1))
            except UnicodeDecodeError:
                continue
            text = text[: text.rfind("\n") + 1] if is_sample else text
            if not text.strip():
                raise SourceError(f"{path} is empty; a header line and rows are needed")
            if "\0" in text:
                mend = "a CSV, TSV or Parquet file is needed (.gz, .bz2, .xz, .zip are read)"
                raise SourceError(f"{path} is not a text file; {mend}")
            return text, encoding, is_sample
    raise SourceError(f"{path} is not a text file in {' or '.join(ENCODINGS)}; convert it to utf-8")


def _sniff(text: str, path: Path) -> tuple[str, list[str]]:
    """The delimiter that cuts header and rows into the same number of fields; the header."""
    lines = text[:SNIFFED].lstrip("\r\n").splitlines()[:SNIFFED_LINES]
    best: tuple[int, str, list[str]] = (1, "", [])
    for delimiter in DELIMITERS:
        records = [record for record in csv.reader(lines, delimiter=delimiter) if record]
        fields = Counter(len(record) for record in records)
        width = len(records[0])
        if fields[width] >= MOST_RECORDS * len(records) and width > best[0]:
            best = (width, delimiter, records[0])
    if not best[1]:
        raise SourceError(
            f"{path} is no table: no comma, semicolon, tab or | cuts header and rows into the same "
            "number of columns, at least one of time stamps and one of values"
        )
    return best[1], best[2]


def _check_header(header: list[str], path: Path) -> None:
    """The first line must name columns, or be the time stamps of a layout with one series per row."""
    if not looks_dated(header) and any(DATE.fullmatch(name.strip()) for name in header):
        raise SourceError(f"{path} has no header: its first line is a row of values; add the names of the columns")
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise SourceError(f"{path} has more than one column {twice[0]!r}; rename one of them")


def _without_header(text: str, delimiter: str, header: list[str], path: Path, first: Path) -> str:
    """The rows of a further file, which must have the header of the first one."""
    stream = io.StringIO(text.lstrip("\r\n"), newline="")
    other = next(csv.reader(stream, delimiter=delimiter))
    if other != header:
        mend = "give a folder or glob of files with the same columns in the same order"
        raise SourceError(f"{path} has other columns ({list_names(other)}) than {first}; {mend}")
    rest = stream.read()
    return rest if rest.endswith("\n") or not rest else f"{rest}\n"


def _parse(text: str, delimiter: str, path: Path) -> pd.DataFrame:
    """The rows as numbers and text; text columns stay as they are, NA and None included."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # all rows have a field too many
            frame = pd.read_csv(io.StringIO(text), sep=delimiter, index_col=False, low_memory=False)
        words = list(frame.select_dtypes(exclude="number"))
        if words:
            as_text = pd.read_csv(
                io.StringIO(text), sep=delimiter, index_col=False, usecols=words, dtype=str, na_filter=False
            )
            frame[words] = as_text[words]
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        mend = "check its delimiters and quotes"
        raise SourceError(f"{path} cannot be read as a table: {reason}; {mend}") from error
    return frame
