"""Covariates known in advance: each series needs them for its own horizon."""

import numpy as np
import pandas as pd
import pytest

from tasks.errors import ValidationError

from .checked import HOURS, NAN, check, found, make_rows, message

COLUMNS = {"timestamp": "t", "target": ["y"], "item_id": "i", "known": ["x"]}


def with_future(item="good", steps=3, x=None, start=0):
    """Ten hours of a series, and the covariate of some hours behind them."""
    stamps = pd.date_range(HOURS[start], periods=10 + steps, freq="h")
    return make_rows(stamps, [*range(10), *[NAN] * steps], x, item=item)


def test_covariates_for_the_whole_horizon_pass(tmp_path):
    """Values at each step of the horizon behind the last target are enough; further ones do no harm."""
    result = check(tmp_path, with_future(), with_future("more", steps=5), columns=COLUMNS, forecasting=True)
    (horizon,) = [one for one in result.checks if one.rule == "known_for_horizon"]
    assert (horizon.passed, horizon.column, horizon.count, horizon.total) == (True, "x", 0, 2)


@pytest.mark.parametrize(
    ("rows", "missing", "first"),
    [
        (with_future(steps=0), 3, "2024-01-01 10:00"),
        (with_future(steps=2), 1, "2024-01-01 12:00"),
        (with_future(x=[*range(11), NAN, 12]), 1, "2024-01-01 11:00"),
    ],
)
def test_missing_covariates_stop_by_name(tmp_path, rows, missing, first):
    """The message names column, series, the first missing time stamp, and what to do."""
    expected = (
        rf"of x, which is known in advance, .*: 1 of 2 \(good: x is missing at {missing} of the 3 steps behind the "
        rf"last target, first at {first}\); give rows for the horizon, or move x from columns.known to columns.past"
    )
    with pytest.raises(ValidationError, match=expected):
        check(tmp_path, rows, with_future("fine"), columns=COLUMNS, forecasting=True)


def test_nothing_is_asked_of_runs_that_do_not_forecast(tmp_path):
    """A backtest has the covariates of its windows in the history."""
    result = check(tmp_path, with_future(steps=0), columns=COLUMNS)
    assert "known_for_horizon" not in {one.rule for one in result.checks}


def test_the_horizon_begins_at_the_end_of_each_series(tmp_path):
    """A series that ends earlier needs the covariates behind its own end, whatever the others have."""
    early = with_future("early", steps=3)
    late = with_future("late", steps=3, start=5)
    assert check(tmp_path, early, late, columns=COLUMNS, forecasting=True).passed
    with pytest.raises(ValidationError, match=r"\(early: x is missing at 3 .* first at 2024-01-01 10:00\)"):
        check(tmp_path, early[:10], late, columns=COLUMNS, forecasting=True)


def test_a_warning_leaves_ended_series_out(tmp_path):
    """With severity warning a series without covariates is quarantined, and one left out already is not asked."""
    short = make_rows(HOURS[:2], [1, 2], item="short")
    parts = (with_future("a"), with_future("b"), with_future("ended", steps=0), short)
    validation = {"severity": {"known_for_horizon": "warning"}}
    result = check(tmp_path, *parts, columns=COLUMNS, forecasting=True, validation=validation)
    assert {one.item_id: one.rule for one in result.quarantined} == {
        "ended": "known_for_horizon",
        "short": "observed_length",
    }
    assert found(result)["known_for_horizon", "x"] == 1
    off = {"severity": {"known_for_horizon": "off"}}
    assert check(tmp_path, *parts, columns=COLUMNS, forecasting=True, validation=off).passed


def test_each_known_column_is_a_check_of_its_own(tmp_path):
    """Of several known columns only those that are missing fail; the last step of any target is the origin."""
    columns = {"timestamp": "t", "target": ["y", "z"], "item_id": "i", "known": ["x", "a column; $1"]}
    rows = with_future(steps=4).assign(**{"a column; $1": np.arange(14.0), "z": [*[1.0] * 11, NAN, NAN, NAN]})
    rows.loc[12, "a column; $1"] = NAN
    validation = {"severity": {"known_for_horizon": "info"}}
    result = check(tmp_path, rows, columns=columns, forecasting=True, validation=validation)
    assert {one.column: one.passed for one in result.checks if one.rule == "known_for_horizon"} == {
        "x": True,
        "a column; $1": False,
    }
    assert "first at 2024-01-01 12:00" in message(result, "known_for_horizon")
