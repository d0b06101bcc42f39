"""Names of frequencies, old and new, and the seasons that go with them."""

import warnings

import pytest
from pandas.tseries import offsets

from moirai.errors import ConfigError
from moirai.evaluation.seasonality import season_length, to_offset


@pytest.mark.parametrize(
    ("names", "offset"),
    [
        (["h", "H", "60min"], offsets.Hour()),
        (["15min", "15T", "900s"], offsets.Minute(15)),
        (["s", "S"], offsets.Second()),
        (["D", "d", "24h"], offsets.Day()),
        (["B"], offsets.BusinessDay()),
        (["W", "W-SUN", "w"], offsets.Week(weekday=6)),
        (["M", "ME"], offsets.MonthEnd()),
        (["MS"], offsets.MonthBegin()),
        (["Q", "QE", "Q-DEC"], offsets.QuarterEnd(startingMonth=12)),
        (["QS", "QS-JAN"], offsets.QuarterBegin(startingMonth=1)),
        (["A", "Y", "YE", "A-DEC"], offsets.YearEnd(month=12)),
        (["AS", "YS"], offsets.YearBegin(month=1)),
        (["2W-WED"], offsets.Week(2, weekday=2)),
        (["1h30min", "90T"], offsets.Minute(90)),
    ],
)
def test_old_and_new_names_are_one_offset(names, offset):
    """Names from before and after pandas 2.2 give the same offset, and none of them warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [to_offset(name) for name in names] == [offset] * len(names)


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("week", "write a pandas offset"),
        ("", "write a pandas offset"),
        ("15", "write a pandas offset"),
        ("0D", "positive multiple"),
        ("-2h", "positive multiple"),
        ("m", "minutes or months"),
        ("5m", "minutes or months"),
    ],
)
def test_what_is_no_frequency_says_how_to_write_one(name, mend):
    """The error is a ConfigError, which is also the ValueError that pydantic reports."""
    with pytest.raises(ConfigError, match=mend) as caught:
        to_offset(name)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("freq", "steps"),
    [
        *[("s", 3600), ("min", 1440), ("h", 24), ("D", 7), ("B", 5), ("W", 52), ("W-WED", 52)],
        *[("M", 12), ("ME", 12), ("MS", 12), ("QS", 4), ("Q-MAR", 4), ("Y", 1), ("YS", 1)],
        *[("15min", 96), ("15T", 96), ("2h", 12), ("10s", 360), ("3MS", 4), ("2W", 26)],
        *[("60min", 24), ("24h", 7), ("7D", 52), ("60s", 1440), ("1h30min", 16)],
        *[("7h", 1), ("2D", 1), ("5YS", 1), ("100W", 1), ("ms", 1), ("bh", 1)],
    ],
)
def test_season_follows_the_table(freq, steps):
    """Units have their season, multiples divide it, filled units count as the larger one, others 1."""
    assert season_length(freq) == steps


@pytest.mark.parametrize("freq", ["s", "min", "15min", "h", "2h", "B", "ME", "QE", "YE"])
def test_season_is_that_of_gluonts_below_a_day_and_above_a_week(freq):
    """GIFT-Eval's table differs from ours only for days and weeks, to which it gives no season."""
    seasonality = pytest.importorskip("gluonts.time_feature.seasonality")
    assert season_length(freq) == seasonality.get_seasonality(freq)
