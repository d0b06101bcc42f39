"""Layouts: what the columns of a file or query are, and its rows as a long table whatever they look like.

In: the header and the job, then one chunk after the other. Out: which columns are needed, and `LongRows`. Fails with
`SourceError` where a column is absent, there twice or claimed twice, and where time stamps or values cannot be read.
Everything behind this module sees one row per series and time stamp.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from tasks.job import Job
from tasks.sources.cells import Numbers, Texts
from tasks.sources.chunk import Chunk, LongRows, Place
from tasks.sources.column_per_series import ColumnPerSeries
from tasks.sources.headers import check_header
from tasks.sources.row_per_series import RowPerSeries
from tasks.sources.series_ids import join_ids
from tasks.sources.stamps import read_stamps


@dataclass(frozen=True)
class Layout:
    """How a file or query is laid out; one per file, as their headers may differ."""

    needed: list[str]
    """Columns to read, in the order of the file."""
    to_long: Callable[[Chunk, Numbers], LongRows]
    """The needed columns of a chunk, and what reads value cells -> its rows as a long table.

    Rows of one series and time stamp stand in the order of the source. Raises `SourceError` where a time stamp or value
    cannot be read.
    """

    @classmethod
    def of(cls, header: Sequence[str], job: Job, place: Place) -> Self:
        """The layout that the job says a file or query has.

        Args:
            header: names of the columns.
            job: `source` and `columns`.
            place: the file or query, for errors.

        Raises:
            SourceError: a column that the job names is absent or there twice, or patterns and roles do not fit.
        """
        kinds: dict[str, type[Long | ColumnPerSeries | RowPerSeries]] = {
            "long": Long,
            "column_per_series": ColumnPerSeries,
            "row_per_series": RowPerSeries,
        }
        plan = kinds[job.source.layout].plan(list(header), job, place)
        return cls(plan.needed, plan.to_long)


@dataclass(frozen=True)
class Long:
    """One row per series and time stamp."""

    job: Job
    needed: list[str]

    @classmethod
    def plan(cls, header: list[str], job: Job, place: Place) -> Self:
        """See `Layout.of`."""
        columns = job.columns
        wanted = {*columns.timestamp_columns, *columns.item_columns, *columns.values, *columns.static}
        check_header(header, wanted, job.source, place)
        return cls(job, [name for name in header if name in wanted])

    def to_long(self, chunk: Chunk, numbers: Numbers) -> LongRows:
        """See `Layout.to_long`."""
        columns, frame = self.job.columns, chunk.frame
        ids = [Texts.of(frame[name]) for name in columns.item_columns]
        return LongRows(
            items=join_ids(ids or [_one_series(self.job, len(frame))]),
            stamps=read_stamps(frame, columns, self.job.source, chunk.place),
            rows=frame.index.to_numpy(dtype=np.int64),
            numbers={name: numbers(frame[name], chunk.place) for name in columns.numeric},
            names={name: Texts.of(frame[name]).array() for name in [*columns.categorical, *columns.static]},
        )


def _one_series(job: Job, length: int) -> Texts:
    """The id of a source that is one series: the job's name."""
    return Texts(np.zeros(length, dtype=np.int64), np.array([job.name], dtype=object))
