"""Parquet files: typed columns, rows counted from 1, and damage told in one sentence."""

import gzip
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import SourceError
from tasks.ingest import ingest_source, read_source
from tasks.panel import SOURCE_ROW

from .sold import make_job

ROWS = pa.table(
    {
        "shop": pa.array(["b", "a", "a"]),
        "when": pa.array([date(2024, 1, day) for day in (2, 2, 1)]),
        "sold": pa.array([4, 3, None], pa.int64()),
        "note": pa.array(["x", None, "y"]),
    }
)


def with_column(name, cells, kind=None):
    """The rows with another column."""
    return ROWS.set_column(ROWS.schema.get_field_index(name), name, pa.array(cells, kind))


def read(folder, table, **settings):
    """The raw panel of a table that is written as Parquet."""
    pq.write_table(table, folder / "sales.parquet")
    return read_source(make_job(folder, "sales.parquet", **settings))


def test_rows_are_counted_from_1(tmp_path):
    """A raw panel of Parquet reads as one of text does; its places are rows."""
    frame = read(tmp_path, ROWS)
    assert frame["item_id"].tolist() == ["a", "a", "b"]
    assert frame[SOURCE_ROW].tolist() == [3, 2, 1]
    np.testing.assert_array_equal(frame["sold"], [np.nan, 3, 4])
    assert frame["timestamp"].dtype == "datetime64[ns]"
    panel = ingest_source(make_job(tmp_path, "sales.parquet"))
    assert panel.place(3) == "row 3"


def test_rows_are_right_beyond_the_first_chunk(tmp_path, monkeypatch):
    """Files longer than one chunk keep counting."""
    monkeypatch.setattr("tasks.sources.chunk.ROWS", 2)
    assert read(tmp_path, ROWS)[SOURCE_ROW].tolist() == [3, 2, 1]


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([4.0, 3.0, None], pa.float32()),
        pa.array([Decimal("4.00"), Decimal("3.00"), None]),
        pa.array(["4", " 3.0", "n/a"]),
        pa.array(["4", "3", None]).dictionary_encode(),
        pa.array([4, 3, None], pa.uint8()),
    ],
)
def test_values_of_every_type(tmp_path, cells):
    """Whole and decimal numbers, text and dictionaries of text are the same numbers; null is missing."""
    np.testing.assert_array_equal(read(tmp_path, with_column("sold", cells))["sold"], [np.nan, 3, 4])


def test_truth_values_are_0_and_1(tmp_path):
    """A flag is a number."""
    np.testing.assert_array_equal(read(tmp_path, with_column("sold", [True, False, None]))["sold"], [np.nan, 0, 1])


@pytest.mark.parametrize(
    ("cells", "ids"),
    [
        (pa.array([12, 7, 7], pa.int32()), ["7", "7", "12"]),
        (pa.array(["b", "a", "a"]).dictionary_encode(), ["a", "a", "b"]),
        (pa.array(["b", "a", "a"], pa.large_string()), ["a", "a", "b"]),
    ],
)
def test_series_ids_of_every_type(tmp_path, cells, ids):
    """Ids are text, whatever they are in the file; sorted as numbers they are not."""
    frame = read(tmp_path, with_column("shop", cells))
    assert sorted(frame["item_id"]) == sorted(ids)
    assert frame["item_id"].map(type).eq(str).all()


@pytest.mark.parametrize("cells", [pa.array([12, None, 7]), pa.array(["b", None, "a"]), pa.array(["b", " ", "a"])])
def test_a_missing_id_is_named_with_its_row(tmp_path, cells):
    """A row that names no series is refused."""
    with pytest.raises(SourceError, match=r"sales.parquet, column 'shop', row 2: no item id"):
        read(tmp_path, with_column("shop", cells))


def test_whole_numbers_as_ids_stay_whole_beside_a_missing_one(tmp_path):
    """A static code of a column with gaps is 12345678901234567, not 1.2345678901234568e+16."""
    table = ROWS.append_column("code", pa.array([12345678901234567, None, 7]))
    pq.write_table(table, tmp_path / "sales.parquet")
    panel = ingest_source(make_job(tmp_path, "sales.parquet", columns={"static": ["code"]}))
    assert pd.read_parquet(panel.static_path)["code"].tolist() == ["7", "12345678901234567"]


def test_infinite_values_are_refused(tmp_path):
    """Infinity is no value that can be forecast."""
    with pytest.raises(SourceError, match=r"sales.parquet, column 'sold', row 2: 'inf' is no finite number"):
        read(tmp_path, with_column("sold", [1.0, np.inf, None]))


def test_names_with_dots_are_names(tmp_path):
    """Of the columns `sold` and `sold.net` the one asked for is read, and pandas' index is no obstacle."""
    frame = ROWS.append_column("sold.net", pa.array([1, 2, 3])).to_pandas().set_index("when")
    frame.to_parquet(tmp_path / "sales.parquet")
    net = read_source(make_job(tmp_path, "sales.parquet", columns={"target": ["sold.net"]}))
    gross = read_source(make_job(tmp_path, "sales.parquet"))
    assert net["sold.net"].tolist() == [3, 2, 1]
    np.testing.assert_array_equal(gross["sold"], [np.nan, 3, 4])


def test_packed_parquet(tmp_path):
    """A Parquet file that somebody packed is read like one that nobody did."""
    plain = read(tmp_path, ROWS)
    (tmp_path / "sales.parquet.gz").write_bytes(gzip.compress((tmp_path / "sales.parquet").read_bytes()))
    pd.testing.assert_frame_equal(read_source(make_job(tmp_path, "sales.parquet.gz")), plain)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_file_cut_off(tmp_path, share):
    """A download that broke off is one sentence, and nothing to try again."""
    pq.write_table(ROWS, tmp_path / "sales.parquet")
    whole = (tmp_path / "sales.parquet").read_bytes()
    (tmp_path / "sales.parquet").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(SourceError, match=r"sales.parquet is damaged or not what its ending says") as caught:
        ingest_source(make_job(tmp_path, "sales.parquet"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "moirai-work").exists()


@pytest.mark.parametrize("hole", [slice(0, 200), slice(20_000, 30_000)])
def test_a_hole_in_the_middle(tmp_path, hole):
    """Pages without head or whose check sums do not fit are damage as well, though the end of the file is sound."""
    values = np.random.default_rng(0).normal(size=5000)
    rows = pa.table({"shop": ["a"] * 5000, "when": [date(2024, 1, 1)] * 5000, "sold": values})
    pq.write_table(rows, tmp_path / "sales.parquet", write_page_checksum=True)
    content = bytearray((tmp_path / "sales.parquet").read_bytes())
    content[hole] = bytes(hole.stop - hole.start)
    (tmp_path / "sales.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=r"sales.parquet is damaged") as caught:
        read_source(make_job(tmp_path, "sales.parquet"))
    assert "\n" not in str(caught.value)


def test_text_called_parquet(tmp_path):
    """A CSV file under the wrong name is not what its ending says."""
    (tmp_path / "sales.parquet").write_text("shop,when,sold\na,2024-01-01,1\n")
    with pytest.raises(SourceError, match="not what its ending says"):
        read_source(make_job(tmp_path, "sales.parquet"))


def test_absent_columns_and_no_rows(tmp_path):
    """An absent column is named with those that are there; a file without rows says so."""
    with pytest.raises(SourceError, match=r"sales.parquet has no column 'price'; it has shop, when, sold, note"):
        read(tmp_path, ROWS, columns={"known": ["price"]})
    with pytest.raises(SourceError, match="has a header but no rows"):
        read(tmp_path, ROWS.slice(0, 0))
