"""Fillers for missing values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moirai.forecasting.imputation import causal_mean, zero

NAN = float("nan")


def plain_causal_mean(series):
    """The rule, step by step."""
    observed = [value for value in series if not np.isnan(value)]
    if not observed:
        return [0.0] * len(series)
    held, last = [], observed[0]
    for value in series:
        last = last if np.isnan(value) else value
        held.append(last)
    means = [held[0]] + [float(np.mean(held[:step])) for step in range(1, len(held))]
    return [mean if np.isnan(value) else value for value, mean in zip(series, means, strict=True)]


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ([1.0, NAN, 4.0, NAN], [1.0, 1.0, 4.0, 2.0]),
        ([NAN, NAN, 6.0], [6.0, 6.0, 6.0]),
        ([NAN, NAN], [0.0, 0.0]),
        ([3.0, 4.0], [3.0, 4.0]),
        ([NAN], [0.0]),
    ],
)
def test_causal_mean_by_hand(series, expected):
    """A gap becomes the mean of what came before, a leading one the first value."""
    assert causal_mean(np.array([series]))[0].tolist() == expected


@given(
    st.lists(st.lists(st.one_of(st.just(NAN), st.floats(-1e3, 1e3)), min_size=6, max_size=6), min_size=1, max_size=4)
)
def test_causal_mean_of_many(rows):
    """Many series at once are filled as each by the rule, and the caller's array stays."""
    values = np.array(rows)
    before = values.copy()
    np.testing.assert_allclose(causal_mean(values), [plain_causal_mean(row) for row in rows], atol=1e-9)
    assert np.array_equal(values, before, equal_nan=True)


@pytest.mark.parametrize("fill", [causal_mean, zero])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fills_keep_type_and_return_a_copy(fill, dtype):
    """The type stays, and a complete series comes back as a copy."""
    values = np.ones((1, 3), dtype)
    filled = fill(values)
    assert filled.dtype == dtype
    assert not np.shares_memory(filled, values)


def test_zero():
    """The other filler is 0."""
    assert zero(np.array([[1.0, NAN]])).tolist() == [[1.0, 0.0]]
