"""Time stamps: every way they are written, every zone, and one clear error for what cannot be trusted."""

from datetime import UTC, date, datetime, time
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from tasks.errors import SourceError
from tasks.job import Columns, Source
from tasks.sources.chunk import Place
from tasks.sources.stamps import read_stamps

BERLIN = {"timezone": "Europe/Berlin", "to_timezone": "UTC"}
DATE_PARTS = {"year": "y", "month": "m", "day": "d"}


def read(values, timestamp="when", *, item_id=None, **source):
    """Time stamps of one column, or of a frame; rows count from line 2."""
    frame = values if isinstance(values, pd.DataFrame) else pd.DataFrame({"when": values})
    frame = frame.set_index(pd.RangeIndex(2, len(frame) + 2))
    columns = Columns(timestamp=timestamp, target=["sold"], item_id=item_id)
    stamps = read_stamps(frame, columns, Source(path="a.csv", **source), Place("a.csv", "line"))
    assert stamps.dtype == "datetime64[ns]"
    return [str(pd.Timestamp(stamp)) for stamp in stamps]


def refusal(values, *arguments, **options):
    """The error of time stamps that are refused: one line that names the file."""
    with pytest.raises(SourceError) as caught:
        read(values, *arguments, **options)
    text = str(caught.value)
    assert text.startswith("a.csv")
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("texts", "first", "last"),
    [
        (["2024-01-02", " 2024-01-02 05:00 "], "2024-01-02 00:00:00", "2024-01-02 05:00:00"),
        (["20240102", "2024-01-02T05:06:07.5"], "2024-01-02 00:00:00", "2024-01-02 05:06:07.500000"),
        (["1998", "1999"], "1998-01-01 00:00:00", "1999-01-01 00:00:00"),
        (["1991 W06", "1991-W07"], "1991-02-04 00:00:00", "1991-02-11 00:00:00"),
        (["2019W1", "2020w53"], "2018-12-31 00:00:00", "2020-12-28 00:00:00"),
        (["1998 Q1", "1998Q4"], "1998-01-01 00:00:00", "1998-10-01 00:00:00"),
        (["1998-q2", "1998-Q3"], "1998-04-01 00:00:00", "1998-07-01 00:00:00"),
        (["2001 M03", "2001M12"], "2001-03-01 00:00:00", "2001-12-01 00:00:00"),
        (["2001M3", "2001-M4"], "2001-03-01 00:00:00", "2001-04-01 00:00:00"),
    ],
)
def test_texts(texts, first, last):
    """ISO 8601 and periods, which stand for their first day, need no format."""
    assert read(texts) == [first, last]


def test_weeks_are_those_of_iso_8601():
    """The first day of every week of a century is what the calendar says; weeks that do not exist are refused."""
    for year in range(1950, 2050):
        weeks = date(year, 12, 28).isocalendar().week
        texts = [f"{year} W{week:02}" for week in range(1, weeks + 1)]
        assert read(texts) == [f"{date.fromisocalendar(year, week, 1)} 00:00:00" for week in range(1, weeks + 1)]
        if weeks == 52:
            assert f"line 3: '{year} W53' is no time stamp" in refusal([f"{year} W01", f"{year} W53"])


@pytest.mark.parametrize(
    "wrong", ["soon", "2024-13-01", "31.01.2024", "1998 Q5", "2001 M13", "1700000000", "1500-01-01"]
)
def test_the_first_text_that_cannot_be_read_is_named(wrong):
    """Column, line, text and mend stand in the error; numbers since 1970 are none of ours."""
    text = refusal(["2024-01-01", wrong, wrong])
    assert text.startswith(f"a.csv, column 'when', line 3: '{wrong}' is no time stamp")
    assert "set source.timestamp_format" in text


@pytest.mark.parametrize("missing", ["", " ", "NA", "NaT", "null", None, np.nan])
def test_a_missing_time_stamp_is_refused(missing):
    """Every row needs a time stamp."""
    assert "line 3" in refusal(["2024-01-01", missing])
    assert "every row needs one" in refusal(["2024-01-01", missing])


def test_the_clock_is_no_time_stamp():
    """What pandas would replace by the present moment is refused."""
    assert "'Today' is no time stamp" in refusal(["2024-01-01", "Today"])


def test_periods_of_two_kinds_are_refused():
    """A month among quarters is a defect, and so is a date among periods or a period among dates."""
    assert "line 3: '1998 M04'" in refusal(["1998 Q1", "1998 M04"])
    assert "line 3: '1998-04-01'" in refusal(["1998 Q1", "1998-04-01"])
    assert "line 3: '1998 Q2'" in refusal(["1998-01-01", "1998 Q2"])


def test_a_format_is_the_only_one_that_is_read():
    """With a format nothing else is read, and the error names it."""
    assert read(["31.01.2024"], timestamp_format="%d.%m.%Y") == ["2024-01-31 00:00:00"]
    assert "source.timestamp_format is '%d.%m.%Y'" in refusal(["2024-01-31"], timestamp_format="%d.%m.%Y")


@pytest.mark.parametrize(
    ("values", "source", "expected"),
    [
        ([date(2024, 1, 2)], {}, "2024-01-02 00:00:00"),
        ([datetime(2024, 1, 2, 3)], {}, "2024-01-02 03:00:00"),  # noqa: DTZ001 - one without zone is meant
        ([datetime(2024, 1, 2, 3, tzinfo=UTC)], {"to_timezone": "UTC"}, "2024-01-02 03:00:00"),
        (np.array(["2024-01-02"], dtype="datetime64[s]"), {}, "2024-01-02 00:00:00"),
        (pd.to_datetime(["2024-01-02"]).tz_localize("Europe/Berlin"), {"to_timezone": "UTC"}, "2024-01-01 23:00:00"),
        (pd.to_datetime(["2024-01-02"]).astype("category"), {}, "2024-01-02 00:00:00"),
        (pd.array(["2024-01-02"], dtype="string"), {}, "2024-01-02 00:00:00"),
        ([2024], {}, "2024-01-01 00:00:00"),
        ([2024.0], {}, "2024-01-01 00:00:00"),
        ([Decimal(2024)], {}, "2024-01-01 00:00:00"),
        ([20240102], {"timestamp_format": "%Y%m%d"}, "2024-01-02 00:00:00"),
        ([date(2024, 1, 2)], {"timestamp_format": "%d.%m.%Y"}, "2024-01-02 00:00:00"),
    ],
)
def test_typed_columns(values, source, expected):
    """Dates, date times, years and numbers with a format are read; a format is for text and numbers only."""
    assert read(values, **source) == [expected]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([1990, 1700000000], "line 3: '1700000000' is no time stamp and no year; set source.timestamp_format"),
        ([20240102], "turn numbers since 1970 into dates"),
        ([1990.5], "'1990.5' is no time stamp"),
        ([1990.0, np.nan], "line 3: 'nan' is no time stamp; every row needs one"),
        ([True], "'True' is no time stamp"),
        (pd.to_datetime(["2024-01-01", None]), "line 3: 'NaT' is no time stamp; every row needs one"),
        (np.array(["1500-01-01"], dtype="datetime64[s]"), "outside the years 1678 to 2261"),
        (pd.to_datetime(["2024-01-02"]).tz_localize("UTC"), "has a time zone; name in source.to_timezone"),
    ],
)
def test_typed_columns_that_cannot_be_used(values, problem):
    """Numbers that may mean anything, missing cells and zones that nobody asked for are refused."""
    assert problem in refusal(values)


def test_parts():
    """Year, month, ... in columns of their own; the missing parts are the first ones."""
    frame = pd.DataFrame({"y": ["2012", "2013"], "m": ["2", " 12"], "d": ["29", "31"], "h": ["0", "23"]})
    assert read(frame, {**DATE_PARTS, "hour": "h"}) == ["2012-02-29 00:00:00", "2013-12-31 23:00:00"]
    assert read(frame.astype(int), {"month": "m", "year": "y"}) == ["2012-02-01 00:00:00", "2013-12-01 00:00:00"]
    weeks = pd.DataFrame({"year": [2020, 2021], "week": [53, 1], "day": [1, 7]})
    assert read(weeks, ["year", "week"]) == ["2020-12-28 00:00:00", "2021-01-04 00:00:00"]
    assert read(weeks, ["year", "week", "day"]) == ["2020-12-28 00:00:00", "2021-01-10 00:00:00"]
    quarters = pd.DataFrame({"Year": ["2020"], "Quarter": ["3"]})
    assert read(quarters, ["Year", "Quarter"]) == ["2020-07-01 00:00:00"]


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        (("2011", "2", "31"), "line 3: year 2011, month 2, day 31 is no date"),
        (("2011", "13", "1"), "column 'm', line 3: '13' is no month; write a whole number from 1 to 12"),
        (("2011", "1.5", "1"), "column 'm', line 3: '1.5' is no month"),
        (("2011", "", "1"), "column 'm', line 3: '' is no month"),
        (("99", "1", "1"), "column 'y', line 3: '99' is no year"),
    ],
)
def test_parts_that_make_no_date(cells, problem):
    """An impossible date is named with its parts, an impossible part with its column."""
    frame = pd.DataFrame([("2010", "1", "1"), cells], columns=["y", "m", "d"])
    assert problem in refusal(frame, DATE_PARTS)


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"month": "m", "day": "d"}, "has no year"),
        ({"year": "y", "month": "m", "week": "d"}, "month and week, which exclude each other"),
        ({"year": "y", "day": "d"}, "names a day, but neither month nor week"),
    ],
)
def test_parts_that_say_no_day(parts, problem):
    """Parts must say which day is meant."""
    frame = pd.DataFrame({"y": ["2010"], "m": ["1"], "d": ["1"]})
    assert problem in refusal(frame, parts)


def test_texts_of_several_columns():
    """Columns that are no parts are joined by a space, typed ones as ISO 8601; a format reads them together."""
    texts = pd.DataFrame({"date": ["2024-01-02", "2024-01-03"], "clock": ["05:00", " 06:30"]})
    expected = ["2024-01-02 05:00:00", "2024-01-03 06:30:00"]
    assert read(texts, ["date", "clock"]) == expected
    typed = pd.DataFrame({"date": pd.to_datetime(texts["date"]), "clock": [time(5), time(6, 30)]})
    assert read(typed, ["date", "clock"]) == expected
    german = texts.assign(date=["2.1.2024", "3.1.2024"])
    assert read(german, ["date", "clock"], timestamp_format="%d.%m.%Y %H:%M") == expected
    missing = texts.assign(clock=["05:00", ""])
    assert "column 'date, clock', line 3: '' is no time stamp; every row needs one" in refusal(
        missing, ["date", "clock"]
    )


@pytest.mark.parametrize("zone", ["Z", "+01:00", "-05", " +0530"])
def test_a_zone_needs_to_be_asked_for(zone):
    """Time stamps with a zone are refused until the job says which zone time is kept in; the mend is named."""
    text = refusal([f"2024-01-01 00:00{zone}"])
    assert "has a time zone; name in source.to_timezone the zone that time is to be kept in, such as UTC" in text


def test_offsets_are_converted():
    """All become time of one zone, without it."""
    texts = ["2024-01-02T00:00+02:00", "2024-07-02T00:00Z"]
    assert read(texts, to_timezone="UTC") == ["2024-01-01 22:00:00", "2024-07-02 00:00:00"]
    assert read(texts, to_timezone="Europe/Berlin") == ["2024-01-01 23:00:00", "2024-07-02 02:00:00"]
    texts = ["02.01.2024 00:00 +0200"]
    assert read(texts, to_timezone="UTC", timestamp_format="%d.%m.%Y %H:%M %z") == ["2024-01-01 22:00:00"]


def test_mixed_zones_name_the_first_that_differs():
    """Some with and some without a zone are refused, also where time is converted; `timezone` tells the rest."""
    texts = ["2024-01-01 00:00", "2024-01-02 00:00", "2024-01-03 00:00Z"]
    assert "line 4: '2024-01-03 00:00Z' has a time zone, those before it none" in refusal(texts)
    assert "line 3: '2024-01-02 00:00' has no time zone" in refusal(texts[::-1], to_timezone="UTC")
    assert read(texts[1:], **BERLIN) == ["2024-01-01 23:00:00", "2024-01-03 00:00:00"]


def test_to_timezone_alone_converts_nothing_silently():
    """Without a zone there is nothing to convert from."""
    assert "has no time zone to be taken to UTC" in refusal(["2024-01-01"], to_timezone="UTC")


def test_an_hour_that_is_there_twice():
    """It is refused, or taken as the first or second, as the job says."""
    assert "line 2: '2024-10-27 02:30' is there twice" in refusal(["2024-10-27 02:30"], **BERLIN)
    assert read(["2024-10-27 02:30"], ambiguous="first", **BERLIN) == ["2024-10-27 00:30:00"]
    assert read(["2024-10-27 02:30"], ambiguous="second", **BERLIN) == ["2024-10-27 01:30:00"]


@pytest.mark.parametrize("step", ["h", "15min"])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_order_of_rows_tells_the_two_hours_apart(step, backwards):
    """Each series by itself, whichever way its rows run."""
    stamps = pd.date_range("2024-10-26 22:00", "2024-10-27 04:00", freq=step)  # in UTC
    frame = pd.DataFrame({"when": stamps.tz_localize("UTC").tz_convert("Europe/Berlin").strftime("%Y-%m-%d %H:%M")})
    both = pd.concat([frame.assign(shop="a"), frame.assign(shop="b")]).sort_index(
        kind="stable", ascending=not backwards
    )
    expected = np.repeat(stamps[:: -1 if backwards else 1], 2).astype(str).tolist()
    assert read(both, item_id="shop", ambiguous="order", **BERLIN) == expected


def test_order_that_tells_nothing_is_refused():
    """Where the doubled hour is there once only, its order says nothing."""
    texts = ["2024-10-27 01:00", "2024-10-27 02:00", "2024-10-27 03:00"]
    assert "line 3" in refusal(texts, ambiguous="order", **BERLIN)
    assert "set source.ambiguous to first or second" in refusal(texts, ambiguous="order", **BERLIN)


def test_an_hour_that_does_not_exist():
    """It is refused, or moved behind the gap, as the job says."""
    assert "line 2: '2024-03-31 02:30' does not exist in Europe/Berlin" in refusal(["2024-03-31 02:30"], **BERLIN)
    assert read(["2024-03-31 02:30"], nonexistent="shift", **BERLIN) == ["2024-03-31 01:00:00"]


def test_two_moments_do_not_become_one():
    """A zone with daylight saving to keep time in is refused where it would merge two moments."""
    text = refusal(["2024-10-27T00:00Z", "2024-10-27T01:00Z"], to_timezone="Europe/Berlin")
    assert "line 3" in text
    assert "set source.to_timezone to UTC" in text


def test_no_rows():
    """A chunk without rows has no time stamps."""
    assert read(pd.DataFrame({"when": []}, dtype=object)) == []
