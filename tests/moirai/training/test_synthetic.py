"""Synthetic series: the same for a seed, varied, with gaps."""

import numpy as np
import pytest

from moirai.training.synthetic import synthetic_series


def draw(seed, series=64, length=256):
    """Series of one seed."""
    return synthetic_series(np.random.default_rng(seed), series, length)


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
    drawn = draw(seed)
    missing = np.isnan(drawn)
    assert 0 < missing.mean() < 0.3
    assert 0 < missing.any(axis=1).mean() < 0.7
    assert not np.isinf(drawn).any()
    assert np.nanmax(np.abs(drawn)) < 1e6


@pytest.mark.parametrize("seed", range(4))
def test_series_are_alive(seed):
    """Most series move and differ from one another; counts and non-negative ones are among them."""
    drawn = draw(seed)
    spread = np.nanstd(drawn, axis=1)
    assert (spread > 1e-3).mean() > 0.9
    assert len(np.unique(spread.round(6))) > 55
    whole = np.nanmax(np.abs(drawn - np.round(drawn)), axis=1) == 0
    assert 0.03 < whole.mean() < 0.4
    assert (np.nanmin(drawn, axis=1) >= 0).mean() > 0.1
