"""What is scored: a model or a baseline, each as something that turns histories into quantiles.

In: histories of any lengths, what is asked of them. Out: quantiles that do not cross. Fails as `MoiraiForecast` and
`season_of` do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from moirai.evaluation.baselines import season_of, seasonal_naive
from moirai.forecasting.forecast import MoiraiForecast
from moirai.forecasting.levels import at_levels

Contexts = Sequence[Float[np.ndarray, "_time"]]  # lengths differ
Quantiles = Float[np.ndarray, "series quantile step"]
Progress = Callable[[int, int], None]  # forecasts done, forecasts in all


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of every history."""

    horizon: int  # steps
    levels: tuple[float, ...]
    freq: str
    season: int  # usual one of the data, in steps


@runtime_checkable  # the tests check annotations
class Forecaster(Protocol):
    """Something that forecasts."""

    @property
    def name(self) -> str:
        """What its scores are stored under."""

    def quantiles(self, contexts: Contexts, question: Question, on_batch: Progress | None = None) -> Quantiles:
        """Quantiles after each history, sorted along the levels."""


@dataclass(frozen=True)
class ModelForecaster:
    """A network, which sees as much of a history as its context holds."""

    name: str
    model: MoiraiForecast

    def quantiles(self, contexts: Contexts, question: Question, on_batch: Progress | None = None) -> Quantiles:
        """Quantiles after each history; those of Moirai 2.0 are put in order first, as everywhere at the edge."""
        asked, trained = question.levels, self.model.family.trained_levels
        self.model.check_levels(asked)  # before the work
        made = self.model.predict_arrays(
            contexts, horizon=question.horizon, levels=trained or asked, freq=question.freq, on_batch=on_batch
        )
        in_order = np.sort(made, axis=1).astype(np.float64)
        return in_order if trained is None else at_levels(in_order, trained, asked)


@dataclass(frozen=True)
class BaselineForecaster:
    """`naive`, `seasonal_naive` (the season of the data) or `seasonal_naive:N`; it sees the whole history."""

    name: str

    def quantiles(self, contexts: Contexts, question: Question, on_batch: Progress | None = None) -> Quantiles:
        """Quantiles of the normal law around the repeated season, all histories of a length at once."""
        season = season_of(self.name, question.season)
        lengths = np.array([len(one) for one in contexts])
        made = np.empty((len(contexts), len(question.levels), question.horizon))
        done = 0
        for length in np.unique(lengths):
            (rows,) = np.nonzero(lengths == length)
            history = np.stack([contexts[int(row)] for row in rows])
            made[rows] = seasonal_naive(history, horizon=question.horizon, season=season).quantiles(question.levels)
            done += len(rows)
            if on_batch is not None:
                on_batch(done, len(contexts))
        return made
