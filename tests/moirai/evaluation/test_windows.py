"""Rolling origins on the end of a series."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moirai.errors import ConfigError, DataError
from moirai.evaluation.windows import default_windows, origins, target_steps

COUNTS = st.integers(1, 50)


@pytest.mark.parametrize(
    ("shortest", "horizon", "windows"),
    [
        (17_420, 48, 20),  # ett1/H/short: 37, capped
        (69_680, 480, 15),  # ett1/15T/medium
        (17_420, 720, 3),  # ett1/H/long
        (725, 30, 3),  # ett1/D/short
        (103, 8, 2),  # ett1/W/short
        (1_825, 30, 7),  # hierarchical_sales/D/short
        (260, 8, 4),  # hierarchical_sales/W/short
        (58, 6, 1),
        (3, 48, 1),  # never none
        (300, 10, 3),  # exactly a tenth
    ],
)
def test_default_is_a_tenth_of_the_shortest_series(shortest, horizon, windows):
    """The number of windows is that of the GIFT-Eval configurations."""
    assert default_windows(shortest, horizon) == windows


@settings(deadline=None)  # shape checks are slow on their first call
@given(history=COUNTS, horizon=COUNTS, windows=COUNTS)
def test_windows_cover_the_test_span_once(history, horizon, windows):
    """Back to back, without overlap, up to the last step; window w starts at T - (W - w) h."""
    length = history + windows * horizon
    starts = origins(length, horizon=horizon, windows=windows)
    steps = target_steps(starts, horizon)
    assert steps.shape == (windows, horizon)
    assert steps.ravel().tolist() == list(range(history, length))
    assert starts.tolist() == [length - (windows - w) * horizon for w in range(windows)]


def test_target_steps_index_the_actuals():
    """Indexing a series with them gives one row per window."""
    steps = target_steps(origins(10, horizon=3, windows=2), 3)
    assert np.arange(10.0)[steps].tolist() == [[4, 5, 6], [7, 8, 9]]


def test_short_series_says_how_many_windows_it_allows():
    """The error names length, need and the number of windows that would work."""
    with pytest.raises(DataError, match=r"10 steps is too short for 3 windows .* it allows 2"):
        origins(10, horizon=4, windows=3)
    assert origins(10, horizon=4, windows=2).tolist() == [2, 6]
    with pytest.raises(DataError, match="after 5 steps of history, it allows 1"):
        origins(10, horizon=4, windows=2, min_history=5)


def test_counts_have_to_be_positive():
    """A horizon or number of windows below 1 is refused, and so is an empty series."""
    with pytest.raises(ConfigError, match="horizon must be 1 or more"):
        origins(10, horizon=0, windows=1)
    with pytest.raises(ConfigError, match="windows must be 1 or more"):
        origins(10, horizon=1, windows=0)
    with pytest.raises(ConfigError, match="min_history must be 0 or more"):
        origins(10, horizon=1, windows=1, min_history=-1)
    with pytest.raises(DataError, match="empty"):
        default_windows(0, 4)
