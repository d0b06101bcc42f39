"""The grid of every frequency: where its points lie, which step a time stamp belongs to."""

import numpy as np
import pandas as pd
import pytest

from moirai.evaluation.seasonality import to_offset
from tasks.grid import Grid

CLOCK = ["s", "10s", "min", "15min", "T", "h", "H", "2h", "7h", "90min", "1h30min"]
DAYS = ["D", "d", "7D", "B", "2B", "C", "W", "W-SUN", "W-WED", "2W-WED"]
LONG = ["MS", "ME", "M", "3MS", "BMS", "BM", "SMS", "SME", "QS", "QE", "Q", "QE-MAR", "QS-FEB", "BQE", "WOM-2TUE"]
YEARS = ["YS", "YE", "Y", "A", "AS", "YE-JUN", "A-JUN", "YS-APR"]
FREQUENCIES = [*CLOCK, *DAYS, *LONG, *YEARS]
CALENDAR = [name for name in [*DAYS, *LONG, *YEARS] if name not in {"D", "d", "7D"}]


def points(frequency, count=9, start="2023-12-31"):
    """Time stamps that lie on the grid."""
    return pd.Series(pd.date_range(start, periods=count, freq=to_offset(frequency)))


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_stamps_on_the_grid_stay_and_follow_each_other(frequency):
    """The points are those of pandas: each is its own floor, one step behind the one before."""
    stamps = points(frequency)
    grid = Grid.covering(frequency, stamps)
    np.testing.assert_array_equal(grid.floor(stamps), stamps.to_numpy())
    assert set(np.diff(grid.steps(stamps))) == {1}


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_the_grid_reaches_as_far_ahead_as_asked(frequency):
    """The points behind the last time stamp are those of pandas as well."""
    stamps = points(frequency)
    grid = Grid.covering(frequency, stamps.head(6), ahead=3)
    assert grid.stamps(grid.steps(stamps.head(6))[-1] + np.arange(1, 4)).tolist() == stamps.tail(3).to_numpy().tolist()


@pytest.mark.parametrize("frequency", CALENDAR)
def test_a_time_of_day_is_off_a_calendar_grid(frequency):
    """A month that starts at nine o'clock lies behind the point of its month, and floors to it."""
    stamps = points(frequency)
    late = stamps + pd.Timedelta("9h")
    grid = Grid.covering(frequency, late)
    np.testing.assert_array_equal(grid.floor(late), stamps.to_numpy())
    assert (grid.floor(late) != late.to_numpy()).all()


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_stamps_between_two_points_floor_to_the_earlier_one(frequency):
    """Just before a point is the step of the point before it."""
    stamps = points(frequency)
    early = pd.concat([stamps.head(1), stamps.iloc[1:] - pd.Timedelta("1ms")], ignore_index=True)
    np.testing.assert_array_equal(
        Grid.covering(frequency, early).floor(early).tolist(), stamps.iloc[[0, *range(8)]].to_numpy().tolist()
    )


def test_business_hours_count_from_the_earliest_row():
    """Hours of business days have no point at midnight that they could be told from."""
    stamps = pd.Series(pd.date_range("2024-01-05 15:00", periods=5, freq="bh"))
    assert Grid.covering("bh", stamps).steps(stamps).tolist() == [0, 1, 2, 3, 4]
