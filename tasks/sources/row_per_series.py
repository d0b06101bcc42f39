"""Layout row_per_series: the values of a series stand side by side; each cell becomes a row.

In: header, job and chunks. Out: `LongRows` with a value column `value`. The time stamps are the header, or count from
`source.start`. Empty cells behind the last value of a row are no rows; a row without any value keeps its first cell, so
that the series is not lost. Fails with `SourceError` where the header holds no time stamps and there is no start.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from moirai.evaluation.seasonality import to_offset
from tasks.errors import SourceError
from tasks.job import Columns, Job
from tasks.sources.cells import Numbers, Texts
from tasks.sources.chunk import Chunk, LongRows, Place
from tasks.sources.headers import check_header, what_is_there
from tasks.sources.series_ids import join_ids
from tasks.sources.stamps import read_stamps

VALUE = "value"


@dataclass(frozen=True)
class RowPerSeries:
    """One row per series."""

    job: Job
    needed: list[str]
    cells: list[str]
    """Columns of the values."""
    stamps: np.ndarray
    """datetime64[ns] of each."""

    @classmethod
    def plan(cls, header: list[str], job: Job, place: Place) -> Self:
        """See `Layout.of`."""
        columns = job.columns
        more = [name for name in columns.values if name != VALUE]
        if more:
            mend = "columns that are the same throughout a series are static"
            raise SourceError(
                f"{place.name}: layout row_per_series has no values but {VALUE!r}, not {more[0]!r}; {mend}"
            )
        roles = {*columns.item_columns, *columns.static}
        cells = [name for name in header if name not in roles]
        check_header(header, [*columns.item_columns, *columns.static, *cells], job.source, place)
        if not cells:
            text = "every column has a role, none is left for the values"
            raise SourceError(f"{place.name}: {text}; {what_is_there(header, job.source)}")
        if any(not name.strip() for name in cells):
            raise SourceError(f"{place.name}: a column of values has no name; name or remove it")
        return cls(job, header, cells, _stamps(header, cells, job, place))

    def to_long(self, chunk: Chunk, numbers: Numbers) -> LongRows:
        """See `Layout.to_long`."""
        columns, frame = self.job.columns, chunk.frame
        values = np.column_stack([numbers(frame[name], chunk.place) for name in self.cells])
        is_there = ~np.isnan(values)
        is_there[:, 0] = True
        lengths = len(self.cells) - np.argmax(is_there[:, ::-1], axis=1)  # up to the last value of each row
        rows, steps = np.nonzero(np.arange(len(self.cells)) < lengths[:, None])
        return LongRows(
            items=join_ids([Texts.of(frame[name]).spread(rows) for name in columns.item_columns]),
            stamps=self.stamps[steps],
            rows=frame.index.to_numpy(dtype=np.int64)[rows],
            numbers={VALUE: values[rows, steps]},
            names={name: Texts.of(frame[name]).spread(rows).array() for name in columns.static},
        )


class _Header(Place):
    """Words for the name of a column."""

    def at(self, column: object, row: object) -> str:  # noqa: ARG002 - the name is the cell
        """`m4.csv, header, column 3`."""
        return f"{self.name}, header, column {row}"


class _Setting(Place):
    """Words for `source.start`."""

    def at(self, column: object, row: object) -> str:  # noqa: ARG002 - it is one value
        """`source.start`."""
        return "source.start"


def _stamps(header: list[str], cells: list[str], job: Job, place: Place) -> np.ndarray:
    """Time stamp of each column of values."""
    if job.source.start is not None:
        return _counted(job.source.start, len(cells), job, place)
    try:
        return _read(cells, [header.index(name) + 1 for name in cells], job, _Header(place.name, "row"))
    except SourceError as error:
        mend = "name a column that holds no values in columns, or set source.start to the time stamp of the first value"
        raise SourceError(f"{error}; {mend}") from error


def _read(texts: list[str], rows: list[int], job: Job, place: Place) -> np.ndarray:
    frame = pd.DataFrame({"timestamp": texts}, index=rows, dtype=object)
    return read_stamps(frame, Columns(timestamp="timestamp", target=[VALUE]), job.source, place)


def _counted(start: str, count: int, job: Job, place: Place) -> np.ndarray:
    """Time stamps from `source.start` on, one step of the frequency apart."""
    (first,) = _read([start], [0], job, _Setting(place.name, "row"))
    try:
        stamps = pd.date_range(first, periods=count, freq=to_offset(job.frequency), unit="ns").to_numpy()
    except (pd.errors.OutOfBoundsDatetime, OverflowError) as error:
        text = f"{count:,} steps of {job.frequency} from source.start {start!r} on leave the years 1678 to 2261"
        raise SourceError(f"{place.name}: {text}; choose an earlier one") from error
    if stamps[0] != first:
        text = f"source.start {start!r} is no time stamp of the frequency {job.frequency}"
        raise SourceError(f"{text}; the next one is {pd.Timestamp(stamps[0])}")
    return stamps
