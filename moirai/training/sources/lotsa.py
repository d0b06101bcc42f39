"""LOTSA as a source: one of its data sets, as published on the hub (specification, section 17).

In: the folder of a data set. Out: its items by choice, or stacked: in data sets whose series belong together, an item
is joined by others that span the same time. Fails as `arrow_records` does.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float, Int

from moirai.errors import ConfigError, DataError
from moirai.training.packing import counted
from moirai.training.sources.arrow_records import read_records
from moirai.training.sources.item_choice import Choice, ItemChoice, kept_steps
from moirai.training.sources.source import Drawn, read_one_by_one

MOST_STACKED = 128
STACKING = (2.0, 5.0)  # parameters of the law of how many join: few are likelier than many


@dataclass(frozen=True, kw_only=True)
class LotsaSettings:
    """Which data set, and what an item of it is.

    Attributes:
        path: folder of the data set, as `save_to_disk` wrote it.
        choice: which items are drawn.
        stacked: join an item with others of the data set.
        whole: a sample is a whole item where it fits in a row, not a random stretch of it.
        end_share: share at the end of every series that is never read: held out.
        name: as messages call the source; None: the folder's name.
    """

    path: str
    choice: Choice = "proportional"
    stacked: bool = False
    whole: bool = False
    end_share: float | int = 0.0
    name: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.end_share < 1:
            raise ConfigError(f"source {self.name or self.path}: end_share must lie in [0, 1), not {self.end_share}")

    def open(self) -> "LotsaSource":
        """The source."""
        return LotsaSource(self)


class LotsaSource:
    """Items of a data set.

    Raises:
        DataError: the data set cannot be read.
    """

    def __init__(self, settings: LotsaSettings) -> None:
        self.whole = settings.whole
        self.name = settings.name or Path(settings.path).name
        records = self._records = read_records(Path(settings.path), self.name)
        self._length = kept_steps(records.length, settings.end_share)
        if not self._length.any():
            raise DataError(f"source {self.name}: no item of {settings.path} has a step left before its held-out end")
        names = pc.unique(records.freqs)
        self.frequencies: tuple[str | None, ...] = tuple(names.to_pylist())
        self._freq = pc.index_in(records.freqs, names).to_numpy().astype(np.int64)
        self._choice = ItemChoice(self._length, settings.choice)
        self._groups = None if not settings.stacked else _same_span(records.starts, records.length, self._freq)
        self._most = np.array([min(len(one), MOST_STACKED) for one in self._groups[1]] if self._groups else [])

    def draw(self, rng: np.random.Generator, count: int) -> Drawn:
        """Draw items, alone or each with those that join it."""
        records, item = self._records, self._choice.draw(rng, count)
        one = np.ones_like(self._length)
        if self._groups is None:
            return Drawn.of_items(
                item,
                length=self._length,
                freq=self._freq,
                target_dim=records.target_dim * one,
                past_dim=records.past_dim * one,
            )
        members, sizes = self._stack(rng, item)
        kinds = [(0, records.target_dim), (records.target_dim, records.past_dim)]
        record = np.concatenate([np.repeat(members, dim) for _, dim in kinds])
        row = np.concatenate([begin + counted(np.full(len(members), dim)) for begin, dim in kinds])
        owner = np.repeat(np.arange(count), sizes)
        # Targets of all members before their past features.
        order = np.argsort(np.concatenate([np.repeat(owner, dim) for _, dim in kinds]), kind="stable")
        return Drawn(
            length=self._length[item],
            freq=self._freq[item],
            target_dim=sizes * records.target_dim,
            past_dim=sizes * records.past_dim,
            record=record[order],
            row=row[order],
        )

    def _stack(
        self, rng: np.random.Generator, item: Int[np.ndarray, "item"]
    ) -> tuple[Int[np.ndarray, "_member"], Int[np.ndarray, "item"]]:
        """Each item with a random number of others that span the same time, and how many it became."""
        assert self._groups is not None, "the data set is stacked"
        of_record, groups = self._groups
        sizes = 1 + rng.binomial(self._most[of_record[item]] - 1, rng.beta(*STACKING, len(item)))
        parts = []
        for one, size in zip(item.tolist(), sizes.tolist(), strict=True):
            group = groups[of_record[one]]
            own = int(np.searchsorted(group, one))
            others = rng.choice(len(group) - 1, size - 1, replace=False, shuffle=False)
            parts.append(np.concatenate(([one], group[others + (others >= own)])))
        return np.concatenate(parts), sizes

    def read(
        self,
        rng: np.random.Generator,  # noqa: ARG002 - nothing is made
        *,
        record: Int[np.ndarray, "variate"],
        row: Int[np.ndarray, "variate"],
        start: Int[np.ndarray, "variate"],
        stop: Int[np.ndarray, "variate"],
    ) -> Float[np.ndarray, "_steps"]:
        """Stretches of the mapped files."""
        return read_one_by_one(self._records.stretch, record, row, start, stop)

    def item_id(self, record: int) -> str:
        """Name of a series."""
        return str(self._records.item_ids[record].as_py())


def _same_span(
    starts: Int[np.ndarray, "record"], lengths: Int[np.ndarray, "record"], freq: Int[np.ndarray, "record"]
) -> tuple[Int[np.ndarray, "record"], list[Int[np.ndarray, "_group"]]]:
    """Records of equal start, length and frequency: the group of each, and the records of every group."""
    _, of_record = np.unique(np.stack((starts, lengths, freq)), axis=1, return_inverse=True)
    of_record = of_record.ravel()
    order = np.argsort(of_record, kind="stable")
    return of_record, np.split(order, np.flatnonzero(np.diff(of_record[order])) + 1)
