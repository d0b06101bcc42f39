"""Quantile levels asked for against those trained."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moirai.errors import ConfigError
from moirai.forecasting.levels import at_levels, mean_of_quantiles, quantile_name

TRAINED = (0.1, 0.5, 0.9)
QUANTILES = np.array([[1.0], [2.0], [4.0]])


@pytest.mark.parametrize(
    ("level", "name"), [(0.1, "q10"), (0.5, "q50"), (0.025, "q2.5"), (0.29, "q29"), (0.07, "q7"), (0.999, "q99.9")]
)
def test_names(level, name):
    """A level is named by percent, without the dust of floating point."""
    assert quantile_name(level) == name


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([0.1, 0.5, 0.9], [1, 2, 4]),
        ([0.9, 0.1], [4, 1]),
        ([0.3], [1.5]),
        ([0.8], [3.5]),
        ([0.1 + 1e-12], [1]),
        ([], []),
    ],
)
def test_interpolation(asked, expected):
    """Trained levels are taken as they are, in the order asked for; others lie on the line between."""
    assert at_levels(QUANTILES, TRAINED, asked, interpolate=True)[:, 0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("level", "interpolate", "says"),
    [
        (0.3, False, r"quantile 0.3 is not among the model's trained levels \(0.1, 0.5, 0.9\)"),
        (0.05, True, "quantile 0.05 lies outside"),
        (0.95, True, "quantile 0.95 lies outside"),
        (float("nan"), True, "quantile nan lies outside"),
    ],
)
def test_refusals(level, interpolate, says):
    """A level that was not trained is refused, and one outside the trained ones always."""
    with pytest.raises(ConfigError, match=says):
        at_levels(QUANTILES, TRAINED, [level], interpolate=interpolate)


def test_trained_levels_are_exact():
    """A trained level gives the model's own number, bit for bit."""
    quantiles = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
    assert np.array_equal(at_levels(quantiles, TRAINED, TRAINED), quantiles)


@given(st.floats(-1e3, 1e3), st.floats(0, 1e3))
def test_mean_of_a_symmetric_forecast(middle, spread):
    """The mean of a symmetric forecast is its median, that of a certain one its value."""
    quantiles = np.array([[middle - spread], [middle], [middle + spread]])
    assert mean_of_quantiles(quantiles, TRAINED)[0] == pytest.approx(middle, abs=1e-9)


def test_mean_by_hand():
    """The quantile function is integrated by trapezoids, flat beyond the outer levels."""
    flat_tails = 0.1 * 1 + 0.1 * 4
    trapezoids = 0.4 * 1.5 + 0.4 * 3
    assert mean_of_quantiles(QUANTILES, TRAINED)[0] == pytest.approx(flat_tails + trapezoids)
