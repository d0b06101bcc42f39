"""The layout with one series per row: whether a table has it, and when its values were.

In: a `Table`. Out: `RowSeries`, or None for another layout. Fails with `SourceError` where no column names the series.
Without time stamps in the header frequency and start are guesses; the frequency from the names of file and folders.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from moirai.evaluation.seasonality import to_offset
from tasks.errors import SourceError
from tasks.inference.dates import NAMED_DATE, fitting_formats, looks_dated
from tasks.inference.findings import Finding, counted, list_names
from tasks.inference.table import Table
from tasks.inference.times import has_times
from tasks.inference.values import MANY
from tasks.job import Columns, Source
from tasks.sources.stamps import read_stamps

NUMBERED = re.compile(r"\D*(\d+)")
HINTS = [  # beginnings of words in the name of a file or folder; the first one found decides
    ("15.?min|quarter.?hour", "15min"), ("hour", "h"), ("quarter", "QS"), ("month", "MS"), ("week", "W-MON"),
    ("dai|day", "D"), ("year|annual", "YS"), ("minute", "min"),
]  # fmt: skip
UNKNOWN = "D"
START, EARLY_START = pd.Timestamp("2000-01-01"), pd.Timestamp("1700-01-01")  # the early one for centuries of years


@dataclass(frozen=True)
class RowSeries:
    """A table with one series per row."""

    item_id: str
    static: list[str]
    values: pd.DataFrame
    """One column per series, one row per time stamp."""
    stamps: pd.Series
    findings: list[Finding]
    frequency: Finding | None
    """Where the header holds no time stamps."""


def find_row_series(table: Table) -> RowSeries | None:
    """Look at a table as one with a series per row.

    Raises:
        SourceError: it is one, but no column names the series.
    """
    names = list(table.frame.columns)
    is_dated = looks_dated(names)
    if not is_dated and has_times(table):
        return None
    cells = _dated_cells(names) if is_dated else _numbered_cells(table)
    if not cells:
        return None
    texts = [name for name in cells if name in table.texts]
    if texts:
        return None
    item_id, other = _item_id(table, cells)
    values = table.frame[cells].T.reset_index(drop=True)
    found = [_explain_layout(table, cells, item_id), _explain_item(table, item_id)]
    if other:
        why = "columns beside the values; kept with each series, no input of the model"
        found.append(Finding("columns.static", other, "likely", why))
    if is_dated:
        formats = fitting_formats(pd.Series(cells, dtype=object)) or [""]
        stamps = _read_header(cells, formats[0], table)
        if formats[0]:
            found.append(Finding("source.timestamp_format", formats[0], "likely", f"{cells[0]} fits it"))
        return RowSeries(item_id, other, values, stamps, found, None)
    frequency = _guess_frequency(table)
    start, stamps = _count(frequency.value, len(cells), table)
    why = "the header holds no time stamps: set that of the first value of each row"
    found.append(Finding("source.start", str(start.date()), "guess", why))
    return RowSeries(item_id, other, values, stamps, found, frequency)


def _dated_cells(names: list[str]) -> list[str]:
    return [name for name in names if NAMED_DATE.fullmatch(name.strip())]


def _numbered_cells(table: Table) -> list[str]:
    """Numeric columns that are numbered one after the other (V2, V3, ...), or all where they are many."""
    numeric = list(table.frame.select_dtypes("number"))
    if len(numeric) < MANY:
        return []
    matched = {name: NUMBERED.fullmatch(name) for name in numeric}
    numbered = [name for name, match in matched.items() if match]
    numbers = np.array([int(match[1]) for match in matched.values() if match])
    if len(numbered) >= MANY and (np.diff(numbers) == 1).all():
        return numbered
    distinct = table.frame[numeric].nunique()
    return [name for name in numeric if distinct[name] != 1]


def _item_id(table: Table, cells: list[str]) -> tuple[str, list[str]]:
    """The column that names the series, and the other ones beside the values."""
    beside = [name for name in table.frame.columns if name not in cells]
    ids = [name for name in beside if table.frame[name].is_unique and not (table.frame[name] == "").any()]
    ids.sort(key=lambda name: name not in table.texts)  # a row number only where nothing else names the series
    if not ids:
        tried = f"tried {list_names(beside)}" if beside else "all columns hold values"
        mend = "add a column with a name for each row"
        raise SourceError(f"{table.name} has one series per row, but no column names the series ({tried}); {mend}")
    return ids[0], [name for name in beside if name != ids[0]]


def _explain_layout(table: Table, cells: list[str], item_id: str) -> Finding:
    text = f"no column of time stamps; {len(cells)} numeric columns ({list_names(cells)})"
    text = f"the names of {len(cells)} columns are time stamps" if NAMED_DATE.fullmatch(cells[0].strip()) else text
    series = counted(len(table.frame), "row")
    return Finding(
        "source.layout", "row_per_series", "likely", f"{text}: {series} of one series each, named by {item_id}"
    )


def _explain_item(table: Table, item_id: str) -> Finding:
    why = f"{item_id!r} is different in each of {counted(len(table.frame), 'row')}"
    return Finding("columns.item_id", item_id, "likely", why)


def _read_header(cells: list[str], stamp_format: str, table: Table) -> pd.Series:
    frame = pd.DataFrame({"timestamp": cells}, dtype=object)
    columns = Columns(timestamp="timestamp", target=["value"])
    source = Source(path=table.name, timestamp_format=stamp_format or None)
    return pd.Series(read_stamps(frame, columns, source, table.place))


def _guess_frequency(table: Table) -> Finding:
    """From the name of the file or of a folder above it."""
    path = Path(table.name)
    for part in [path.name, *(parent.name for parent in path.resolve().parents[:2])]:
        for hint, frequency in HINTS:
            if re.search(f"(?<![a-z])({hint})", part, re.IGNORECASE):
                why = f"the header holds no time stamps; from the name {part!r}"
                return Finding("frequency", frequency, "guess", why)
    why = "nothing tells how far apart the values are: set h, D, W-MON, MS, QS or YS"
    return Finding("frequency", UNKNOWN, "guess", why)


def _count(frequency: str, steps: int, table: Table) -> tuple[pd.Timestamp, pd.Series]:
    """A start on the grid, and the time stamps from there on; an early one where there are centuries."""
    offset = to_offset(frequency)
    for start in (START, EARLY_START):
        first = offset.rollforward(start)
        try:
            return first, pd.Series(pd.date_range(first, periods=steps, freq=offset, unit="ns"))
        except (OverflowError, pd.errors.OutOfBoundsDatetime):
            continue
    text = f"{steps:,} columns of values are more than the years 1678 to 2261 hold at frequency {frequency}"
    raise SourceError(f"{table.name}: {text}; leave out the first ones")
