"""Public data sets: read plain or gzipped, on their grid, with errors that name the file."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moirai.errors import ConfigError, DataError
from moirai.evaluation import public_data
from moirai.evaluation.public_data import DataSet
from moirai.evaluation.tasks import TASKS, tasks_named

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data"
EXAMPLES = ROOT / "deployments" / "examples"


def test_pasta_sales_stand_on_every_calendar_day():
    """118 items; the 27 days without a row are there and missing."""
    frame = public_data.PASTA_DAILY.load(DATA)
    assert frame.shape == (1825, 118)
    assert frame.isna().all(axis=1).sum() == 27


def test_weeks_of_pasta_sales_are_full():
    """Weeks end on Wednesday, and the last one, which is not over, is dropped."""
    frame = public_data.PASTA_WEEKLY.load(DATA)
    assert len(frame) == 260
    assert set(frame.index.day_name()) == {"Wednesday"}


def test_metro_traffic_keeps_the_first_row_of_an_hour():
    """Repeated hours count once, absent ones are missing."""
    frame = public_data.METRO_TRAFFIC.load(EXAMPLES)
    assert frame.notna().sum().item() == 40_575
    assert frame.isna().sum().item() == 11_976


def test_ett_is_summed_into_full_bins(tmp_path):
    """The last day is not over, and is dropped; the first row begins the first bin."""
    quarters = pd.date_range("2016-07-01", periods=96 * 2 + 5, freq="15min", name="date")
    (tmp_path / "ettm1").mkdir()
    pd.DataFrame({"OT": 1.0}, index=quarters).to_csv(tmp_path / "ettm1" / "ETTm1.csv")
    assert public_data.ett_summed("D").load(tmp_path)["OT"].tolist() == [96, 96]
    assert public_data.ett_summed("h").load(tmp_path)["OT"].tolist() == [4] * 49


def test_countries_without_enough_observations_are_left_out(tmp_path):
    """A country needs 30 years before 2012 and one after it."""
    years = np.arange(1970, 2018)
    lengths = {"Long": years, "Short": years[years > 1990], "Ended": years[years < 2012]}
    rows = [pd.DataFrame({"Country": name, "Year": span, "GDP": 1.0}) for name, span in lengths.items()]
    (tmp_path / "global_economy").mkdir()
    pd.concat(rows).to_csv(tmp_path / "global_economy" / "global_economy.csv", index=False)
    frame = public_data.global_economy("GDP").load(tmp_path)
    assert frame.columns.tolist() == ["Long"]
    assert len(frame) == len(years)


def test_m4_series_end_together(tmp_path):
    """Training and test part are joined, and the shorter series begins later."""
    (tmp_path / "m4_hourly").mkdir()
    train, test = (tmp_path / "m4_hourly" / f"Hourly-{part}.csv" for part in ("train", "test"))
    train.write_text("id,V1,V2,V3\nH1,1,2,3\nH2,5,,\n", encoding="utf-8")
    test.write_text("id,V1,V2\nH1,4,5\nH2,6,7\n", encoding="utf-8")
    frame = public_data.M4_HOURLY.load(tmp_path)
    assert frame["H1"].tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(frame["H2"], [np.nan, np.nan, 5, 6, 7])


def test_an_unpacked_file_reads_as_the_gzipped_one(tmp_path):
    """Both forms of a file give the same frame."""
    (tmp_path / "pasta_sales").mkdir()
    with gzip.open(DATA / "pasta_sales" / "hierarchical_sales_data.csv.gz") as packed:
        (tmp_path / "pasta_sales" / "hierarchical_sales_data.csv").write_bytes(packed.read())
    pd.testing.assert_frame_equal(public_data.PASTA_DAILY.load(tmp_path), public_data.PASTA_DAILY.load(DATA))


def test_an_absent_file_is_named(tmp_path):
    """The error says which file and where it belongs."""
    with pytest.raises(DataError, match=r"etth1/ETTh1.csv does not exist; put the published file there"):
        public_data.ETT_HOURLY.load(tmp_path)


@pytest.mark.parametrize("content", ["", "stamp,OT\n2016-07-01,1\n"])
def test_another_file_is_refused(content, tmp_path):
    """A file that is not the published one is one line, whatever pandas says of it."""
    (tmp_path / "etth1").mkdir()
    (tmp_path / "etth1" / "ETTh1.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"ETTh1.csv is not the published one .*; fetch it again") as refused:
        public_data.ETT_HOURLY.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_tasks_are_found_by_name():
    """All of them without a name, otherwise those named, in the order of the table."""
    assert tasks_named([]) == list(TASKS)
    assert [one.name for one in tasks_named(["tourism", "etth1"])] == ["etth1", "tourism"]
    with pytest.raises(ConfigError, match="unknown task 'etth2'; known: etth1, ettm1_short"):
        tasks_named(["tourism", "etth2"])


def test_eleven_tasks_are_configurations_of_gift_eval():
    """The marked tasks, each another configuration; names are told apart, too."""
    marked = [one.gift_eval for one in TASKS if one.gift_eval]
    assert len(marked) == len(set(marked)) == 11
    assert len({one.name for one in TASKS}) == len(TASKS) == 20
    assert all(isinstance(one.data, DataSet) for one in TASKS)
