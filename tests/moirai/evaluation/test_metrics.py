"""Scores by definition, beside gluonts.ev, and as sums that pool."""

from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moirai.errors import ConfigError, DataError
from moirai.evaluation.metrics import Sums, score, seasonal_error

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
WINDOWS, STEPS = 12, 7


@pytest.fixture
def case() -> dict[str, np.ndarray]:
    """Random actuals and histories with gaps, sorted quantiles; one history is constant."""
    rng = np.random.default_rng(3)
    actual = rng.normal(5, 4, (WINDOWS, STEPS))
    actual[rng.random(actual.shape) < 0.2] = np.nan
    actual[4] = np.nan
    history = rng.normal(5, 4, (WINDOWS, 40))
    history[rng.random(history.shape) < 0.2] = np.nan
    history[7] = 3.0
    forecast = np.sort(rng.normal(5, 4, (WINDOWS, len(LEVELS), STEPS)), axis=1)
    return {"actual": actual, "history": history, "forecast": forecast}


def scored(case: dict[str, np.ndarray], season: int = 4) -> Sums:
    """Sums of a case, one cell per actual."""
    scale = seasonal_error(case["history"], season)
    return score(case["actual"], case["forecast"], levels=LEVELS, scale=scale)


def gluonts_scores(case: dict[str, np.ndarray], axis: int | None) -> dict[str, np.ndarray]:
    """Scores of gluonts.ev, with the masks that its evaluate_model makes."""
    metrics = pytest.importorskip("gluonts.ev.metrics")
    statistics = pytest.importorskip("gluonts.ev.ts_stats")
    history = np.ma.masked_invalid(case["history"])
    data = {
        "label": np.ma.masked_invalid(case["actual"]),
        "seasonal_error": np.array([statistics.seasonal_error(row, 4) for row in history]),
    }
    data |= {str(level): case["forecast"][:, i] for i, level in enumerate(LEVELS)}
    made = {
        "mase": metrics.MASE(),
        "wql": metrics.MeanWeightedSumQuantileLoss(LEVELS),
        "nd": metrics.ND(),
    }
    return {name: metric(axis=axis).update(data).get() for name, metric in made.items()}


@pytest.mark.parametrize("axis", [None, 0])
def test_scores_are_those_of_gluonts(case, axis):
    """Over everything and per step, with missing actuals, gaps in histories and a constant one."""
    pooled = scored(case).pooled(axis)
    for name, expected in gluonts_scores(case, axis).items():
        np.testing.assert_allclose(getattr(pooled, name), expected, rtol=1e-12, err_msg=name)


def test_scores_by_hand():
    """Two actuals, three levels: every score as computed on paper."""
    sums = score(
        np.array([[10.0, np.nan, 4.0]]),
        np.array([[[8.0, 8.0, 8.0], [9.0, 9.0, 9.0], [12.0, 12.0, 12.0]]]),
        levels=[0.1, 0.5, 0.9],
        scale=np.array([2.0]),
    ).pooled()
    # losses of 10: 2 (2 0.1), 2 (1 0.5), 2 (2 0.1); of 4: 2 (4 0.9), 2 (5 0.5), 2 (8 0.1)
    assert sums.quantile_loss_sum == pytest.approx((0.4 + 1.0 + 0.4 + 7.2 + 5.0 + 1.6) / 3)
    assert sums.wql == pytest.approx(15.6 / 3 / 14)
    assert sums.nd == pytest.approx(6 / 14)
    assert sums.mase == pytest.approx((0.5 + 2.5) / 2)
    assert sums.coverage == 0.5
    assert (sums.observed, sums.abs_target_sum, sums.abs_error_sum) == (2, 14, 6)


def test_missing_actuals_count_nowhere(case):
    """Whatever was forecast for a missing actual, even NaN, changes no sum."""
    changed = np.where(np.isnan(case["actual"])[:, None], np.nan, case["forecast"])
    for before, after in zip(
        scored(case).pooled().named().items(),
        scored(case | {"forecast": changed}).pooled().named().items(),
        strict=True,
    ):
        assert before == after
    assert scored(case).pooled().observed == np.isfinite(case["actual"]).sum()


def test_history_without_scale_is_left_out_of_mase_only(case):
    """A constant history has no seasonal error: MASE skips its actuals, WQL and ND do not."""
    others = [row for row in range(WINDOWS) if row != 7]
    sums = scored(case)
    assert seasonal_error(case["history"], 4)[7] == 0
    without = scored({name: values[others] for name, values in case.items()}).pooled()
    assert sums.pooled().mase == pytest.approx(without.mase, rel=1e-12)
    assert sums.pooled().wql != pytest.approx(without.wql, rel=1e-3)
    assert np.isnan(sums.pooled(1).mase[7])
    assert np.isfinite(sums.pooled(1).wql[7])


def test_nothing_to_score_is_nan_without_warning(case):
    """A window whose actuals are all missing has no score; only zeros have no WQL but a MASE."""
    empty = scored(case).pooled(1)
    assert np.isnan([empty.mase[4], empty.wql[4], empty.nd[4], empty.coverage[4]]).all()
    zeros = scored(case | {"actual": np.zeros((WINDOWS, STEPS))}).pooled()
    assert np.isnan([zeros.wql, zeros.nd]).all()
    assert zeros.mase > 0


@settings(deadline=None)  # shape checks are slow on their first call
@given(cut=st.integers(1, WINDOWS - 1), order=st.permutations([0, 1]))
def test_sums_of_parts_are_the_sums_of_the_whole(cut, order):
    """Scores of the whole follow from any split of the windows, in any order."""
    rng = np.random.default_rng(cut)
    actual, scale = rng.normal(size=(WINDOWS, STEPS)), rng.random(WINDOWS)
    forecast = rng.normal(size=(WINDOWS, len(LEVELS), STEPS))
    whole = score(actual, forecast, levels=LEVELS, scale=scale)
    halves = [slice(None, cut), slice(cut, None)]
    parts = [
        score(actual[half], forecast[half], levels=LEVELS, scale=scale[half]).pooled()
        for half in (halves[i] for i in order)
    ]
    joined = reduce(add, parts)
    for name, value in whole.pooled().named().items():
        np.testing.assert_allclose(joined.named()[name], value, rtol=1e-12, err_msg=name)


def test_stored_window_sums_pool_to_the_scores(case):
    """The named sums per window, which a backtest stores, give back every score of the whole."""
    stored, whole = scored(case).pooled(1).named(), scored(case).pooled()
    has_scale = np.isfinite(stored["scaled_error_sum"])
    observed = stored["observed"]
    target = stored["abs_target_sum"].sum()
    assert not has_scale.all()
    pooled = {
        "mase": stored["scaled_error_sum"][has_scale].sum() / observed[has_scale].sum(),
        "wql": stored["quantile_loss_sum"].sum() / target,
        "nd": stored["abs_error_sum"].sum() / target,
        "coverage_80": np.nansum(stored["coverage_80"] * observed) / observed.sum(),
    }
    for name, value in pooled.items():
        assert value == pytest.approx(whole.named()[name], rel=1e-12), name


def test_coverage_of_a_calibrated_forecast_is_its_probability():
    """Uniform actuals fall into the central 80 % and 40 % of the uniform quantiles that often."""
    actual = np.random.default_rng(0).random((2000, 5))
    forecast = np.broadcast_to(np.array(LEVELS)[:, None], (2000, len(LEVELS), 5))
    for interval in (0.8, 0.4):
        sums = score(actual, forecast, levels=LEVELS, scale=np.ones(2000), interval=interval).pooled()
        assert sums.coverage == pytest.approx(interval, abs=0.02)


def test_an_exact_forecast_covers_and_costs_nothing(case):
    """The bounds of the interval belong to it: a point forecast that comes true is covered."""
    actual = np.nan_to_num(case["actual"])
    exact = np.repeat(actual[:, None], len(LEVELS), axis=1)
    sums = scored(case | {"actual": actual, "forecast": exact}).pooled()
    assert (sums.coverage, sums.wql, sums.mase) == (1, 0, 0)


def test_quantile_loss_is_smallest_at_the_quantile():
    """WQL prefers the true quantiles to shifted ones: it is a proper score."""
    actual = np.random.default_rng(1).random((2000, 1))
    true = np.broadcast_to(np.array(LEVELS)[:, None], (2000, len(LEVELS), 1))
    best, low, high = (
        score(actual, true + shift, levels=LEVELS, scale=np.ones(2000)).pooled().wql for shift in (0.0, -0.1, 0.1)
    )
    assert best < min(low, high)


def test_single_precision_forecasts_are_summed_in_double():
    """Sums over many float32 values lose nothing: models forecast in float32."""
    actual = np.full((1, 100_000), 0.1, dtype=np.float32)
    forecast = np.zeros((1, 1, 100_000), dtype=np.float32)
    sums = score(actual, forecast, levels=[0.5], scale=np.ones(1), interval=None).pooled()
    assert sums.abs_target_sum == pytest.approx(100_000 * float(np.float32(0.1)), rel=1e-12)
    assert np.isnan(sums.coverage)


def test_seasonal_error_skips_pairs_with_a_gap():
    """Only pairs of observed values count, and only where both are a season apart."""
    history = np.array([1.0, 5.0, np.nan, 9.0, 3.0, 6.0])
    assert seasonal_error(history, 2) == pytest.approx((4 + 3) / 2)
    assert seasonal_error(history, 1) == pytest.approx((4 + 6 + 3) / 3)


def test_history_shorter_than_a_season_is_taken_with_season_one():
    """As in GIFT-Eval; with exactly one season there is no pair, hence no scale."""
    history = np.array([1.0, 2.0, 4.0])
    assert seasonal_error(history, 4) == pytest.approx(1.5)
    assert np.isnan(seasonal_error(history, 3))
    assert np.isnan(seasonal_error(np.array([1.0]), 1))
    assert np.isnan(seasonal_error(np.zeros((2, 0)), 2)).all()


@settings(deadline=None)  # shape checks are slow on their first call
@given(padding=st.integers(0, 9), season=st.integers(1, 9))
def test_padding_in_front_changes_no_seasonal_error(padding, season):
    """Histories of different lengths may share a batch, padded with NaN."""
    history = np.random.default_rng(0).normal(size=8)
    padded = np.concatenate([np.full(padding, np.nan), history])
    both = seasonal_error(np.stack([padded, padded]), season)
    np.testing.assert_allclose(both, np.full(2, seasonal_error(history, season)), rtol=1e-12)


def test_missing_levels_are_named(case):
    """Scores of the median need 0.5, coverage needs its bounds, and the error says so."""
    few = {"scale": np.ones(WINDOWS), "levels": [0.1, 0.9]}
    with pytest.raises(ConfigError, match=r"level 0\.5, forecast were \[0\.1, 0\.9\]"):
        score(case["actual"], case["forecast"][:, :2], **few)
    with pytest.raises(ConfigError, match=r"level 0\.1"):
        score(case["actual"], case["forecast"][:, :1], scale=np.ones(WINDOWS), levels=[0.5])


def test_bad_forecasts_are_refused(case):
    """A NaN beside an observed actual and shapes that would broadcast are errors, not scores."""
    holed = case["forecast"].copy()
    holed[0, 3, np.flatnonzero(np.isfinite(case["actual"][0]))[0]] = np.nan
    with pytest.raises(DataError, match="NaN or infinite"):
        scored(case | {"forecast": holed})
    with pytest.raises(DataError, match="do not fit"):
        score(case["actual"], case["forecast"][:, :3], levels=LEVELS, scale=np.ones(WINDOWS))
    with pytest.raises(ConfigError, match="season must be 1 or more"):
        seasonal_error(case["history"], 0)
