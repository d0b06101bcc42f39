"""Assembly: files and chunks become one raw panel; static columns, names and what a run at as_of sees."""

import gzip

import numpy as np
import pandas as pd
import pytest

from tasks.errors import SourceError
from tasks.ingest import ingest_source, read_raw, read_source
from tasks.panel import KEYS, SOURCE_ROW, read_panel

from .sold import make_job

HEADER = "shop,when,sold,price,sky,region\n"
ROWS = [
    "b,2024-01-02,4,1.5,sun,north\n",
    "a,2024-01-02,3,1.0,,south\n",
    "a,2024-01-01,NA,1.0,rain,\n",
    "b,2024-01-03,5,,rain,north\n",
]
COLUMNS = {"known": ["price"], "past": ["sky"], "categorical": ["sky"], "static": ["region"]}


def write(folder, rows, name="sales.csv", header=HEADER):
    """A file with the given rows."""
    content = (header + "".join(rows)).encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def test_names_become_codes_of_sorted_names(tmp_path):
    """A categorical column holds the ranks of its names, NaN where there is none; the reference knows the names."""
    write(tmp_path, ROWS)
    panel = ingest_source(make_job(tmp_path, columns=COLUMNS))
    frame = read_panel(panel)
    assert frame.columns.tolist() == [*KEYS, SOURCE_ROW, "sold", "price", "sky"]
    np.testing.assert_array_equal(frame["sky"], [0, np.nan, 1, 0])
    assert panel.levels == {"sky": ["rain", "sun"]}


def test_static_columns_are_one_row_per_series(tmp_path):
    """A series has what its rows say, whichever of them says it; nothing where none does."""
    write(tmp_path, [*ROWS, "c,2024-01-01,1,1,sun,\n"])
    panel = ingest_source(make_job(tmp_path, columns=COLUMNS))
    static = pd.read_parquet(panel.static_path)
    assert static["item_id"].tolist() == ["a", "b", "c"]
    assert static["region"].tolist() == ["south", "north", None]


@pytest.mark.parametrize("rows", [2, 100_000])
def test_a_static_column_that_changes(tmp_path, monkeypatch, rows):
    """Series, column, both values and the mend are named, in one chunk as over several."""
    monkeypatch.setattr("tasks.sources.chunk.ROWS", rows)
    write(tmp_path, [*ROWS, "b,2024-01-04,5,,rain,west\n", "b,2024-01-05,5,,rain,east\n"])
    message = r"sales.csv, column 'region', line 6: series 'b' has 'west' here and 'north' before; .*columns.past"
    with pytest.raises(SourceError, match=message):
        read_source(make_job(tmp_path, columns=COLUMNS))


def test_chunks_do_not_show(tmp_path, monkeypatch):
    """However many rows are read at a time, the panel is the same."""
    write(tmp_path, ROWS)
    job = make_job(tmp_path, columns=COLUMNS)
    whole = read_raw(job)
    monkeypatch.setattr("tasks.sources.chunk.ROWS", 1)
    single = read_raw(job)
    pd.testing.assert_frame_equal(single.frame, whole.frame)
    pd.testing.assert_frame_equal(single.static, whole.static)
    assert single.levels == whole.levels


def test_too_many_names(tmp_path):
    """A column of free text as categorical covariate is a mistake; the count and the mend are named."""
    write(tmp_path, [f"a,{day:%Y-%m-%d},1,1,w{day:%m%d},\n" for day in pd.date_range("2024-01-01", periods=60)])
    with pytest.raises(SourceError, match=r"sales.csv, column 'sky': 60 names by line 61; .*columns.categorical"):
        read_source(make_job(tmp_path, columns=COLUMNS))


@pytest.mark.parametrize(("series", "is_refused"), [(501, True), (500, False)])
def test_an_id_that_hardly_tells_series_apart(tmp_path, series, is_refused):
    """A column with a value of its own in more than every other row is swapped, most likely."""
    ids = [f"s{min(number, series - 1)}" for number in range(1000)]
    write(tmp_path, [f"{one},2024-01-01,1,1,,\n" for one in ids])
    if is_refused:
        with pytest.raises(SourceError, match=r"'shop': 501 distinct values in 1,000 rows .*columns.item_id right"):
            read_source(make_job(tmp_path))
    else:
        assert read_source(make_job(tmp_path))["item_id"].nunique() == series


def test_millions_of_ids_are_refused_before_the_end(tmp_path, monkeypatch):
    """Nobody waits for ten million rows to learn that a column is swapped."""
    monkeypatch.setattr("tasks.sources.assemble.MOST_SERIES", 3)
    monkeypatch.setattr("tasks.sources.chunk.ROWS", 2)
    write(tmp_path, [f"s{number},2024-01-01,1,1,,\n" for number in range(100)])
    with pytest.raises(SourceError, match=r"sales.csv, column 'shop': 4 distinct values in 4 rows"):
        read_source(make_job(tmp_path))


FUTURE = [
    "b,2024-01-02,4,1.5,sun,north\n",
    "b,2024-01-03,oops,2.5,hail,east\n",
    "b,2024-01-04,6,3.5,sun,north\n",
    "b,2024-01-05,7,oops,sun,north\n",
    "new,2024-01-03,8,4.5,sun,north\n",
]


def test_what_a_run_in_the_past_sees(tmp_path):
    """Behind as_of only the known covariates of the horizon are seen; nothing else of these rows is looked at."""
    write(tmp_path, FUTURE)
    raw = read_raw(make_job(tmp_path, columns=COLUMNS), pd.Timestamp("2024-01-02"))
    assert raw.frame["item_id"].tolist() == ["b", "b", "b"]
    assert raw.frame["timestamp"].dt.day.tolist() == [2, 3, 4]
    np.testing.assert_array_equal(raw.frame["sold"], [4, np.nan, np.nan])
    np.testing.assert_array_equal(raw.frame["price"], [1.5, 2.5, 3.5])
    np.testing.assert_array_equal(raw.frame["sky"], [0, np.nan, np.nan])
    assert raw.levels == {"sky": ["sun"]}
    assert raw.static.to_numpy().tolist() == [["b", "north"]]


def test_as_of_counts_steps_of_the_frequency(tmp_path):
    """The horizon of a month is a month, and an as_of between two grid points loses none of it."""
    rows = [f"a,2024-{month:02}-01,1,{month},,\n" for month in range(1, 9)]
    write(tmp_path, rows)
    job = make_job(tmp_path, columns={"known": ["price"]}, frequency="MS", horizon=3)
    for moment in ("2024-02-01", "2024-02-20"):
        frame = read_source(job, pd.Timestamp(moment))
        assert frame["price"].tolist() == [1, 2, 3, 4, 5]
        assert frame["sold"].notna().sum() == 2


def test_without_known_covariates_nothing_later_is_seen(tmp_path):
    """Past covariates are of no use behind the moment a run stands at."""
    write(tmp_path, FUTURE[:1] + FUTURE[2:3])
    job = make_job(tmp_path, columns={"past": ["price"]})
    assert read_source(job, pd.Timestamp("2024-01-03"))["timestamp"].dt.day.tolist() == [2]


def test_a_bad_cell_within_the_horizon_is_named(tmp_path):
    """Of a row behind as_of the known covariate is looked at, and named where it is no number."""
    write(tmp_path, FUTURE)
    with pytest.raises(SourceError, match=r"column 'price', line 5: 'oops'"):
        read_source(make_job(tmp_path, columns=COLUMNS, horizon=3), pd.Timestamp("2024-01-02"))


def test_several_files_are_one_source(tmp_path):
    """Parts in any format become one panel; each row is found again in its file."""
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", ROWS[:2], "1.csv")
    write(tmp_path / "data", ["west\t2024-01-04\t9\tb\n"], "2.tsv", "region\twhen\tsold\tshop\n")
    frame = pd.DataFrame({"shop": ["a", "b"], "when": pd.to_datetime(["2024-01-05"] * 2), "sold": [7, 8]})
    frame.to_parquet(tmp_path / "data" / "3.parquet")
    write(tmp_path / "data", ROWS[2:], "4.csv.gz")
    job = make_job(tmp_path, "data")
    panel = ingest_source(job)
    rows = read_panel(panel)
    assert rows["item_id"].tolist() == ["a"] * 3 + ["b"] * 4
    np.testing.assert_array_equal(rows["sold"], [np.nan, 3, 7, 4, 5, 9, 8])
    places = [panel.place(row) for row in rows[SOURCE_ROW]]
    assert places == [
        "line 2 of 4.csv.gz",
        "line 3 of 1.csv",
        "row 1 of 3.parquet",
        "line 2 of 1.csv",
        "line 3 of 4.csv.gz",
        "line 2 of 2.tsv",
        "row 2 of 3.parquet",
    ]
    listed = make_job(tmp_path, ["data/4.csv.gz", "data/3.parquet", "data/2.tsv", "data/1.csv"])
    content = (tmp_path / panel.path).read_bytes()
    assert ingest_source(listed) == panel
    assert (tmp_path / panel.path).read_bytes() == content


def test_one_file_without_rows_among_several(tmp_path, caplog):
    """A day on which nothing was sold is told, not refused; without any row there is nothing to do."""
    write(tmp_path, [], "1.csv")
    write(tmp_path, ROWS, "2.csv")
    with caplog.at_level("WARNING"):
        assert len(read_source(make_job(tmp_path, "*.csv"))) == 4
    assert "1.csv has a header but no rows" in caplog.text
    write(tmp_path, [], "2.csv")
    with pytest.raises(SourceError, match=r"source.path \(2 files\) has a header but no rows"):
        read_source(make_job(tmp_path, "*.csv"))


def test_every_file_must_have_the_columns(tmp_path):
    """The file that lacks a column is named."""
    write(tmp_path, ROWS, "1.csv")
    write(tmp_path, ["a,2024-01-01\n"], "2.csv", "shop,when\n")
    with pytest.raises(SourceError, match=r"2.csv has no column 'sold'; it has shop, when"):
        read_source(make_job(tmp_path, "*.csv"))


NAMES = ['sold "net"', "sold; DROP TABLE runs;--", "umsatz (€) größe", "売上", "it's", "a,b", "%s :x {y}", " padded "]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_column_names_of_every_kind(tmp_path, name, ending):
    """Quotes, spaces, SQL and other scripts in a name are part of the name."""
    frame = pd.DataFrame({"shop": ["a", "a"], "when": ["2024-01-01", "2024-01-02"], name: [1, 2]})
    if ending == "csv":
        frame.to_csv(tmp_path / "sales.csv", index=False)
    else:
        frame.to_parquet(tmp_path / "sales.parquet")
    panel = ingest_source(make_job(tmp_path, f"sales.{ending}", columns={"target": [name]}))
    assert read_panel(panel)[name].tolist() == [1.0, 2.0]


def test_wide_layouts_share_the_way(tmp_path):
    """A column per series becomes rows as well; a bad cell is named by the column of the file."""
    header, rows = "when,QTY_a,QTY_b,temp\n", ["2024-01-01,1,2,20\n", "2024-01-02,3,x,21\n"]
    source = {"path": "sales.csv", "layout": "column_per_series", "series_columns": {"sold": "QTY_{shop}"}}
    job = make_job(tmp_path, source, columns={"past": ["temp"]})
    write(tmp_path, rows, header=header)
    with pytest.raises(SourceError, match=r"sales.csv, column 'QTY_b', line 3: 'x' is no finite number"):
        read_source(job)
    frame = read_source(job, pd.Timestamp("2024-01-01"))
    assert frame[["item_id", "sold", "temp", SOURCE_ROW]].to_numpy().tolist() == [["a", 1, 20, 2], ["b", 2, 20, 2]]
