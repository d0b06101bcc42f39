"""Naive and seasonal naive forecasts with normal prediction intervals.

The seasonal naive forecast repeats the last season; the naive one is its special case of season 1.
With m the season, h the step from 1 and k = floor((h - 1) / m) the whole seasons before it,

    mean      f_h     = y[T + h - m (k + 1)]
    deviation sigma_h = sigma sqrt(k + 1),    sigma^2 = mean of (y[t] - y[t - m])^2
    quantile  f_h + sigma_h z_q,              z_q: quantile of the standard normal distribution

(Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, sections 5.2 and
5.5). As in GIFT-Eval's naive and seasonal-naive rows, sigma^2 is the plain mean over all residuals,
without centring or correction for degrees of freedom, and a missing value is first filled with the
last observed one. The history begins with its first observed value: nothing before it makes a
residual. `python -m benchmarks.baselines` compares with the published scores.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from moirai.errors import ConfigError, DataError


@dataclass(frozen=True)
class NormalForecast:
    """Independent normal distributions, one per step.

    Attributes:
        mean: expected value, which is also the median; unit of the series.
        deviation: standard deviation; unit of the series, 0 for a point forecast.
    """

    mean: Float[np.ndarray, "*batch step"]
    deviation: Float[np.ndarray, "*batch step"]

    def quantiles(self, levels: Sequence[float]) -> Float[np.ndarray, "*batch quantile step"]:
        """Quantiles at the given levels, in their order.

        Raises:
            ConfigError: a level is outside (0, 1).
        """
        outside = [level for level in levels if not 0 < level < 1]
        if outside:
            raise ConfigError(f"quantile levels lie inside (0, 1), {outside[0]} does not")
        standard = NormalDist()
        z = np.array([standard.inv_cdf(level) for level in levels])[:, None]
        return self.mean[..., None, :] + z * self.deviation[..., None, :]


def season_of(baseline: str, season: int) -> int:
    """Season of a baseline by its name.

    Args:
        baseline: `naive` (1), `seasonal_naive` (the given season) or `seasonal_naive:N` (N).
        season: usual season of the series, in steps.

    Returns:
        Season to pass to `seasonal_naive`.

    Raises:
        ConfigError: there is no such baseline.
    """
    if baseline == "naive":
        return 1
    if baseline == "seasonal_naive":
        return season
    named = re.fullmatch(r"seasonal_naive:([1-9]\d*)", baseline)
    if named is None:
        raise ConfigError(f"unknown baseline {baseline!r}; known: naive, seasonal_naive, seasonal_naive:N")
    return int(named[1])


def naive(context: Float[np.ndarray, "*batch time"], *, horizon: int) -> NormalForecast:
    """Forecast the last observed value; see `seasonal_naive`, whose case of season 1 this is."""
    return seasonal_naive(context, horizon=horizon, season=1)


def seasonal_naive(context: Float[np.ndarray, "*batch time"], *, horizon: int, season: int) -> NormalForecast:
    """Forecast the last season again and again.

    A series whose history is not longer than one season has no seasonal difference; it gets the
    naive forecast instead. A single observed value is forecast with deviation 0, and a history
    without any as 0 with deviation 0: filler for such a series is 0 in GIFT-Eval and here.

    Args:
        context: history up to the forecast, NaN where missing; shorter ones padded in front.
        horizon: steps to forecast.
        season: steps of the season.

    Returns:
        Mean and deviation of every step, without NaN.

    Raises:
        ConfigError: horizon or season is below 1.
        DataError: the context has no step at all.
    """
    for name, steps in (("horizon", horizon), ("season", season)):
        if steps < 1:
            raise ConfigError(f"{name} must be 1 or more steps, not {steps}")
    if context.shape[-1] == 0:
        raise DataError("the context is empty; a naive forecast needs at least one step of history")
    filled = _carry_forward(context)
    is_seasonal = (np.isfinite(filled).sum(axis=-1) > season)[..., None]
    if is_seasonal.all():
        return _repeat(filled, horizon, season)
    fallback = _repeat(filled, horizon, 1)
    if not is_seasonal.any():
        return fallback
    seasonal = _repeat(filled, horizon, season)
    return NormalForecast(
        mean=np.where(is_seasonal, seasonal.mean, fallback.mean),
        deviation=np.where(is_seasonal, seasonal.deviation, fallback.deviation),
    )


def _carry_forward(values: Float[np.ndarray, "*batch time"]) -> Float[np.ndarray, "*batch time"]:
    """Fill each gap with the last observed value before it; a gap at the front becomes NaN."""
    seen = np.isfinite(values)
    observed = np.where(seen, values, np.nan).astype(np.float64)
    latest = np.maximum.accumulate(np.where(seen, np.arange(values.shape[-1]), 0), axis=-1)
    return np.take_along_axis(observed, latest, axis=-1)


def _repeat(filled: Float[np.ndarray, "*batch time"], horizon: int, season: int) -> NormalForecast:
    """Repeat the last season of a history that is NaN only in front; NaN becomes 0."""
    residuals = filled[..., season:] - filled[..., :-season]
    counted = np.isfinite(residuals)
    squares = np.where(counted, residuals, 0.0) ** 2
    sigma = np.sqrt(squares.sum(axis=-1) / np.maximum(counted.sum(axis=-1), 1))
    seasons_before, place = np.divmod(np.arange(horizon), season)
    last_season = np.nan_to_num(filled[..., -season:])
    return NormalForecast(
        mean=last_season[..., place],
        deviation=np.asarray(sigma)[..., None] * np.sqrt(seasons_before + 1),
    )
