"""Static columns: the one value that each has throughout a series.

In: the rows of one chunk after the other. Out: a frame with one row per series. Fails with `SourceError` where a column
changes within a series; a missing value is no change.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.errors import SourceError
from tasks.sources.chunk import LongRows, Place, shown
from tasks.sources.numbered import Numbered


class Statics:
    """Gathers the static values of series."""

    def __init__(self, columns: Sequence[str], items: Numbered) -> None:
        self._items = items
        self._texts = {name: Numbered() for name in columns}
        self._values = {name: np.empty(0, dtype=np.int32) for name in columns}  # number of the text of each series

    def add(self, series: np.ndarray, rows: LongRows, place: Place) -> None:
        """Take the static values of some rows.

        Args:
            series: number of each row's series.
            rows: the rows.
            place: the file or query, for errors.

        Raises:
            SourceError: names series, column, both values and the mend.
        """
        for name, texts in self._texts.items():
            numbers = texts.numbers(rows.names[name])
            known = self._values[name]
            known = np.append(known, np.full(len(self._items) - len(known), -1, dtype=np.int32))
            self._values[name] = known
            is_there = numbers >= 0
            owners, found = series[is_there], numbers[is_there]
            is_new = known[owners] < 0
            known[owners[is_new][::-1]] = found[is_new][::-1]  # of several, the first one stays
            differs = np.flatnonzero(known[owners] != found)
            if len(differs):
                self._refuse(name, owners[differs], found[differs], rows.rows[is_there][differs], place)

    def _refuse(self, name: str, series: np.ndarray, found: np.ndarray, lines: np.ndarray, place: Place) -> None:
        first = np.argmin(lines)
        item, texts = self._items.texts()[series[first]], self._texts[name].texts()
        now, before = texts[found[first]], texts[self._values[name][series[first]]]
        change = f"series {shown(item)} has {shown(now)} here and {shown(before)} before"
        mend = f"static columns never change: move {name!r} to columns.past or remove it from columns.static"
        raise SourceError(f"{place.at(name, lines[first])}: {change}; {mend}")

    def frame(self, ids: np.ndarray, ranks: np.ndarray) -> pd.DataFrame | None:
        """One row per series, in the order of the ids; None where there are no static columns.

        Args:
            ids: the series, sorted.
            ranks: place of each series' number among them; -1: it is left out.
        """
        if not self._texts:
            return None
        columns = {"item_id": ids}
        for name, texts in self._texts.items():
            known = np.append(self._values[name], np.full(len(ranks) - len(self._values[name]), -1, dtype=np.int32))
            ordered = np.empty(len(ids), dtype=np.int64)
            ordered[ranks[ranks >= 0]] = known[ranks >= 0]
            columns[name] = texts.texts()[ordered]
        return pd.DataFrame(columns, dtype=object)
