"""Synthetic series: the same for a seed, varied, with gaps; and what each of their parts promises."""

import numpy as np
import pytest

from moirai.training.synthetic import synthetic_series
from moirai.training.synthetic.defects import gaps, held, level_shifts, outliers
from moirai.training.synthetic.demand import demand
from moirai.training.synthetic.kernels import kernel_draws
from moirai.training.synthetic.processes import autoregressions, coloured, shocks
from moirai.training.synthetic.seasons import look_up, profiles, seasons
from moirai.training.synthetic.trends import smooth, trends


def draw(seed, series=64, length=256):
    """Series of one seed."""
    return synthetic_series(np.random.default_rng(seed), series, length)


def rng():
    """A fresh generator."""
    return np.random.default_rng(3)


def correlation(values, lag):
    """Autocorrelation of every series at a lag."""
    centred = values - values.mean(1, keepdims=True)
    return (centred[:, lag:] * centred[:, :-lag]).mean(1) / (centred**2).mean(1)


@pytest.mark.parametrize(("series", "length"), [(1, 8), (3, 50), (64, 256)])
def test_shape_and_type(series, length):
    """As many series as asked for, as long as asked for, in float32."""
    drawn = draw(0, series, length)
    assert drawn.shape == (series, length)
    assert drawn.dtype == np.float32


def test_seed_decides():
    """A seed gives the same series again, another seed others."""
    assert np.array_equal(draw(1), draw(1), equal_nan=True)
    assert not np.array_equal(draw(1), draw(2), equal_nan=True)


@pytest.mark.parametrize("seed", range(4))
def test_values_are_finite_or_missing(seed):
    """There are gaps, most values are there, and those are finite and not absurd."""
    drawn = draw(seed, series=128)
    missing = np.isnan(drawn)
    assert 0 < missing.mean() < 0.3
    assert 0 < missing.any(axis=1).mean() < 0.7
    assert not np.isinf(drawn).any()
    assert np.nanmax(np.abs(drawn)) < 1e7


@pytest.mark.parametrize("seed", range(4))
def test_series_are_alive(seed):
    """Most series move and differ from one another; counts and non-negative ones are among them."""
    drawn = draw(seed, series=128)
    spread = np.nanstd(drawn, axis=1)
    assert (spread > 1e-3).mean() > 0.9
    assert len(np.unique(spread.round(6))) > 110
    whole = np.nanmax(np.abs(drawn - np.round(drawn)), axis=1) == 0
    assert 0.03 < whole.mean() < 0.4
    assert (np.nanmin(drawn, axis=1) >= 0).mean() > 0.1


def test_profiles_are_periodic_and_bounded():
    """A profile lies between -1 and 1, and the same position gives the same value in every period."""
    table = profiles(rng(), 50, 5)
    assert np.abs(table).max() <= 1 + 1e-9
    position = np.tile(np.arange(24) / 24, (50, 4))
    values = look_up(table, position)
    assert np.array_equal(values[:, :24], values[:, 72:])


def test_seasons_repeat():
    """Most series correlate with themselves a season later: the lag of the largest correlation is strong."""
    values = seasons(rng(), np.arange(1024) + np.zeros((100, 1), int))
    best = np.max([correlation(values, lag) for lag in range(4, 340)], axis=0)
    assert np.median(best) > 0.6


def test_trends_and_smooth_paths_move_slowly():
    """Neighbours are close: the steps are small beside the spread."""
    for values in (trends(rng(), 200, 512), smooth(rng(), 200, 512)):
        moving = values[values.std(1) > 1e-6]
        assert len(moving) > 100
        assert np.median(np.diff(moving).std(1) / moving.std(1)) < 0.2


def test_kernel_draws_are_standardised_and_differ():
    """Mean 0 and spread 1, smooth ones, periodic ones and rough ones."""
    values = kernel_draws(rng(), 100, 512)
    np.testing.assert_allclose(values.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(values.std(1), 1, atol=1e-3)
    first = correlation(values, 1)
    assert (first > 0.95).mean() > 0.1
    assert (first < 0.8).mean() > 0.1


def test_autoregressions_are_stable():
    """None explodes: the second half spreads no wider than the noise of an estimate allows; many are persistent."""
    values = autoregressions(rng(), 300, 1000)
    ratio = values[:, 500:].std(1) / values[:, :500].std(1)
    assert np.isfinite(values).all()
    assert np.quantile(ratio, 0.9) < 4
    assert (correlation(values, 1) > 0.9).mean() > 0.2


def test_coloured_noise_has_its_correlation_and_size():
    """The lag-one correlation is the coefficient, the size that of the shocks."""
    phi = np.full((50, 1), 0.8)
    values = coloured(rng().standard_normal((50, 4000)), phi)
    np.testing.assert_allclose(correlation(values, 1).mean(), 0.8, atol=0.01)
    np.testing.assert_allclose(values.std(), 1, atol=0.05)


def test_some_shocks_have_heavy_tails():
    """A quarter of the series have far more kurtosis than a normal law."""
    noise = shocks(rng(), 400, 2000)
    kurtosis = ((noise - noise.mean(1, keepdims=True)) ** 4).mean(1) / noise.var(1) ** 2
    assert 0.15 < (kurtosis > 5).mean() < 0.5
    assert (kurtosis < 3.5).mean() > 0.5


def test_demand_is_counts_with_many_zeros():
    """Whole numbers from 0 on; some series are mostly zero, some hardly ever."""
    values = demand(rng(), np.arange(700) + np.zeros((200, 1), int))
    assert (values >= 0).all()
    assert (values == np.round(values)).all()
    zero = (values == 0).mean(1)
    assert (zero > 0.7).mean() > 0.05
    assert (zero < 0.1).mean() > 0.2


def test_level_shifts_last():
    """A fifth of the series have jumps, and what is between two jumps is constant."""
    values = level_shifts(rng(), 500, 200)
    jumps = (np.diff(values) != 0).sum(1)
    assert 0.12 < (jumps > 0).mean() < 0.32
    assert jumps.max() <= 3


def test_outliers_are_rare_single_values():
    """Most series have none; where they are, they are few."""
    values = outliers(rng(), 500, 500)
    hit = (values != 0).mean(1)
    assert (hit == 0).mean() > 0.7
    assert hit.max() < 0.05


def test_gaps_and_stuck_stretches_leave_the_rest_alone():
    """Values are missing or repeat, the others are what they were."""
    values = rng().standard_normal((300, 200))
    stuck = held(rng(), values)
    changed = stuck != values
    assert 0 < changed.any(1).mean() < 0.1
    with_gaps = gaps(rng(), values)
    missing = np.isnan(with_gaps)
    assert np.array_equal(with_gaps[~missing], values[~missing])
    assert 0.1 < missing.any(1).mean() < 0.45
