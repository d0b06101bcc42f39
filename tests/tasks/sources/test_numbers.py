"""Numbers: cells of any type as finite numbers, whole columns and single cells alike."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import SourceError
from tasks.sources.chunk import LongRows, Place
from tasks.sources.numbers import NumberReader, _number, parse_numbers

PLACE = Place("sales.csv", "line")


def read_numbers(cells):
    """The cells as numbers, read and checked as those of a chunk are."""
    reader, lines = NumberReader(), cells.index.to_numpy()
    values = reader(cells, PLACE)
    items, stamps = pd.Categorical(["a"] * len(cells)), np.zeros(len(cells), dtype="datetime64[ns]")
    reader.check(LongRows(items=items, stamps=stamps, rows=lines, numbers={"sold": values}, names={}), PLACE)
    return values


@pytest.mark.parametrize(
    "cells",
    [
        pd.Series(["1", " 2.5 ", "", "NA", "-3e2", None], dtype=object),
        pd.Series(["1", " 2.5 ", "", "NA", "-3e2", None], dtype="category"),
        pd.Series([1, 2.5, None, np.nan, -300, None], dtype=object),
        pd.Series([Decimal(1), Decimal("2.5"), None, Decimal("NaN"), Decimal(-300), None], dtype=object),
        pd.Series([1, "2.5", "null", "n/a", Decimal(-300), pd.NaT], dtype=object),
        pd.Series([1, 2.5, np.nan, np.nan, -300, np.nan], dtype="float32"),
    ],
)
def test_cells_of_every_type(cells):
    """Text, numbers, decimals and mixtures of them read alike; what stands for nothing is missing."""
    np.testing.assert_array_equal(read_numbers(cells), [1, 2.5, np.nan, np.nan, -300, np.nan])


@pytest.mark.parametrize("kind", ["bool", "boolean", "object", "Int8"])
def test_truth_values_and_whole_numbers(kind):
    """Truth values count as 0 and 1, whatever pandas calls them."""
    assert read_numbers(pd.Series([True, False]).astype(kind)).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        (["1", "1_000"], "'1_000'"),
        (["1", "nan(7)"], "'nan(7)'"),
        (["", "1e999"], "'1e999'"),
        ([1.0, np.inf], "'inf'"),
        ([1, Decimal("Infinity")], "'Infinity'"),
        ([1, Decimal("1e400")], "'1E+400'"),
        ([None, b"x"], "b'x'"),
        ([1, [2]], "'[2]'"),
        ([pd.NaT, pd.Timestamp("2024-01-01")], "'2024-01-01 00:00:00'"),
        (["1", "x" * 5000], "'xxxx"),
    ],
)
def test_cells_that_are_no_finite_number(cells, text):
    """The first cell that is no finite number is named with its line, shortened where it is long."""
    column = pd.Series(cells, index=[3, 7], name="sold", dtype=object)
    for one in (column, column.infer_objects()):
        with pytest.raises(SourceError, match="no finite number; write numbers with a decimal point") as caught:
            read_numbers(one)
        assert str(caught.value).replace('"', "").startswith(f"sales.csv, column 'sold', line 7: {text}")
        assert len(str(caught.value)) < 300


def test_the_first_of_several_bad_cells_is_named():
    """Of two columns, the one whose line comes first; in one line, that which is read first."""
    reader, lines = NumberReader(), np.array([3, 7, 9])
    first = reader(pd.Series(["1", "2", "x"], index=lines, name="sold"), PLACE)
    second = reader(pd.Series(["1", "y", "z"], index=lines, name="price"), PLACE)
    items, stamps = pd.Categorical(["a"] * 3), np.zeros(3, dtype="datetime64[ns]")
    rows = LongRows(items=items, stamps=stamps, rows=lines, numbers={"sold": first, "price": second}, names={})
    with pytest.raises(SourceError, match="column 'price', line 7: 'y'"):
        reader.check(rows, PLACE)


@given(st.lists(st.floats(allow_infinity=False).map(repr) | st.text("0123456789.eE+-_naif ", max_size=8)))
def test_whole_columns_read_as_single_cells_do(texts):
    """Reading all at once gives exactly what Python reads from each."""
    singly = np.array([_number(text) for text in texts], dtype=np.float64)
    np.testing.assert_array_equal(parse_numbers(pd.Series(texts, dtype=object)), singly)
