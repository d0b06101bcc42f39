"""A panel on disk as a source: Parquet, larger than memory if need be.

In: a file, or a folder of files that are read in the order of their names, with the columns `item_id`, `timestamp` and
value columns, sorted by item and time, one row per step: a clean panel. Only the index (where every item begins) and
the row groups in use are in memory. Fails with a `DataError` that names the file, and the column or item.

Items of one draw come from a few row groups, so that a batch reads a few of them and not all; over many batches every
item has its turn.
"""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float, Int

from moirai.errors import ConfigError
from moirai.training.sources.item_choice import Choice
from moirai.training.sources.panel_index import PanelIndex, index_panel
from moirai.training.sources.source import Drawn, read_one_by_one

ITEMS_OF_A_GROUP = 64  # that a draw takes, roughly: the more, the fewer row groups are decoded for it
LEAST_GROUPS = 4


@dataclass(frozen=True, kw_only=True)
class PanelSettings:
    """Which panel, and how much of it.

    Attributes:
        path: file or folder.
        targets: value columns that are predicted; None: all that hold numbers and are not `past`.
        past: value columns that are known up to the origin only.
        freq: of the panel; None: the steps have no meaning on a clock.
        end_share: share at the end of every series that is never read: held out.
        until: rows at and after this moment are never read; None: no such moment.
        choice: which items are drawn.
        name: as messages call the source.
        cache_bytes: most memory for decoded row groups (a single larger one is held all the same).
    """

    path: str
    targets: tuple[str, ...] | None = None
    past: tuple[str, ...] = ()
    freq: str | None = None
    end_share: float | int = 0.0
    until: str | None = None
    choice: Choice = "proportional"
    name: str = "panel"
    cache_bytes: int = 256 * 2**20

    def __post_init__(self) -> None:
        if not 0 <= self.end_share < 1:
            raise ConfigError(f"source {self.name}: end_share must lie in [0, 1), not {self.end_share}")
        try:
            moment = None if self.until is None else pd.Timestamp(self.until)
        except ValueError as error:
            raise ConfigError(
                f"source {self.name}: until must be a moment such as 2024-01-31, not {self.until!r}"
            ) from error
        if moment is not None and moment.tzinfo is not None:
            raise ConfigError(
                f"source {self.name}: until has a time zone, time stamps of a panel have none: {self.until!r}"
            )

    def open(self) -> "PanelSource":
        """The source."""
        return PanelSource(self)


class PanelSource:
    """Items of a panel, each with all of its value columns.

    Raises:
        DataError: the panel cannot be read, is not sorted, or nothing of it is left.
    """

    whole = False

    def __init__(self, settings: PanelSettings) -> None:
        self.name, self.frequencies, self._settings = settings.name, (settings.freq,), settings
        self._index: PanelIndex = index_panel(
            Path(settings.path),
            source=settings.name,
            targets=settings.targets,
            past=settings.past,
            end_share=settings.end_share,
            until=settings.until,
        )
        self._cache: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._cached = 0
        # Of every row group the items that begin in it, and what they weigh together.
        index = self._index
        weight = index.length if settings.choice == "proportional" else (index.length > 0).astype(np.int64)
        self._ends = np.concatenate(([0], np.cumsum(weight)))
        begins = np.searchsorted(index.start, index.group_start)
        self._bounds = self._ends[np.append(begins, len(weight))]

    def draw(self, rng: np.random.Generator, count: int) -> Drawn:
        """Draw a few row groups, and of these the items; each item is as likely as if all were drawn from."""
        groups = max(LEAST_GROUPS, count // ITEMS_OF_A_GROUP)
        picked = rng.integers(0, self._ends[-1], groups)
        group = np.searchsorted(self._bounds, picked, side="right") - 1
        group = group[rng.integers(0, groups, count)]
        place = rng.integers(self._bounds[group], self._bounds[group + 1])
        if self._settings.choice == "index":
            place = np.sort(place)
        item = np.searchsorted(self._ends, place, side="right") - 1
        index, one = self._index, np.ones_like(self._index.length)
        return Drawn.of_items(
            item,
            length=index.length,
            freq=0 * one,
            target_dim=index.targets * one,
            past_dim=(len(index.columns) - index.targets) * one,
        )

    def read(
        self,
        rng: np.random.Generator,  # noqa: ARG002 - nothing is made
        *,
        record: Int[np.ndarray, "variate"],
        row: Int[np.ndarray, "variate"],
        start: Int[np.ndarray, "variate"],
        stop: Int[np.ndarray, "variate"],
    ) -> Float[np.ndarray, "_steps"]:
        """Read stretches, those of one row group after one another."""
        order = np.argsort(self._index.start[record], kind="stable")
        steps = stop - start
        values = read_one_by_one(self._stretch, record[order], row[order], start[order], stop[order])
        if (order[:-1] < order[1:]).all():
            return values
        back = np.argsort(order)
        ends = np.cumsum(steps[order])
        parts = np.split(values, ends[:-1])
        return np.concatenate([parts[place] for place in back])

    def item_id(self, record: int) -> str:
        """Name of an item."""
        return self._index.item_ids[record].as_py()

    def _stretch(self, record: int, row: int, start: int, stop: int) -> Float[np.ndarray, "_time"]:
        first, last = self._index.start[record] + start, self._index.start[record] + stop
        starts = self._index.group_start
        group = int(np.searchsorted(starts, first, side="right")) - 1
        parts = []
        while first < last:
            values = self._decoded(group, row)
            offset = int(first - starts[group])
            parts.append(values[offset : offset + int(last - first)])
            first, group = first + len(parts[-1]), group + 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _decoded(self, group: int, row: int) -> Float[np.ndarray, "_time"]:
        """A column of a row group; the ones used last are kept."""
        if (group, row) in self._cache:
            self._cache.move_to_end((group, row))
            return self._cache[group, row]
        file, inside = self._index.place(group)
        column = file.read_row_group(inside, [self._index.columns[row]], use_threads=False).column(0)
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        with np.errstate(over="ignore"):
            values = column.to_numpy().astype(np.float32)
        self._cached += values.nbytes
        self._cache[group, row] = values
        while self._cached > self._settings.cache_bytes and len(self._cache) > 1:
            self._cached -= self._cache.popitem(last=False)[1].nbytes
        return values
