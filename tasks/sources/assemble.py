"""Chunks -> one raw panel, in bounded memory: a text is kept once, and a row is numbers only until the end.

In: long rows, chunk by chunk. Out: the raw panel sorted by series and time, the names behind the codes of categorical
columns, and one row of static values per series. Fails with `SourceError`: a row without series, a value that is no
finite number, a static column that changes within a series, a categorical one with too many names, an id that hardly
tells series apart, no row at all.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from moirai.evaluation.seasonality import to_offset
from tasks.errors import SourceError
from tasks.job import Job
from tasks.panel import KEYS, SOURCE_ROW, SourcePart
from tasks.sources.chunk import LongRows, Place
from tasks.sources.numbered import Numbered
from tasks.sources.numbers import NumberReader
from tasks.sources.statics import Statics

MOST_NAMES = 50  # of a categorical column: each becomes an input of the model
FEW_ROWS = 1_000  # below, series of one row each are a young panel rather than a swapped column
MOST_SERIES = 2_000_000  # more than that, and more than half as many as rows so far: no need to read on


@dataclass(frozen=True)
class RawPanel:
    """What a source said."""

    frame: pd.DataFrame
    """item_id, timestamp, source_row and the value columns; see `tasks/panel.py`."""
    levels: dict[str, list[str]]
    """Names behind the codes of each categorical column."""
    static: pd.DataFrame | None
    """item_id and the static columns, one row per series; None: the job names none."""
    parts: list[SourcePart]
    """Files or queries that rows came from."""


class Assembly:
    """Takes the rows of a source as they come and makes one panel of them."""

    def __init__(self, job: Job, as_of: pd.Timestamp | None) -> None:
        columns = job.columns
        self._job, self._as_of = job, min(as_of or pd.Timestamp.max, pd.Timestamp.max)
        self._until = self._last_known()
        self._items = Numbered()
        self._names = {name: Numbered() for name in columns.categorical}
        self._statics = Statics(columns.static, self._items)
        self._pieces: dict[str, list[np.ndarray]] = {name: [] for name in (*KEYS, SOURCE_ROW, *columns.values)}
        self._read, self._first = 0, pd.Timestamp.max

    def _last_known(self) -> pd.Timestamp:
        """Last time stamp that is kept: that of the horizon where covariates are known in advance, else as_of."""
        if not self._job.columns.known or self._as_of == pd.Timestamp.max:
            return self._as_of
        try:
            return self._as_of + self._job.horizon * to_offset(self._job.frequency)
        except (OverflowError, pd.errors.OutOfBoundsDatetime):
            return pd.Timestamp.max

    def add(self, rows: LongRows, numbers: NumberReader, place: Place, before: int) -> None:
        """Keep the rows of one chunk that the run sees.

        Args:
            rows: the rows.
            numbers: what read their numbers.
            place: the file or query, for errors.
            before: added to the line or row of each, so that it is unique among the parts.
        """
        if not len(rows.stamps):
            return
        codes = self._series(rows, place)
        self._read += len(codes)
        self._first = min(self._first, pd.Timestamp(rows.stamps.min()))
        is_kept = rows.stamps <= _datetime64(self._until)
        rows, codes = _taken(rows, is_kept), codes[is_kept]
        is_behind = rows.stamps > _datetime64(self._as_of)
        rows = self._without_future(rows, is_behind)
        numbers.check(rows, place)
        self._statics.add(codes[~is_behind], _taken(rows, ~is_behind), place)
        self._keep(KEYS[0], codes)
        self._keep(KEYS[1], rows.stamps)
        self._keep(SOURCE_ROW, rows.rows + before)
        for name in self._job.columns.values:
            self._keep(name, self._codes(name, rows, place) if name in self._names else rows.numbers[name])

    def _keep(self, name: str, values: np.ndarray) -> None:
        self._pieces[name].append(values)

    def _series(self, rows: LongRows, place: Place) -> np.ndarray:
        """Number of each row's series; a row without one is refused."""
        codes = self._items.numbers(rows.items)
        if (codes < 0).any():
            row = int(rows.rows[codes < 0].min())
            name = ", ".join(self._job.columns.item_columns)
            raise SourceError(f"{place.at(name, row)}: no item id; every row must name its series")
        if len(self._items) > MOST_SERIES and 2 * len(self._items) > self._read + len(codes):
            self._refuse_ids(place.name, self._read + len(codes))
        return codes

    def _refuse_ids(self, name: str, rows: int) -> None:
        columns = " and ".join(map(repr, self._job.columns.item_columns))
        count = f"{len(self._items):,} distinct values in {rows:,} rows"
        raise SourceError(f"{name}, column {columns}: {count} hardly tell series apart; is columns.item_id right?")

    def _without_future(self, rows: LongRows, is_behind: np.ndarray) -> LongRows:
        """Rows later than as_of with nothing but their known covariates."""
        if not is_behind.any():
            return rows
        hidden = [name for name in self._job.columns.values if name not in self._job.columns.known]
        numbers, names = dict(rows.numbers), dict(rows.names)
        for name in hidden:
            if name in numbers:
                numbers[name] = np.where(is_behind, np.nan, numbers[name])
            else:
                names[name] = names[name].copy()
                names[name][is_behind] = None
        return replace(rows, numbers=numbers, names=names)

    def _codes(self, name: str, rows: LongRows, place: Place) -> np.ndarray:
        """Codes of a categorical column in the order its names come; -1 where missing."""
        known = self._names[name]
        codes = known.numbers(rows.names[name])
        if len(known) > MOST_NAMES:
            count = f"{len(known):,} names by {place.unit} {rows.rows.max()}; the model takes {MOST_NAMES}"
            mend = f"remove {name!r} from columns.categorical if it holds numbers, or from its role"
            raise SourceError(f"{place.name}, column {name!r}: {count}; {mend}, or merge rare names")
        return codes

    def panel(self, parts: list[SourcePart], name: str) -> RawPanel:
        """All rows as one panel; what was kept of them is handed over.

        Args:
            parts: files or queries that rows came from.
            name: of the source, for errors.

        Raises:
            SourceError: no row is seen, or the ids hardly tell series apart.
        """
        if self._job.columns.item_columns and self._read >= FEW_ROWS and 2 * len(self._items) > self._read:
            self._refuse_ids(name, self._read)
        codes, stamps = self._joined("item_id"), self._joined("timestamp")
        is_seen = stamps <= _datetime64(self._as_of)
        if not is_seen.any():
            raise SourceError(f"{name} has no row at or before as_of {self._as_of}; its first is at {self._first}")
        ids, ranks = self._items.sorted(np.bincount(codes[is_seen], minlength=len(self._items)) > 0)
        series = ranks[codes]
        order = _order(series, stamps)
        columns, levels = {"item_id": ids[series[order]], "timestamp": stamps[order]}, {}
        del codes, stamps, is_seen, series  # the columns below are joined one by one
        for value in (SOURCE_ROW, *self._job.columns.values):
            columns[value] = self._joined(value)[order]
            if value in self._names:
                columns[value], levels[value] = self._names[value].ranked(columns[value])
        return RawPanel(pd.DataFrame(columns, copy=False), levels, self._statics.frame(ids, ranks), parts)

    def _joined(self, name: str) -> np.ndarray:
        """All values of a column; their pieces are given up."""
        return np.concatenate(self._pieces.pop(name))


def _taken(rows: LongRows, is_kept: np.ndarray) -> LongRows:
    """Some of the rows."""
    if is_kept.all():
        return rows
    return LongRows(
        items=rows.items[is_kept],
        stamps=rows.stamps[is_kept],
        rows=rows.rows[is_kept],
        numbers={name: values[is_kept] for name, values in rows.numbers.items()},
        names={name: values[is_kept] for name, values in rows.names.items()},
    )


def _order(series: np.ndarray, stamps: np.ndarray) -> np.ndarray | slice:
    """Order of the rows by series and time, that of the source within these; series below 0 are left out."""
    is_later = series[1:] > series[:-1]
    is_later |= (series[1:] == series[:-1]) & (stamps[1:] >= stamps[:-1])
    if is_later.all() and series[0] >= 0:
        return slice(None)
    order = np.lexsort((stamps, series))
    return order[np.count_nonzero(series < 0) :]


def _datetime64(moment: pd.Timestamp) -> np.datetime64:
    return moment.as_unit("ns").to_datetime64()
