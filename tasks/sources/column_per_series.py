"""Layout column_per_series: columns such as QTY_B1_7 become rows of the series B1/7 with a value QTY.

In: header, job and chunks. Out: `LongRows`: each row of the file becomes one row per series, and columns that belong to
no series (weather, say) are repeated for each. Fails with `SourceError`: see `patterns.py`; also where a column of a
covariate belongs to no series.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from tasks.errors import SourceError
from tasks.job import Job
from tasks.sources.cells import Numbers, Texts
from tasks.sources.chunk import Chunk, LongRows, Place
from tasks.sources.headers import check_header
from tasks.sources.patterns import Key, made_columns, match_columns
from tasks.sources.series_ids import join_ids
from tasks.sources.stamps import read_stamps


@dataclass(frozen=True)
class ColumnPerSeries:
    """One column per series, or one per series and value."""

    job: Job
    needed: list[str]
    made: list[str]
    """Columns that the patterns make."""
    keys: list[Key]
    """What these hold for each series."""
    cells: dict[str, dict[Key, str]]
    """Per value that the patterns make: the column of each series that has one."""

    @classmethod
    def plan(cls, header: list[str], job: Job, place: Place) -> Self:
        """See `Layout.of`."""
        columns, made = job.columns, made_columns(job, place)
        roles = [*columns.timestamp_columns, *columns.item_columns, *columns.values, *columns.static]
        wanted = [name for name in dict.fromkeys(roles) if name not in job.source.series_columns]
        check_header(header, wanted, job.source, place, made)
        shared = [name for name in wanted if name not in made]
        cells = match_columns(header, shared, job, place)
        keys = list(dict.fromkeys(key for name in columns.target for key in cells[name]))
        _check_owners(cells, keys, columns.target, place)
        used = set(shared).union(*(one.values() for one in cells.values()))
        return cls(job, [name for name in header if name in used], made, keys, cells)

    def to_long(self, chunk: Chunk, numbers: Numbers) -> LongRows:
        """See `Layout.to_long`."""
        columns, frame = self.job.columns, chunk.frame
        stamps = read_stamps(frame, columns, self.job.source, chunk.place)
        return LongRows(
            items=join_ids([self._texts(name, frame) for name in columns.item_columns]),
            stamps=np.tile(stamps, len(self.keys)),
            rows=np.tile(frame.index.to_numpy(dtype=np.int64), len(self.keys)),
            numbers={name: self._values(name, chunk, numbers) for name in columns.numeric},
            names={name: self._names(name, frame) for name in [*columns.categorical, *columns.static]},
        )

    def _texts(self, name: str, frame: pd.DataFrame) -> Texts:
        """A column of text, made by a pattern or of the file, for each series in turn."""
        height, width = len(frame), len(self.keys)
        if name not in self.made:
            return Texts.of(frame[name]).spread(np.tile(np.arange(height), width))
        place = self.made.index(name)
        distinct, codes = np.unique([key[place] for key in self.keys], return_inverse=True)
        return Texts(np.repeat(codes, height), distinct.astype(object))

    def _values(self, name: str, chunk: Chunk, numbers: Numbers) -> np.ndarray:
        """A value column for each series in turn; missing where a series has none."""
        frame, place = chunk.frame, chunk.place
        if name not in self.cells:
            return np.tile(numbers(frame[name], place), len(self.keys))
        cells, none = self.cells[name], np.full(len(frame), np.nan)
        return np.concatenate([numbers(frame[cells[key]], place) if key in cells else none for key in self.keys])

    def _names(self, name: str, frame: pd.DataFrame) -> np.ndarray:
        """A column of names for each series in turn."""
        if name not in self.cells:
            return self._texts(name, frame).array()
        cells, none = self.cells[name], np.full(len(frame), None)
        return np.concatenate([Texts.of(frame[cells[key]]).array() if key in cells else none for key in self.keys])


def _check_owners(cells: dict[str, dict[Key, str]], keys: list[Key], targets: list[str], place: Place) -> None:
    """Every column of a covariate belongs to a series, that is, to a column of a target."""
    for name, columns in cells.items():
        alone = [columns[key] for key in columns if key not in set(keys)]
        if alone:
            text = f"column {alone[0]!r} ({name}) has no column of {', '.join(targets)} beside it"
            raise SourceError(f"{place.name}: {text}; narrow source.series_columns.{name}")
