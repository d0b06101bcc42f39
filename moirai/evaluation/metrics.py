"""Scores of quantile forecasts, by the definitions of GIFT-Eval.

    L(y, f, q) = 2 |(y - f) (1[f >= y] - q)|           quantile loss of one actual
    WQL        = mean over q of (sum L / sum |y|)      weighted quantile loss
    ND         = sum |y - f_0.5| / sum |y|             normalised deviation
    MASE       = mean of |y - f_0.5| / s               s: seasonal error of the history, see there
    coverage   = share of actuals with f_low <= y <= f_high, the bounds of a central interval

Sums and means run over all series, windows and steps at once: no means of means. They are those of
`gluonts.ev` (`MeanWeightedSumQuantileLoss`, `ND`, `MASE`) as the GIFT-Eval benchmark (arXiv
2410.10393) calls it, with `mask_invalid_label=True`:

- an actual that is missing is left out of every sum;
- where the seasonal error is 0 (constant history) or NaN (no pair of observed steps) there is no
  scale: these actuals are left out of MASE, as gluonts does, and count in all other scores;
- a score of nothing (no actual, or for WQL and ND only zeros) is NaN.

All scores come from sums: make them per actual with `score`, add them up along the axes that do not
matter, and read the scores of what is left.

    sums = score(actual, forecast, levels=levels, scale=scale)  # cells [window, step]
    sums.pooled(1).wql                                          # per window
    sums.pooled(0).mase                                         # per step of the horizon
    sums.pooled().nd                                            # of everything
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float

from moirai.errors import ConfigError, DataError

MEDIAN = 0.5
INTERVAL = 0.8  # the central interval of the levels 0.1 … 0.9


@dataclass(frozen=True)
class Sums:
    """Sums over actuals, of which every score is a quotient.

    A cell holds one actual or any pool of them. Sums of disjoint pools add up exactly (`+`,
    `pooled`); scores do not.

    Attributes:
        quantile_loss_sum: quantile loss, mean over the levels; unit of the series.
        abs_target_sum: |y|; unit of the series.
        abs_error_sum: |y - median|; unit of the series.
        scaled_error_sum: |y - median| / seasonal error, over the `scaled` actuals.
        observed: number of actuals that are not missing.
        scaled: number of them that have a seasonal error to divide by.
        covered: number of them inside the central interval; NaN where no interval was asked for.
    """

    quantile_loss_sum: Float[np.ndarray, "*cell"]
    abs_target_sum: Float[np.ndarray, "*cell"]
    abs_error_sum: Float[np.ndarray, "*cell"]
    scaled_error_sum: Float[np.ndarray, "*cell"]
    observed: Float[np.ndarray, "*cell"]
    scaled: Float[np.ndarray, "*cell"]
    covered: Float[np.ndarray, "*cell"]

    def pooled(self, axis: int | tuple[int, ...] | None = None) -> "Sums":
        """Sums along the given axes of the cells; along all of them by default."""
        return Sums(*(np.asarray(part.sum(axis=axis)) for part in self._parts()))

    def __add__(self, other: "Sums") -> "Sums":
        """Sums of both pools, cell by cell."""
        pairs = zip(self._parts(), other._parts(), strict=True)
        return Sums(*(np.asarray(one + another) for one, another in pairs))

    @property
    def mase(self) -> Float[np.ndarray, "*cell"]:
        """Mean absolute scaled error; NaN where nothing had a scale."""
        return _quotient(self.scaled_error_sum, self.scaled)

    @property
    def wql(self) -> Float[np.ndarray, "*cell"]:
        """Weighted quantile loss; NaN where all actuals are 0 or missing."""
        return _quotient(self.quantile_loss_sum, self.abs_target_sum)

    @property
    def nd(self) -> Float[np.ndarray, "*cell"]:
        """Normalised deviation; NaN where all actuals are 0 or missing."""
        return _quotient(self.abs_error_sum, self.abs_target_sum)

    @property
    def coverage(self) -> Float[np.ndarray, "*cell"]:
        """Share of actuals inside the central interval; NaN where nothing was observed."""
        return _quotient(self.covered, self.observed)

    def named(self) -> dict[str, Float[np.ndarray, "*cell"]]:
        """Scores and sums by the names they are stored under.

        `scaled_error_sum` is NaN where nothing had a scale. A window of one series has one scale or
        none, so that MASE pools exactly from stored windows: leave the NaN rows out of both
        `scaled_error_sum` and `observed`. Coverage pools as `coverage_80 * observed`; its name is
        right for the default interval.
        """
        has_no_scale = (self.scaled == 0) & (self.observed > 0)
        return {
            "mase": self.mase,
            "wql": self.wql,
            "nd": self.nd,
            "coverage_80": self.coverage,
            "quantile_loss_sum": self.quantile_loss_sum,
            "abs_target_sum": self.abs_target_sum,
            "abs_error_sum": self.abs_error_sum,
            "scaled_error_sum": np.where(has_no_scale, np.nan, self.scaled_error_sum),
            "observed": self.observed,
        }

    def _parts(self) -> list[Float[np.ndarray, "*cell"]]:
        return [getattr(self, field.name) for field in fields(self)]


def score(
    actual: Float[np.ndarray, "*batch step"],
    forecast: Float[np.ndarray, "*batch quantile step"],
    *,
    levels: Sequence[float],
    scale: Float[np.ndarray, "*batch"],
    interval: float | None = INTERVAL,
) -> Sums:
    """Compare quantile forecasts with what happened, actual by actual.

    Args:
        actual: what happened, NaN (or infinite) where missing; the batch is usually the windows.
        forecast: the quantiles, in the order of `levels`.
        levels: quantile levels; 0.5 among them, and the bounds of the interval.
        scale: seasonal error of the history that each forecast saw; 0 or NaN: none.
        interval: probability inside the central interval whose coverage is measured; None: it is
            not measured and stays NaN.

    Returns:
        Sums with one cell per actual, [*batch, step].

    Raises:
        ConfigError: a level that is needed is not among `levels`.
        DataError: shapes do not fit, or a forecast is NaN where something was observed.
    """
    _check_shapes(actual, forecast, levels, scale)
    observed = np.isfinite(actual)
    if not (np.isfinite(forecast).all(axis=-2) | ~observed).all():
        raise DataError(
            "a forecast is NaN or infinite where an actual was observed; a model has to forecast "
            "every step, so mend it or leave the series out"
        )
    y = np.where(observed, actual, 0.0).astype(np.float64)  # sums in double precision
    error = np.abs(y - _level(forecast, levels, MEDIAN))
    has_scale = (scale > 0)[..., None]
    scaled = observed & has_scale
    scaled_error = error / np.where(has_scale, scale[..., None], 1.0)
    return Sums(
        quantile_loss_sum=np.where(observed, _quantile_loss(y, forecast, levels), 0.0),
        abs_target_sum=np.abs(y),
        abs_error_sum=np.where(observed, error, 0.0),
        scaled_error_sum=np.where(scaled, scaled_error, 0.0),
        observed=observed.astype(np.float64),
        scaled=scaled.astype(np.float64),
        covered=np.where(observed, _is_inside(y, forecast, levels, interval), 0.0),
    )


def seasonal_error(history: Float[np.ndarray, "*batch time"], season: int) -> Float[np.ndarray, "*batch"]:
    """Mean of |x[t] - x[t - season]| over a history: the scale of MASE (Hyndman and Koehler, 2006).

    Pairs with a missing value are skipped. A history shorter than `season` is taken with season 1;
    its length counts from its first observed step, so that padding in front changes nothing.

    Args:
        history: everything before the forecast, NaN where missing.
        season: steps of the season.

    Returns:
        The scale in the unit of the series; NaN where there is no pair of observed values.

    Raises:
        ConfigError: the season is below 1.
    """
    if season < 1:
        raise ConfigError(f"season must be 1 or more steps, not {season}")
    seasonal = _mean_difference(history, season)
    if season == 1:
        return seasonal
    since_first_value = np.logical_or.accumulate(np.isfinite(history), axis=-1).sum(axis=-1)
    return np.where(since_first_value < season, _mean_difference(history, 1), seasonal)


def _mean_difference(history: Float[np.ndarray, "*batch time"], lag: int) -> Float[np.ndarray, "*batch"]:
    later, earlier = history[..., lag:], history[..., :-lag]
    paired = np.isfinite(later) & np.isfinite(earlier)
    both = (np.where(paired, part, 0.0).astype(np.float64) for part in (later, earlier))
    total = np.abs(np.subtract(*both)).sum(axis=-1)
    return _quotient(np.asarray(total), np.asarray(paired.sum(axis=-1, dtype=np.float64)))


def _quantile_loss(
    y: Float[np.ndarray, "*batch step"],
    forecast: Float[np.ndarray, "*batch quantile step"],
    levels: Sequence[float],
) -> Float[np.ndarray, "*batch step"]:
    """Mean over the levels of the quantile loss of each actual."""
    total = np.zeros_like(y)
    for index, level in enumerate(levels):  # one level at a time: no copy of the forecast's size
        quantile = forecast[..., index, :]
        total += 2 * np.abs((y - quantile) * ((quantile >= y) - level))
    return total / len(levels)


def _is_inside(
    y: Float[np.ndarray, "*batch step"],
    forecast: Float[np.ndarray, "*batch quantile step"],
    levels: Sequence[float],
    interval: float | None,
) -> Float[np.ndarray, "*batch step"]:
    """1 inside the interval, bounds included, 0 outside, NaN without an interval."""
    if interval is None:
        return np.full(y.shape, np.nan)
    low = _level(forecast, levels, (1 - interval) / 2)
    high = _level(forecast, levels, (1 + interval) / 2)
    return ((low <= y) & (y <= high)).astype(np.float64)


def _level(
    forecast: Float[np.ndarray, "*batch quantile step"], levels: Sequence[float], level: float
) -> Float[np.ndarray, "*batch step"]:
    (places,) = np.nonzero(np.isclose(levels, level))
    if len(places) == 0:
        raise ConfigError(
            f"scoring needs the quantile level {level:g}, forecast were {list(levels)}: add it "
            "(the bounds of the interval are needed only where coverage is measured)"
        )
    return forecast[..., places[0], :]


def _quotient(total: Float[np.ndarray, "*cell"], count: Float[np.ndarray, "*cell"]) -> Float[np.ndarray, "*cell"]:
    """Total / count, NaN where the count is 0."""
    return np.where(count > 0, total / np.where(count > 0, count, 1.0), np.nan)


def _check_shapes(actual: np.ndarray, forecast: np.ndarray, levels: Sequence[float], scale: np.ndarray) -> None:
    """The three arrays describe the same batch; numpy would broadcast where they do not."""
    *batch, step = actual.shape
    if forecast.shape != (*batch, len(levels), step) or scale.shape != tuple(batch):
        raise DataError(
            f"actuals {actual.shape}, forecasts {forecast.shape}, scales {scale.shape} do not fit: "
            f"needed are [*batch, step], [*batch, {len(levels)} quantiles, step] and [*batch]"
        )
