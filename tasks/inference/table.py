"""The beginning of an unknown CSV file as a table: encoding, delimiter and header found by looking.

In: a path. Out: a `Table`. Fails with `SourceError` where the file is missing, empty, damaged or no
text, where its first line is no header, and where its columns are the time stamps of a wide layout.
"""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tasks.csv_source import explained, open_text
from tasks.errors import SourceError

SAMPLE = 32_000_000  # characters looked at; about a million rows of five columns
SNIFFED = 2_000_000  # characters, and lines, that the delimiter is looked for in
SNIFFED_LINES = 100
DELIMITERS = ",;\t|"
ENCODINGS = ["utf-8", "cp1252"]  # the second one reads almost every byte: it comes last
MOST_RECORDS = 0.9  # share of the first lines that must agree with the header on the number of fields
DATE = re.compile(r"\d{4}-\d{2}(-\d{2})?([ T]\d{2}:\d{2}.*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}.*")
YEAR_OR_DATE = re.compile(rf"(19|20)\d{{2}}|{DATE.pattern}")


@dataclass(frozen=True)
class Table:
    """The rows that were looked at, and how they were read."""

    path: Path
    frame: pd.DataFrame
    """Numeric where every field is a number or missing, otherwise text as it stands in the file."""
    delimiter: str
    encoding: str
    is_sample: bool
    """Whether the file goes on behind the rows of `frame`."""


def read_table(path: Path) -> Table:
    """Read the beginning of a CSV file, plain or compressed.

    Args:
        path: the file.

    Returns:
        Its first `SAMPLE` characters as a table.

    Raises:
        SourceError: one sentence on why the file cannot be used, and the mend.
    """
    if not path.exists():
        raise SourceError(f"{path} does not exist; give the path of a CSV file")
    if path.is_dir():
        raise SourceError(f"{path} is a folder; give the path of one CSV file")
    text, encoding, is_sample = _read_beginning(path)
    if not text.strip():
        raise SourceError(f"{path} is empty; a header line and rows are needed")
    if "\0" in text:
        raise SourceError(f"{path} is not a text file; a CSV file is needed (.gz, .bz2, .xz, .zip are read)")
    delimiter, header = _sniff(text, path)
    _check_header(header, path)
    frame = _parse(text, delimiter, path)
    if frame.empty:
        raise SourceError(f"{path} has a header but no rows")
    return Table(path, frame, delimiter, encoding, is_sample)


def _read_beginning(path: Path) -> tuple[str, str, bool]:
    """Whole lines from the beginning, their encoding, and whether the file goes on."""
    for encoding in ENCODINGS:
        with explained(path, encoding):
            try:
                with open_text(path, encoding) as file:
                    text, is_sample = file.read(SAMPLE), bool(file.read(1))
            except UnicodeDecodeError:
                continue
            return (text[: text.rfind("\n") + 1] if is_sample else text), encoding, is_sample
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


def _parse(text: str, delimiter: str, path: Path) -> pd.DataFrame:
    """The rows as numbers and text; text columns stay as they are, NA and None included."""
    try:
        frame = pd.read_csv(io.StringIO(text), sep=delimiter, index_col=False, low_memory=False)
        words = list(frame.select_dtypes(exclude="number"))
        if words:
            as_text = pd.read_csv(
                io.StringIO(text),
                sep=delimiter,
                index_col=False,
                usecols=words,
                dtype=str,
                na_filter=False,
            )
            frame[words] = as_text[words]
    except pd.errors.ParserError as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        mend = "check its delimiters and quotes"
        raise SourceError(f"{path} cannot be read as a table: {reason}; {mend}") from error
    return frame


def _check_header(header: list[str], path: Path) -> None:
    """The first line must name columns: neither values nor the time stamps of a wide layout."""
    dated = [name for name in header if YEAR_OR_DATE.fullmatch(name.strip())]
    if len(dated) > max(2, len(header) // 2):
        raise SourceError(
            f"{path} is in wide layout: its columns are time stamps ({dated[0]}, {dated[1]}, …), "
            "which is not read yet; rearrange it into one row per series and time stamp"
        )
    if any(DATE.fullmatch(name.strip()) for name in header):
        raise SourceError(f"{path} has no header: its first line is a row of values; add the names of the columns")
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise SourceError(f"{path} has more than one column {twice[0]!r}; rename one of them")
