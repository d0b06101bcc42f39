"""What passes between the readers, the layout and the assembly: some rows of a source, before and after un-pivoting.

In: what a reader found. Out: frozen records; nothing here fails.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

ROWS = 100_000  # of a chunk, at most: bounds the memory that text takes
CELLS = 2_000_000  # of a chunk, about: wide files come fewer rows at a time
LENGTH_SHOWN = 60  # characters of a cell in a message: a broken file has cells of any length


@dataclass(frozen=True)
class Place:
    """The file or query that rows stand in, for messages."""

    name: str
    unit: Literal["line", "row"]  # what the index of a chunk counts: lines of a text (header = 1), or rows from 1

    def at(self, column: object, row: Any) -> str:
        """Words for one cell: `sales.csv, column 'qty', line 17`."""
        return f"{self.name}, column {column!r}, {self.unit} {row}"


@dataclass(frozen=True)
class Chunk:
    """Some rows of a source: the wanted columns as they stand; the index is the line or row of each (int64)."""

    frame: pd.DataFrame
    place: Place


@dataclass(frozen=True)
class LongRows:
    """Rows of a chunk as a long table: one per series and time stamp; all arrays are of one length."""

    items: pd.Categorical  # the series of each row; a missing id has code -1
    stamps: np.ndarray  # datetime64[ns]
    rows: np.ndarray  # int64, line or row of the source that each stood on
    numbers: dict[str, np.ndarray]  # numeric value columns, float64, in the order of `job.columns.values`
    names: dict[str, np.ndarray]  # categorical covariates and static columns: text, "" or None where missing


@dataclass(frozen=True)
class OpenPart:
    """One file or query that is open: the names of its columns, and a way to read some of them chunk by chunk."""

    place: Place
    header: list[str]
    read: Callable[[Sequence[str]], Iterator[Chunk]]


def chunk_rows(width: int) -> int:
    """Rows of a chunk that has this many columns."""
    return max(1, min(ROWS, CELLS // max(1, width)))


def shown(cell: Any) -> str:
    """A cell as messages show it: in quotes, on one line and not too long."""
    text = cell if isinstance(cell, str) else str(cell)
    return repr(text if len(text) <= LENGTH_SHOWN else f"{text[:LENGTH_SHOWN]}…")


def plain(name: str) -> str:
    """The name of a column as lists of them show it: as it stands, in quotes where it would break the line."""
    return name if name.isprintable() and len(name) <= LENGTH_SHOWN else shown(name)
