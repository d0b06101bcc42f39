"""Mixtures of real series: convex combinations of scaled series (TSMixup; Chronos, arXiv 2403.07815, section 4.1)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moirai.errors import ConfigError
from moirai.training.packing import counted
from moirai.training.sources.source import Drawn, Source, SourceSettings, refuse_infinite


@dataclass(frozen=True, kw_only=True)
class MixedSettings:
    """Which series are mixed, and how.

    Attributes:
        source: of the series.
        most: most series in a mixture; 1 to `most` are equally likely.
        concentration: of the Dirichlet law of the weights; larger: more even.
        name: as messages call the source.
    """

    source: SourceSettings
    most: int = 3
    concentration: float | int = 1.5
    name: str = "mixed"

    def __post_init__(self) -> None:
        if self.most < 1 or not self.concentration > 0:
            raise ConfigError(
                f"source {self.name}: most must be at least 1 and concentration above 0, "
                f"not {self.most} and {self.concentration}"
            )

    def open(self) -> "MixedSource":
        """The source."""
        return MixedSource(self)


class MixedSource:
    """Univariate series, each the weighted sum of one series and partners of it that are long enough.

    Every series is divided by its mean absolute value first. A step that one of them lacks is missing.
    """

    def __init__(self, settings: MixedSettings) -> None:
        self.name, self._settings = settings.name, settings
        self._source: Source = settings.source.open()
        self.frequencies, self.whole = self._source.frequencies, self._source.whole

    def draw(self, rng: np.random.Generator, count: int) -> Drawn:
        """Draw items and one target of each."""
        drawn = self._source.draw(rng, count)
        variates = drawn.target_dim + drawn.past_dim
        chosen = np.cumsum(variates) - variates + rng.integers(0, drawn.target_dim)
        one = np.ones_like(drawn.length)
        return Drawn(
            length=drawn.length,
            freq=drawn.freq,
            target_dim=one,
            past_dim=0 * one,
            record=drawn.record[chosen],
            row=drawn.row[chosen],
        )

    def read(
        self,
        rng: np.random.Generator,
        *,
        record: Int[np.ndarray, "variate"],
        row: Int[np.ndarray, "variate"],
        start: Int[np.ndarray, "variate"],
        stop: Int[np.ndarray, "variate"],
    ) -> Float[np.ndarray, "_steps"]:
        """Read every stretch and stretches of its partners, as long and from anywhere, and add them up."""
        steps = stop - start
        own = self._scaled(rng, record, row, start, steps)
        partners = rng.integers(0, self._settings.most, len(record))
        mixed_into = np.repeat(np.arange(len(record)), partners)
        weights = rng.standard_gamma(self._settings.concentration, (len(record), 1 + int(partners.max())))
        if len(mixed_into):
            drawn = self.draw(rng, len(mixed_into))
            fits = drawn.length >= steps[mixed_into]
            place = 1 + counted(partners)
            used = np.zeros(weights.shape, dtype=bool)
            used[:, 0] = True
            used[mixed_into[fits], place[fits]] = True
            weights = np.where(used, weights, 0.0)
        weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        total = own * np.repeat(weights[:, 0], steps)
        if not len(mixed_into) or not fits.any():
            return total
        mixed_into, place = mixed_into[fits], place[fits]
        length = steps[mixed_into]
        begin = rng.integers(0, drawn.length[fits] - length + 1)
        partner = self._scaled(rng, drawn.record[fits], drawn.row[fits], begin, length)
        partner *= np.repeat(weights[mixed_into, place], length)
        first = np.cumsum(steps) - steps
        np.add.at(total, np.repeat(first[mixed_into], length) + counted(length), partner)
        return total

    def _scaled(
        self,
        rng: np.random.Generator,
        record: Int[np.ndarray, "variate"],
        row: Int[np.ndarray, "variate"],
        start: Int[np.ndarray, "variate"],
        steps: Int[np.ndarray, "variate"],
    ) -> Float[np.ndarray, "_steps"]:
        """Stretches, each divided by the mean of its absolute values."""
        values = self._source.read(rng, record=record, row=row, start=start, stop=start + steps)
        refuse_infinite(values, self._source, record, steps)
        first = np.cumsum(steps) - steps
        size = np.abs(values).astype(np.float64)
        there = np.maximum(np.add.reduceat(~np.isnan(values), first, dtype=np.int64), 1)
        mean = np.add.reduceat(np.nan_to_num(size), first) / there
        return (values / np.repeat(np.where(mean > 0, mean, 1.0), steps)).astype(np.float32)

    def item_id(self, record: int) -> str:
        """The series that partners were added to."""
        return self._source.item_id(record)
