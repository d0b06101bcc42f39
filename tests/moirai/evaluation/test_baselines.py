"""Naive and seasonal naive forecasts, and the published scores they have to reproduce."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moirai.errors import ConfigError, DataError
from moirai.evaluation.baselines import naive, season_of, seasonal_naive
from moirai.evaluation.forecasters import BaselineForecaster
from moirai.evaluation.rolling import rolling
from moirai.evaluation.tasks import tasks_named

DATA = Path(__file__).parents[2] / "data"
GAP = np.nan


@pytest.mark.parametrize(
    ("task", "baseline", "mase", "wql", "nd"),
    [
        ("pasta_sales_D", "naive", 1.134803, 1.736457, 1.058276),
        ("pasta_sales_D", "seasonal_naive", 1.134803, 1.736457, 1.058276),
        ("pasta_sales_D_m7", "naive", 1.042362, 1.736457, 1.058276),
        ("pasta_sales_D_m7", "seasonal_naive", 0.955024, 1.105622, 0.968243),
        ("pasta_sales_W", "naive", 1.025013, 0.832227, 0.622965),
        ("pasta_sales_W", "seasonal_naive", 1.025013, 0.832227, 0.622965),
    ],
)
def test_published_scores_are_reproduced(task, baseline, mase, wql, nd):
    """Seasons, windows, metrics and baselines together give GIFT-Eval's figures to six decimals."""
    (found,) = tasks_named([task])
    sums = rolling(found, found.data.load(DATA)).score(BaselineForecaster(baseline))
    ours = [round(float(value), 6) for value in (sums.mase, sums.wql, sums.nd)]
    assert ours == [mase, wql, nd]


def test_seasonal_naive_repeats_the_last_season():
    """The mean is the last season over and over; the deviation grows with every whole season."""
    context = np.array([0.0, 1.0, 2.0, 3.0, 5.0, 4.0])
    forecast = seasonal_naive(context, horizon=7, season=3)
    sigma = np.sqrt((3**2 + 4**2 + 2**2) / 3)  # residuals 3 - 0, 5 - 1, 4 - 2
    assert forecast.mean.tolist() == [3, 5, 4, 3, 5, 4, 3]
    growth = np.sqrt([1, 1, 1, 2, 2, 2, 3])
    np.testing.assert_allclose(forecast.deviation, sigma * growth, rtol=1e-14)


def test_naive_widens_with_the_root_of_the_step():
    """The random walk: last value, sigma sqrt(h), and it is the seasonal naive of season 1."""
    context = np.array([1.0, 3.0, 2.0, 4.0])
    forecast = naive(context, horizon=4)
    assert forecast.mean.tolist() == [4, 4, 4, 4]
    np.testing.assert_allclose(forecast.deviation, np.sqrt(3 * np.arange(1, 5)))
    same = seasonal_naive(context, horizon=4, season=1)
    np.testing.assert_array_equal(forecast.deviation, same.deviation)


def test_gaps_repeat_the_last_value():
    """A missing value is filled before residuals are taken, inside the history and at its end."""
    gaps = seasonal_naive(np.array([1.0, 4.0, GAP, 2.0, GAP]), horizon=3, season=2)
    filled = seasonal_naive(np.array([1.0, 4.0, 4.0, 2.0, 2.0]), horizon=3, season=2)
    np.testing.assert_array_equal(gaps.mean, filled.mean)
    np.testing.assert_array_equal(gaps.deviation, filled.deviation)


@settings(deadline=None)  # shape checks are slow on their first call
@given(padding=st.integers(0, 6), season=st.integers(1, 9), length=st.integers(1, 12))
def test_a_series_does_not_see_its_batch(padding, season, length):
    """Padding in front and neighbours in the batch change nothing, however short the series is."""
    rng = np.random.default_rng(length)
    context = rng.normal(size=length)
    padded = np.concatenate([np.full(padding, GAP), context])
    batch = np.stack([padded, rng.normal(size=len(padded)), np.full(len(padded), GAP)])
    alone = seasonal_naive(context, horizon=5, season=season)
    together = seasonal_naive(batch, horizon=5, season=season)
    np.testing.assert_allclose(together.mean[0], alone.mean, rtol=1e-12)
    np.testing.assert_allclose(together.deviation[0], alone.deviation, rtol=1e-12)
    assert np.isfinite(together.quantiles([0.1, 0.9])).all()


@pytest.mark.parametrize("length", [1, 3, 4])
def test_history_of_at_most_one_season_falls_back_to_naive(length):
    """Without a seasonal difference there is no seasonal spread."""
    context = np.array([2.0, 5.0, 1.0, 3.0])[:length]
    short, plain = seasonal_naive(context, horizon=6, season=4), naive(context, horizon=6)
    np.testing.assert_array_equal(short.mean, plain.mean)
    np.testing.assert_array_equal(short.deviation, plain.deviation)


def test_history_without_values_is_forecast_as_zero():
    """The filler of such a series is 0, and nothing is known about its spread."""
    forecast = seasonal_naive(np.full((2, 9), GAP), horizon=3, season=4)
    assert not forecast.mean.any()
    assert not forecast.deviation.any()


def test_quantiles_are_those_of_the_normal_distribution():
    """The median is the mean, levels rise, and 0.1 and 0.9 lie 1.2816 deviations away."""
    context = np.random.default_rng(0).normal(size=(3, 2, 50))
    forecast = seasonal_naive(context, horizon=4, season=7)
    quantiles = forecast.quantiles([0.1, 0.5, 0.9])
    assert quantiles.shape == (3, 2, 3, 4)
    np.testing.assert_array_equal(quantiles[:, :, 1], forecast.mean)
    assert (np.diff(quantiles, axis=2) > 0).all()
    away = (quantiles[:, :, 2] - forecast.mean) / forecast.deviation
    np.testing.assert_allclose(away, 1.2815515655446004, rtol=1e-9)
    with pytest.raises(ConfigError, match="inside"):
        forecast.quantiles([0.5, 1.0])


def test_the_context_stays_as_it_was():
    """Filling gaps works on a copy, and single precision comes out as double."""
    context = np.array([1.0, GAP, 2.0, 3.0], dtype=np.float32)
    before = context.copy()
    assert seasonal_naive(context, horizon=2, season=2).mean.dtype == np.float64
    np.testing.assert_array_equal(context, before)


def test_baselines_have_a_season_by_name():
    """The names of a job: naive, seasonal_naive with the job's season, seasonal_naive:N with N."""
    assert season_of("naive", 24) == 1
    assert season_of("seasonal_naive", 24) == 24
    assert season_of("seasonal_naive:168", 24) == 168
    with pytest.raises(ConfigError, match="unknown baseline 'seasonal_naive:0'; known"):
        season_of("seasonal_naive:0", 24)


def test_what_cannot_be_forecast_is_refused():
    """Horizon and season are positive, and a context has at least one step."""
    with pytest.raises(ConfigError, match="horizon must be 1 or more"):
        naive(np.ones(3), horizon=0)
    with pytest.raises(ConfigError, match="season must be 1 or more"):
        seasonal_naive(np.ones(3), horizon=1, season=0)
    with pytest.raises(DataError, match="at least one step"):
        naive(np.ones((2, 0)), horizon=1)
