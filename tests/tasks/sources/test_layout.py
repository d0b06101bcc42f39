"""Layouts: whatever a file looks like, its rows as a long table; and one clear error for what does not fit."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.errors import SourceError
from tasks.job import job_from_settings
from tasks.sources.chunk import Chunk, Place
from tasks.sources.layout import Layout
from tasks.sources.numbers import NumberReader

PLACE = Place("a.csv", "line")
SALES = pd.DataFrame({
    "DATE": ["2024-01-01", "2024-01-02"],
    "QTY_B1_1": ["1", "2"],
    "QTY_B2_7": ["3", ""],
    "PROMO_B1_1": ["0", "1"],
    "temp": ["5", "6"],
    "note": ["x", "y"],
})  # fmt: skip
PATTERNS = {"QTY": "QTY_{brand}_{item}", "PROMO": "PROMO_{brand}_{item}"}
ROLES = {"timestamp": "DATE", "item_id": ["brand", "item"], "target": ["QTY"], "known": ["PROMO"], "past": ["temp"]}
ROWS = pd.DataFrame({
    "id": ["H1", "H2", "H3"], "area": ["n", "s", "s"], "V1": ["1", "", ""], "V2": ["2", "5", ""], "V3": ["", "", ""]
})  # fmt: skip
ROW_ROLES = {"timestamp": "timestamp", "item_id": "id", "target": ["value"], "static": ["area"]}


def job(columns, *, frequency="D", **source):
    """A job on a file."""
    settings = {"name": "sales", "source": {"path": "a.csv", **source}, "columns": columns}
    return job_from_settings({**settings, "frequency": frequency, "horizon": 3}, folder=Path())


def wide(columns=ROLES, patterns=PATTERNS):
    """A job on a file with a column per series."""
    return job(columns, layout="column_per_series", series_columns=patterns)


def rows_job(columns=ROW_ROLES, **options):
    """A job on a file with a row per series."""
    return job(columns, layout="row_per_series", **options)


def unpivot(frame, one):
    """The long rows of a file, as a frame; line numbers start at 2."""
    layout = Layout.of(list(frame), one, PLACE)
    chunk = frame[layout.needed].set_index(pd.RangeIndex(2, len(frame) + 2))
    numbers = NumberReader()
    rows = layout.to_long(Chunk(chunk, PLACE), numbers)
    numbers.check(rows, PLACE)
    assert rows.stamps.dtype == "datetime64[ns]"
    assert rows.rows.dtype == np.int64
    assert list(rows.numbers) == one.columns.numeric
    items = [None if pd.isna(item) else item for item in rows.items]
    return pd.DataFrame({"item": items, "stamp": rows.stamps, "row": rows.rows, **rows.numbers, **rows.names})


def refusal(frame, one):
    """The error of a file that does not fit its job: one line."""
    with pytest.raises(SourceError) as caught:
        unpivot(frame, one)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_long_needs_the_named_columns_only():
    """The columns of a long file are read in their order, the others are not."""
    frame = pd.DataFrame({"x": [""], "sold": ["3"], "city": ["Rome"], "shop": ["a"], "when": ["2024-01-01"]})
    one = job({"timestamp": "when", "item_id": "shop", "target": ["sold"], "static": ["city"]})
    assert Layout.of(list(frame), one, PLACE).needed == ["sold", "city", "shop", "when"]
    assert unpivot(frame, one).iloc[0].tolist() == ["a", pd.Timestamp("2024-01-01"), 2, 3.0, "Rome"]


def test_a_source_without_ids_is_one_series():
    """It bears the name of the job."""
    frame = pd.DataFrame({"when": ["2024-01-01", "2024-01-02"], "sold": ["1", "2"]})
    assert unpivot(frame, job({"timestamp": "when", "target": ["sold"]}))["item"].tolist() == ["sales", "sales"]


def test_ids_of_several_columns_are_joined_and_stay_apart():
    """A slash inside a part is escaped, so that no two series become one; a missing part is a missing id."""
    frame = pd.DataFrame({
        "when": ["2024-01-01"] * 5, "sold": ["1"] * 5,
        "a": ["x", "x/y", "x\\", "x", " "], "b": ["y/z", "z", "y", "y", "z"],
    })  # fmt: skip
    items = unpivot(frame, job({"timestamp": "when", "target": ["sold"], "item_id": ["a", "b"]}))["item"].tolist()
    assert items == ["x/y\\/z", "x\\/y/z", "x\\\\/y", "x/y", None]


def test_one_id_stays_as_it_stands():
    """Nothing is escaped in a single column; numbers are ids without decimal point."""
    frame = pd.DataFrame({"when": ["2024-01-01"] * 3, "sold": ["1"] * 3, "id": ["a/b", "NA", ""]})
    one = job({"timestamp": "when", "target": ["sold"], "item_id": "id"})
    assert unpivot(frame, one)["item"].tolist() == ["a/b", "NA", None]
    typed = frame.assign(id=[1.0, 2.0, np.nan])
    assert unpivot(typed, one)["item"].tolist() == ["1", "2", None]


def test_a_column_per_series_and_value():
    """Each row becomes one per series; columns that are no series are repeated, a series may lack a covariate."""
    long = unpivot(SALES, wide({**ROLES, "static": ["brand"]}))
    assert long["item"].tolist() == ["B1/1", "B1/1", "B2/7", "B2/7"]
    assert long["stamp"].dt.day.tolist() == [1, 2, 1, 2]
    assert long["row"].tolist() == [2, 3, 2, 3]
    np.testing.assert_array_equal(long["QTY"], [1, 2, 3, np.nan])
    np.testing.assert_array_equal(long["PROMO"], [0, 1, np.nan, np.nan])
    assert long["temp"].tolist() == [5, 6, 5, 6]
    assert long["brand"].tolist() == ["B1", "B1", "B2", "B2"]


def test_the_order_of_braces_is_free():
    """Patterns may name the parts of a series in any order, and ids follow columns.item_id."""
    frame = SALES.rename(columns={"PROMO_B1_1": "1 of B1 on promotion"})
    patterns = {"QTY": "QTY_{brand}_{item}", "PROMO": "{item} of {brand} on promotion"}
    long = unpivot(frame, wide({**ROLES, "item_id": ["item", "brand"]}, patterns))
    assert long["item"].tolist() == ["1/B1", "1/B1", "7/B2", "7/B2"]
    assert long["PROMO"].tolist()[:2] == [0, 1]


def test_a_bare_pattern_takes_what_has_no_role():
    """Every column that nothing else claims is a series."""
    columns = {"timestamp": "DATE", "item_id": "series", "target": ["sold"], "past": ["temp"]}
    long = unpivot(SALES.drop(columns="note"), wide(columns, {"sold": "{series}"}))
    assert long["item"].unique().tolist() == ["QTY_B1_1", "QTY_B2_7", "PROMO_B1_1"]


def test_listed_columns():
    """A list names the columns that are series, and their names are the column `series`."""
    columns = {"timestamp": "DATE", "item_id": "series", "target": ["sold"]}
    long = unpivot(SALES, wide(columns, {"sold": ["QTY_B2_7", "QTY_B1_1"]}))
    assert long["item"].tolist() == ["QTY_B2_7", "QTY_B2_7", "QTY_B1_1", "QTY_B1_1"]


def test_series_are_told_apart_by_columns_of_the_file_as_well():
    """A panel of shops with a column per product has a series for each pair; names may be covariates."""
    frame = pd.DataFrame({"t": ["2024-01-01"] * 2, "shop": ["a", "b"], "qty_1": ["1", "2"], "qty_2": ["3", "4"]})
    frame["day"] = ["open", ""]
    columns = {
        "timestamp": "t",
        "item_id": ["shop", "item"],
        "target": ["qty"],
        "past": ["day"],
        "categorical": ["day"],
    }
    long = unpivot(frame, wide(columns, {"qty": "qty_{item}"}))
    assert long["item"].tolist() == ["a/1", "b/1", "a/2", "b/2"]
    assert long["qty"].tolist() == [1, 2, 3, 4]
    assert long["day"].tolist() == ["open", None, "open", None]


@pytest.mark.parametrize(
    ("columns", "patterns", "problem"),
    [
        (ROLES, {**PATTERNS, "QTY": "Q_{brand}_{item}"}, "matches no column; it has DATE, QTY_B1_1"),
        ({**ROLES, "past": ["QTY_B1_1"]}, PATTERNS, "column 'QTY_B1_1' is claimed by source.series_columns.QTY and by"),
        ({**ROLES, "past": ["rain"]}, PATTERNS, "no column 'rain'; it has DATE, .*; its layout makes brand, item"),
        ({**ROLES, "item_id": "brand"}, PATTERNS, "add item to columns.item_id"),
        (ROLES, {**PATTERNS, "PROMO": "PROMO_{brand}"}, "names brand, another pattern brand, item; name the same"),
        (ROLES, {**PATTERNS, "PROMO": "PROMO"}, "needs names in braces"),
        (ROLES, {"QTY": PATTERNS["QTY"], "PROMO": "{brand}_{item}_1"}, "claimed by|in two ways"),
        (
            {"timestamp": "DATE", "item_id": "series", "target": ["sold"]},
            {"sold": ["QTY_B1_1", "QTY_B9_9"]},
            "has no column 'QTY_B9_9'",
        ),
    ],
)
def test_patterns_that_do_not_fit(columns, patterns, problem):
    """Whatever is wrong with a pattern is said with the columns there are or the mend."""
    with pytest.raises(SourceError, match=problem):
        unpivot(SALES, wide(columns, patterns))


def test_a_name_that_can_be_read_in_two_ways():
    """Which part of a name is the brand is not guessed."""
    text = refusal(SALES.rename(columns={"QTY_B1_1": "QTY_B_1_1"}), wide())
    assert "reads column 'QTY_B_1_1' in two ways (brand, item = B, 1_1 or B_1, 1)" in text


def test_a_covariate_of_no_series():
    """A column that would be dropped in silence is refused."""
    text = refusal(SALES.rename(columns={"PROMO_B1_1": "PROMO_B3_1"}), wide())
    assert "column 'PROMO_B3_1' (PROMO) has no column of QTY beside it" in text


def test_a_column_that_is_also_made():
    """A column of the file and one that the layout makes cannot share a name."""
    assert "choose another name in source.series_columns" in refusal(SALES.assign(brand="x"), wide())


def test_columns_that_are_absent_or_there_twice():
    """A long file says which columns it has, and hints at the delimiter where it is one."""
    one = job({"timestamp": "when", "target": ["sold"]})
    for header, problem in [
        (["when", "sales"], "a.csv has no column 'sold'; it has when, sales"),
        (["when;sold"], "one column only: is source.delimiter ',' right?"),
        (["when", "sold", "sold"], "more than one column 'sold'"),
    ]:
        with pytest.raises(SourceError, match=problem.replace("?", r"\?")):
            Layout.of(header, one, PLACE)


def test_a_row_per_series():
    """Cells become rows; empty ones at the end are none, but a series without values keeps its first."""
    long = unpivot(ROWS, rows_job(start="2024-01-01"))
    assert long["item"].tolist() == ["H1", "H1", "H2", "H2", "H3"]
    assert long["stamp"].dt.day.tolist() == [1, 2, 1, 2, 1]
    assert long["row"].tolist() == [2, 2, 3, 3, 4]
    np.testing.assert_array_equal(long["value"], [1, 2, np.nan, 5, np.nan])
    assert long["area"].tolist() == ["n", "n", "s", "s", "s"]


@pytest.mark.parametrize(
    ("header", "frequency", "last"),
    [
        (["2020 Q1", "2020 Q2", "2020 Q3"], "QS", "2020-07-01"),
        (["2020", "2021", "2022"], "YS", "2022-01-01"),
        (["2020-01-31", "2020-02-29", "2020-03-31"], "ME", "2020-03-31"),
    ],
)
def test_a_header_of_time_stamps(header, frequency, last):
    """The names of the columns are read like any time stamps."""
    frame = ROWS.set_axis(["id", "area", *header], axis=1).assign(**{header[2]: "7"})
    assert unpivot(frame, rows_job(frequency=frequency))["stamp"].iloc[-1] == pd.Timestamp(last)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "header, column 3: 'V1' is no time stamp.*set source.start to the time stamp of the first value"),
        ({"start": "now"}, "source.start: 'now' is no time stamp"),
        ({"start": "2024-01-15", "frequency": "MS"}, "no time stamp of the frequency MS; the next one is 2024-02-01"),
        ({"start": "2200-01-01", "frequency": "50YS"}, "leave the years 1678 to 2261; choose an earlier one"),
        ({"start": "2024-01-01T00:00Z"}, "source.start: .* has a time zone; name in source.to_timezone"),
    ],
)
def test_time_stamps_of_rows_that_cannot_be_known(options, problem):
    """Without time stamps in the header a start is needed, and it must be one of the frequency."""
    with pytest.raises(SourceError, match=problem):
        unpivot(ROWS, rows_job(**options))


def test_rows_have_no_covariates():
    """A covariate cannot be a single cell of a series."""
    text = refusal(ROWS, rows_job({**ROW_ROLES, "static": [], "known": ["area"]}, start="2024-01-01"))
    assert "no values but 'value', not 'area'; columns that are the same throughout a series are static" in text


@pytest.mark.parametrize(("frame", "one", "cell"), [
    (SALES.assign(QTY_B2_7=["3", "oops"]), wide(), "column 'QTY_B2_7', line 3: 'oops'"),
    (SALES.assign(temp=["5", "inf"]), wide(), "column 'temp', line 3: 'inf'"),
    (ROWS.assign(V2=["2", "5", "1,5"]), rows_job(start="2024-01-01"), "column 'V2', line 4: '1,5'"),
])  # fmt: skip
def test_a_value_that_is_no_number_is_named_where_it_stands(frame, one, cell):
    """Un-pivoted or not, the error names the column of the file and the line."""
    assert cell in refusal(frame, one)
