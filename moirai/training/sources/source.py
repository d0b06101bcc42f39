"""What a source of series is: it draws items without reading them, and reads stretches of their variates.

Two steps, because most of what decides a sample (length, frequency, number of variates) is known before its values
are: samples can be packed first, and then only the stretches that are used are read. Everything random comes from the
generator that is handed in, so that a source has no state that changes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from moirai.errors import DataError
from moirai.training.packing import counted

Numbers = Int[np.ndarray, "_"]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Items that were drawn of a source, with replacement.

    Attributes:
        length: time steps of every item.
        freq: of every item, as its place in `Source.frequencies`.
        target_dim: target variates of every item.
        past_dim: of every item, variates that are known up to the origin only.
        record: which series of the source a variate is in; item after item, targets before past features.
        row: which variate of that series it is.
    """

    length: Int[np.ndarray, "item"]
    freq: Int[np.ndarray, "item"]
    target_dim: Int[np.ndarray, "item"]
    past_dim: Int[np.ndarray, "item"]
    record: Int[np.ndarray, "variate"]
    row: Int[np.ndarray, "variate"]

    @classmethod
    def of_items(
        cls, item: Numbers, *, length: Numbers, freq: Numbers, target_dim: Numbers, past_dim: Numbers
    ) -> "Drawn":
        """Items whose variates are all in one series each.

        Args:
            item: numbers of the drawn items.
            length: of every item of the source, as are the others.
            freq: places in `Source.frequencies`.
            target_dim: number of target variates.
            past_dim: number of past features.
        """
        variates = (target_dim + past_dim)[item]
        return cls(
            length=length[item],
            freq=freq[item],
            target_dim=target_dim[item],
            past_dim=past_dim[item],
            record=np.repeat(item, variates),
            row=counted(variates),
        )


@runtime_checkable
class Source(Protocol):
    """Series to draw from.

    Attributes:
        name: as messages call it.
        frequencies: those that occur; None: the steps have no meaning on a clock.
        whole: a sample is a whole item, not a random stretch of it.
    """

    name: str
    frequencies: tuple[str | None, ...]
    whole: bool

    def draw(self, rng: np.random.Generator, count: int) -> Drawn:
        """Draw items; nothing is read yet."""

    def read(
        self,
        rng: np.random.Generator,
        *,
        record: Int[np.ndarray, "variate"],
        row: Int[np.ndarray, "variate"],
        start: Int[np.ndarray, "variate"],
        stop: Int[np.ndarray, "variate"],
    ) -> Float[np.ndarray, "_steps"]:
        """Values of the steps `start` to `stop` of each variate, one after the other, NaN where missing."""

    def item_id(self, record: int) -> str:
        """Name of a series, for messages."""


@runtime_checkable
class SourceSettings(Protocol):
    """What a source is made from: a frozen dataclass of plain values, so that it can be written down and sent."""

    def open(self) -> Source:
        """The source itself; reads its index."""


def refuse_infinite(
    values: Float[np.ndarray, "_steps"], source: Source, record: Numbers, steps: Numbers
) -> Float[np.ndarray, "_steps"]:
    """The values that were read of a source, if all of them are finite or missing.

    Args:
        values: stretches one after the other.
        source: where they come from.
        record: of every stretch, the series.
        steps: of every stretch, its length.

    Raises:
        DataError: one is infinite.
    """
    infinite = np.isinf(values)
    if infinite.any():
        stretch = int(np.searchsorted(np.cumsum(steps), infinite.argmax(), side="right"))
        raise DataError(
            f"source {source.name}: item {source.item_id(int(record[stretch]))!r} holds an infinite value; make it a "
            "number, or missing (NaN), or leave the item out"
        )
    return values


def read_one_by_one(
    stretch: Callable[[int, int, int, int], Float[np.ndarray, "_time"]],
    record: Numbers,
    row: Numbers,
    start: Numbers,
    stop: Numbers,
) -> Float[np.ndarray, "_steps"]:
    """Read every stretch by itself: (record, row, start, stop) each."""
    wanted = zip(record.tolist(), row.tolist(), start.tolist(), stop.tolist(), strict=True)
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, which is told with its item
        return np.concatenate([stretch(*one).astype(np.float32, copy=False) for one in wanted])
