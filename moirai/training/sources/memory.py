"""Series that are in memory as a source."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moirai.errors import DataError
from moirai.training.sources.item_choice import Choice, ItemChoice
from moirai.training.sources.source import Drawn, read_one_by_one


@dataclass(frozen=True, kw_only=True)
class SeriesSettings:
    """Arrays to train on.

    Attributes:
        targets: of every item, [variate, time], NaN where missing.
        past: of every item its variates that are known up to the origin only, as long as its targets; None: none.
        freq: of all items; None: the steps have no meaning on a clock.
        name: as messages call the source.
        choice: which items are drawn.
        whole: a sample is a whole item where it fits in a row, not a random stretch of it.
    """

    targets: Sequence[Float[np.ndarray, "_variate _time"]]
    past: Sequence[Float[np.ndarray, "_feature _time"]] | None = None
    freq: str | None = None
    name: str = "series"
    choice: Choice = "proportional"
    whole: bool = False

    def open(self) -> "SeriesSource":
        """The source."""
        return SeriesSource(self)


class SeriesSource:
    """Items in memory.

    Raises:
        DataError: there are none, or the past features of one are not as long as its targets.
    """

    def __init__(self, settings: SeriesSettings) -> None:
        self.name, self.frequencies, self.whole = settings.name, (settings.freq,), settings.whole
        past = [one[:0] for one in settings.targets] if settings.past is None else settings.past
        if not settings.targets or len(past) != len(settings.targets):
            raise DataError(f"source {self.name}: {len(settings.targets)} items with {len(past)} sets of past features")
        for number, (target, feature) in enumerate(zip(settings.targets, past, strict=True)):
            if target.shape[1] != feature.shape[1]:
                raise DataError(
                    f"source {self.name}: past features of item {number} have {feature.shape[1]} steps, "
                    f"its targets {target.shape[1]}"
                )
        self._values = [np.concatenate(pair, axis=0) for pair in zip(settings.targets, past, strict=True)]
        self._targets = np.array([len(one) for one in settings.targets])
        self._past = np.array([len(one) for one in past])
        self._length = np.array([one.shape[1] for one in self._values])
        if not self._length.any():
            raise DataError(f"source {self.name}: all {len(self._length)} items are empty")
        self._choice = ItemChoice(self._length, settings.choice)

    def draw(self, rng: np.random.Generator, count: int) -> Drawn:
        """Draw items."""
        return Drawn.of_items(
            self._choice.draw(rng, count),
            length=self._length,
            freq=np.zeros_like(self._length),
            target_dim=self._targets,
            past_dim=self._past,
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
        """Stretches of the arrays."""
        return read_one_by_one(lambda i, j, a, b: self._values[i][j, a:b], record, row, start, stop)

    def item_id(self, record: int) -> str:
        """Its place in the list."""
        return str(record)
