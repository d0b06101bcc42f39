"""Synthetic series as a source: short and long ones, made when they are read (`synthetic_store`: ahead of time)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moirai.errors import ConfigError
from moirai.training.sources.source import Drawn
from moirai.training.synthetic import synthetic_series

# Equally likely, the long ones hold most of the values, as a long history matters most, and there are many short ones.
LENGTHS = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)


SHORTEST = 8  # that the generator makes


@dataclass(frozen=True, kw_only=True)
class SyntheticSettings:
    """How long the series are.

    Attributes:
        name: as messages call the source.
        lengths: that occur, in steps; all series of one length in a batch are made together, so few lengths are fast.
        weights: how often each length is drawn, relative to one another; None: equally often.
    """

    name: str = "synthetic"
    lengths: tuple[int, ...] = LENGTHS
    weights: tuple[float | int, ...] | None = None

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < SHORTEST:
            raise ConfigError(f"{self.name}: lengths must be of at least {SHORTEST} steps, not {self.lengths}")
        if self.weights is not None and (
            len(self.weights) != len(self.lengths) or min(self.weights) < 0 or not sum(self.weights)
        ):
            raise ConfigError(
                f"{self.name}: weights must be one number of at least 0 per length, not {self.weights} "
                f"for {len(self.lengths)} lengths"
            )

    def open(self) -> "SyntheticSource":
        """The source."""
        return SyntheticSource(self)


class SyntheticSource:
    """Univariate series without a clock."""

    frequencies: tuple[str | None, ...] = (None,)
    whole = True  # a series costs as much as it is long: none is made to be cut

    def __init__(self, settings: SyntheticSettings) -> None:
        self.name = settings.name
        self.lengths = np.array(settings.lengths)
        weights = np.ones(len(self.lengths)) if settings.weights is None else np.array(settings.weights, np.float64)
        self.chances = weights / weights.sum()

    def draw(self, rng: np.random.Generator, count: int) -> Drawn:
        """Draw lengths; a record is the place of a length in the table."""
        record = rng.choice(len(self.lengths), count, p=self.chances)
        one = np.ones_like(self.lengths)
        return Drawn.of_items(record, length=self.lengths, freq=0 * one, target_dim=one, past_dim=0 * one)

    def read(
        self,
        rng: np.random.Generator,
        *,
        record: Int[np.ndarray, "variate"],
        row: Int[np.ndarray, "variate"],  # noqa: ARG002 - always the only one
        start: Int[np.ndarray, "variate"],
        stop: Int[np.ndarray, "variate"],
    ) -> Float[np.ndarray, "_steps"]:
        """Make the series, those of one length together, and cut the stretches out of them."""
        steps = stop - start
        values = np.empty(int(steps.sum()), np.float32)
        for place in np.unique(record):
            wanted = record == place
            length = int(self.lengths[place])
            series = synthetic_series(rng, int(wanted.sum()), length)
            time = np.arange(length)
            inside = (time >= start[wanted][:, None]) & (time < stop[wanted][:, None])
            values[np.repeat(wanted, steps)] = series[inside]
        return values

    def item_id(self, record: int) -> str:
        """The length: the series have no names."""
        return str(self.lengths[record])
