"""`moirai init` on every shape of data: what is proposed, and that ingest reads with it what was written."""

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.errors import JobError, SourceError
from tasks.infer import infer_job
from tasks.inference import table
from tasks.ingest import read_raw
from tasks.job import load_job

PASTA = Path(__file__).parents[1] / "data" / "pasta_sales" / "hierarchical_sales_data.csv.gz"


def write(frame, path, **options):
    """Write a frame as CSV without its index."""
    frame.to_csv(path, index=False, **options)
    return path


def values(length, period=12, scale=1.0):
    """A season, a trend and noise."""
    steps = np.arange(length)
    noise = np.random.default_rng(length).normal(0, 0.3, length)
    return scale * (50 + steps / length + 5 * np.sin(2 * np.pi * steps / period) + noise)


def settings(data, **options):
    """Value per setting that is proposed."""
    return {finding.setting: finding.value for finding in infer_job(data, **options).findings}


def finding(data, setting, **options):
    """What is proposed for one setting, or None."""
    return next((each for each in infer_job(data, **options).findings if each.setting == setting), None)


def read(data, folder, **options):
    """The raw panel that ingest reads with the proposed job file, once that is written."""
    path = folder / "job.yaml"
    path.write_text(infer_job(data, **options).to_yaml(folder), encoding="utf-8")
    return read_raw(load_job(path))


@pytest.mark.parametrize(
    ("texts", "frequency", "first"),
    [
        ([f"{year} W{week:02}" for year in (2001, 2002) for week in range(1, 53)], "W-MON", "2001-01-01"),
        ([f"{year}-Q{quarter}" for year in range(1998, 2010) for quarter in range(1, 5)], "QS", "1998-01-01"),
        ([f"{year} M{month:02}" for year in range(2001, 2006) for month in range(1, 13)], "MS", "2001-01-01"),
    ],
)
def test_periods_as_text(tmp_path, texts, frequency, first):
    """Weeks, quarters and months as text are time stamps of their first day."""
    path = write(pd.DataFrame({"period": texts, "sales": values(len(texts))}), tmp_path / "a.csv")
    assert settings(path)["frequency"] == frequency
    assert "first day" in finding(path, "columns.timestamp").why
    assert read(path, tmp_path).frame["timestamp"].iloc[0] == pd.Timestamp(first)


def test_dates_in_parts(tmp_path):
    """Columns named year, month, day and hour are the time stamp together, and no values."""
    stamps = pd.date_range("2020-01-01", periods=24 * 40, freq="h")
    parts = {part: getattr(stamps, part) for part in ("year", "month", "day", "hour")}
    path = write(
        pd.DataFrame({"No": range(len(stamps)), **parts, "pm2.5": values(len(stamps), 24)}), tmp_path / "a.csv"
    )
    found = settings(path)
    assert found["columns.timestamp"] == {part: part for part in parts}
    assert (found["columns.target"], found["frequency"], found["season"]) == (["pm2.5"], "h", 24)
    assert (read(path, tmp_path).frame["timestamp"].to_numpy() == stamps.to_numpy()).all()


@pytest.mark.parametrize("written", ["%Y-%m-%d", "%d.%m.%Y"])
def test_date_and_time_of_day(tmp_path, written):
    """A column with the day and one with the time of day are the time stamp together."""
    stamps = pd.date_range("2020-01-01", periods=24 * 20, freq="h")
    frame = pd.DataFrame({"date": stamps.strftime(written), "time": stamps.strftime("%H:%M"), "load": values(480, 24)})
    path = write(frame, tmp_path / "a.csv")
    assert settings(path)["columns.timestamp"] == ["date", "time"]
    assert (read(path, tmp_path).frame["timestamp"].to_numpy() == stamps.to_numpy()).all()


def test_time_stamps_with_zone_are_kept_in_utc(tmp_path):
    """A zone in the time stamps asks for the one that time is kept in; it is said why."""
    stamps = pd.date_range("2024-03-25", periods=24 * 14, freq="h", tz="Europe/Berlin")
    path = write(pd.DataFrame({"time": stamps, "load": values(len(stamps), 24)}), tmp_path / "a.csv")
    zone = finding(path, "source.to_timezone")
    assert (zone.value, zone.confidence) == ("UTC", "likely")
    assert "name their zone" in zone.why
    expected = stamps.tz_convert("UTC").tz_localize(None)
    assert (read(path, tmp_path).frame["timestamp"].to_numpy() == expected.to_numpy()).all()


def tourism():
    """Three keys, of which two tell the series apart, a row number and one value."""
    frames = [
        pd.DataFrame({
            "Quarter": [f"{year} Q{quarter}" for year in range(2000, 2010) for quarter in range(1, 5)],
            "Region": region,
            "State": state,
            "Purpose": purpose,
            "Trips": values(40, 4, scale),
        })
        for scale, (region, state) in enumerate([("North", "A"), ("South", "A"), ("Bay/West", "B")], start=1)
        for purpose in ("Business", "Holiday")
    ]  # fmt: skip
    frame = pd.concat(frames, ignore_index=True)
    frame.insert(0, "rownames", range(1, len(frame) + 1))
    return frame


def test_the_fewest_columns_that_tell_series_apart_together(tmp_path):
    """Where no column alone tells series apart, the fewest that do so together are named in their order."""
    path = write(tourism(), tmp_path / "a.csv")
    item = finding(path, "columns.item_id")
    assert (item.value, item.confidence) == (["Region", "Purpose"], "likely")
    assert "6 series" in item.why
    found = settings(path)
    assert found["columns.static"] == ["Region", "State", "Purpose"]
    assert (found["columns.target"], found["frequency"], found["horizon"]) == (["Trips"], "QS", 8)
    assert read(path, tmp_path).frame["item_id"].nunique() == 6


def test_static_columns(tmp_path, monkeypatch):
    """Text and numbers that are the same throughout each series are static."""
    months = pd.date_range("2015-01-01", periods=40, freq="MS")
    frames = [
        pd.DataFrame({"month": months, "shop": shop, "city": city, "area": area, "open": "yes", "sold": values(40)})
        for shop, city, area in [("a", "Rome", 80.5), ("b", "Oslo", 120.0), ("c", "Oslo", 95.0)]
    ]
    path = write(pd.concat(frames), tmp_path / "a.csv")
    found = settings(path)
    assert found["columns.item_id"] == "shop"
    assert found["columns.static"] == ["city", "area"]
    assert read(path, tmp_path).static["city"].tolist() == ["Rome", "Oslo", "Oslo"]
    monkeypatch.setattr(table, "SAMPLE", 4_000)  # nobody knows whether a number stays the same in what follows
    assert settings(path)["columns.static"] == ["city"]


def test_columns_of_pasta_sales_are_series(tmp_path):
    """236 columns become 118 series with sales and, beside them, promotions."""
    found = settings(PASTA)
    assert found["source.layout"] == "column_per_series"
    assert found["source.series_columns"] == {"QTY": "QTY_{group}_{item}", "PROMO": "PROMO_{group}_{item}"}
    assert (found["columns.item_id"], found["columns.target"]) == (["group", "item"], ["QTY"])
    assert (found["columns.checked"], found["frequency"], found["season"]) == (["PROMO"], "D", 7)
    frame = read(PASTA, tmp_path).frame
    assert (frame["item_id"].nunique(), len(frame)) == (118, 118 * 1798)


def many_series(names, frequency="MS", length=60):
    """A column of time and a column per series; the second one starts late."""
    stamps = pd.date_range("2010-01-01", periods=length, freq=frequency)
    columns = {name: values(length, 12, 1 + place / 10) for place, name in enumerate(names)}
    columns[names[1]][: length // 2] = np.nan
    return pd.DataFrame({"month": stamps, **columns})


def test_many_columns_without_pattern_are_series(tmp_path):
    """Twenty or more columns of one kind are a series each, named by the header."""
    names = [f"CES{number:04}" for number in range(25)]
    path = write(many_series(names), tmp_path / "a.txt", sep="\t")
    found = settings(path)
    assert found["source.series_columns"] == {"value": "{series}"}
    assert (found["source.delimiter"], found["columns.item_id"], found["columns.target"]) == ("\t", "series", ["value"])
    assert (found["frequency"], found["season"], found["context"]) == ("MS", 12, 64)
    assert sorted(read(path, tmp_path).frame["item_id"].unique()) == names


def test_columns_of_text_are_kept_out_of_series(tmp_path):
    """Where a pattern would also match text, the columns are listed; weather is shared by all series."""
    names = [f"shop{number}" for number in range(21)]
    path = write(many_series(names).assign(note="x", temp=values(60)), tmp_path / "a.csv")
    found = settings(path)
    assert found["source.series_columns"] == {"value": names}
    assert found["columns.checked"] == ["temp"]
    assert read(path, tmp_path).frame["item_id"].nunique() == 21


def test_a_family_inside_a_panel(tmp_path):
    """A column that tells shops apart and a column per product together name the series."""
    names = [f"sales_p{number}" for number in range(20)]
    frames = [many_series(names).assign(shop=shop) for shop in ("a", "b")]
    path = write(pd.concat(frames), tmp_path / "a.csv")
    found = settings(path)
    assert found["columns.item_id"] == ["shop", "item"]
    assert found["source.series_columns"] == {"sales": "sales_{item}"}
    assert read(path, tmp_path).frame["item_id"].nunique() == 40


def test_named_columns_are_targets_and_no_family(tmp_path):
    """A target that is a column of the file is forecast as it stands."""
    path = write(many_series([f"QTY_{number}" for number in range(25)]), tmp_path / "a.csv")
    found = settings(path, targets=["QTY_3"])
    assert found["columns.target"] == ["QTY_3"]
    assert "source.layout" not in found


def test_features_beside_a_target_are_no_series(tmp_path):
    """Many lags beside a column that is named like a target do not hide it; a target that is not there is refused."""
    frame = many_series([f"lag_{number}" for number in range(25)]).assign(sales=values(60))
    path = write(frame, tmp_path / "a.csv")
    assert settings(path)["columns.target"] == ["sales"]
    assert settings(path, targets=["lag"])["source.series_columns"] == {"lag": "lag_{item}"}
    with pytest.raises(SourceError, match="target 'profit' is not there"):
        infer_job(path, targets=["profit"])


def test_rows_that_are_series_without_time_stamps(tmp_path):
    """V1, V2, ... with one series per row: frequency from the file's name, and a start, both as guesses."""
    series = {f"H{number}": values(150 - 20 * number, 24) for number in range(1, 5)}
    frame = pd.DataFrame([[name, *row] for name, row in series.items()])
    frame.columns = [f"V{number}" for number in range(1, len(frame.columns) + 1)]
    path = write(frame, tmp_path / "Hourly-train.csv")
    found = settings(path)
    assert (found["source.layout"], found["source.start"]) == ("row_per_series", "2000-01-01")
    assert (found["columns.item_id"], found["frequency"], found["season"]) == ("V1", "h", 24)
    guess = finding(path, "frequency")
    assert guess.confidence == "guess"
    assert "Hourly-train.csv" in guess.why
    panel = read(path, tmp_path).frame
    assert panel.groupby("item_id").size().to_dict() == {name: len(row) for name, row in series.items()}


def test_rows_that_are_series_with_nothing_that_tells_the_frequency(tmp_path):
    """Then the frequency is a guess that says which ones there are."""
    folder = tmp_path / "x"
    folder.mkdir()
    frame = pd.DataFrame([["a", *range(30)], ["b", *range(30)]])
    frame.columns = ["id", *(f"V{number}" for number in range(30))]
    guess = finding(write(frame, folder / "table.csv"), "frequency")
    assert guess.confidence == "guess"
    assert "set h, D, W-MON, MS, QS or YS" in guess.why


@pytest.mark.parametrize(
    ("header", "frequency"),
    [
        ([str(year) for year in range(1990, 2015)], "YS"),
        ([f"{year} Q{quarter}" for year in range(2000, 2006) for quarter in range(1, 5)], "QS"),
        ([f"{day:02}.01.2024" for day in range(1, 31)], "D"),
    ],
)
def test_rows_that_are_series_with_time_stamps_in_the_header(tmp_path, header, frequency):
    """The header tells the frequency; columns of text beside the values are static."""
    rows = [[name, region, *values(len(header))] for name, region in (("a", "n"), ("b", "s"), ("c", "s"))]
    path = write(pd.DataFrame(rows, columns=["country", "region", *header]), tmp_path / "a.csv")
    found = settings(path)
    assert (found["source.layout"], found["frequency"]) == ("row_per_series", frequency)
    assert (found["columns.item_id"], found["columns.static"]) == ("country", ["region"])
    assert "source.start" not in found
    assert len(read(path, tmp_path).frame) == 3 * len(header)


def shop(length=24 * 40, behind=0):
    """Hourly sales with weather, price, promotion and the name of a holiday, some of them known further than sales."""
    stamps = pd.date_range("2024-01-01", periods=length + behind, freq="h")
    frame = pd.DataFrame({"time": stamps, "sales": values(length + behind, 24), "temp": values(length + behind, 24)})
    frame["price"] = 2 + np.arange(len(frame)) % 5 / 10
    frame["promo"] = np.arange(len(frame)) % 7 // 6
    frame["holiday"] = np.where(stamps.day == 6, "epiphany", "none")
    frame.loc[frame.index >= length, ["sales", "temp"]] = np.nan
    return frame


def test_covariates_that_are_filled_behind_the_last_target_are_known(tmp_path):
    """Only what the file shows to be known in advance is proposed as known, and the horizon is no longer than that."""
    path = write(shop(behind=36), tmp_path / "a.csv")
    found = settings(path, targets=["sales"])
    assert found["columns.known"] == ["price", "promo", "holiday"]
    assert (found["columns.categorical"], found["columns.checked"]) == (["holiday"], ["temp"])
    assert found["horizon"] == 36
    raw = read(path, tmp_path, targets=["sales"])
    assert raw.levels["holiday"] == ["epiphany", "none"]
    assert raw.frame["price"].notna().all()


def test_without_rows_behind_the_target_nothing_is_known(tmp_path):
    """The same columns are only checked where the file ends with the target."""
    found = settings(write(shop(), tmp_path / "a.csv"), targets=["sales"])
    assert "columns.known" not in found
    assert found["columns.checked"] == ["temp", "price"]


def test_irregular_time_stamps_are_aggregated(tmp_path):
    """Events at odd moments get a usual frequency at which most steps have a row, and the mean, as guesses."""
    gaps = np.random.default_rng(0).exponential(20, 3000)
    stamps = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.cumsum(gaps).round(), unit="min")
    path = write(pd.DataFrame({"time": stamps, "level": values(3000, 72)}), tmp_path / "a.csv")
    found = settings(path)
    assert (found["frequency"], found["transform.off_grid"], found["transform.duplicates"]) == ("h", "floor", "mean")
    assert finding(path, "frequency").confidence == "guess"
    assert "share a grid point" in finding(path, "transform.duplicates").why


def test_sporadic_days_stay_days(tmp_path):
    """Rows on some days only lie on the daily grid; nothing is moved or aggregated."""
    rng = np.random.default_rng(1)
    stamps = pd.date_range("2020-01-01", periods=1200, freq="D")[rng.random(1200) < 0.45]
    path = write(pd.DataFrame({"day": stamps, "sold": values(len(stamps), 7)}), tmp_path / "a.csv")
    found = settings(path)
    assert found["frequency"] == "D"
    assert "transform.off_grid" not in found
    assert found["validation.max_missing"] == 0.55  # otherwise the one series would be in quarantine


def test_thresholds_that_the_data_would_fail_are_changed(tmp_path):
    """Series shorter than horizon + season would all be put in quarantine; the proposal says so and forecasts them."""
    weeks = pd.date_range("2024-01-01", periods=40, freq="W-MON")
    frames = [pd.DataFrame({"week": weeks, "shop": name, "sold": values(40)}) for name in "abc"]
    path = write(pd.concat(frames), tmp_path / "a.csv")
    found = settings(path)
    assert (found["horizon"], found["season"], found["validation.min_length"]) == (8, 52, 16)
    assert "horizon + season" in finding(path, "validation.min_length").why


def test_values_that_cannot_be_get_ranges(tmp_path):
    """A sensor's impossible readings and a code for missing values are named with their counts; a spike is not."""
    frame = pd.DataFrame({"time": pd.date_range("2024-01-01", periods=2000, freq="h"), "load": values(2000, 24)})
    frame["temp"] = values(2000, 24) + 230
    frame["flow"] = values(2000, 24)
    frame.loc[[7, 9], "temp"] = 0
    frame.loc[100:220, "flow"] = -999
    frame.loc[500, "load"] = 90
    ranges = finding(write(frame, tmp_path / "a.csv"), "validation.ranges", targets=["load"])
    assert set(ranges.value) == {"temp", "flow"}
    assert 200 < ranges.value["temp"]["min"] < frame["temp"].nlargest(1990).min()
    assert "temp is 0 in 2 of 2,000 rows" in ranges.why
    assert "flow is -999 in 121 of 2,000 rows" in ranges.why


def test_a_folder_and_a_glob(tmp_path):
    """Files with the same columns are looked at as one table, wherever the job file stands."""
    frame = tourism()
    data = tmp_path / "data"
    data.mkdir()
    for region, rows in frame.groupby("Region"):
        write(rows.drop(columns="rownames"), data / f"{region.replace('/', '_')}.csv")
    for path, name in ((data, "data"), (data / "*.csv", "data")):
        found = settings(path)
        assert (found["name"], found["columns.item_id"]) == (name, ["Region", "Purpose"])
        assert "3 files" in finding(path, "source.path").why
        assert len(read(path, tmp_path).frame) == len(frame)
    write(frame[["Quarter", "Trips"]], data / "z.csv")
    with pytest.raises(SourceError, match=r"z.csv has other columns \(Quarter, Trips\)"):
        infer_job(data)


def test_parquet(tmp_path):
    """Types are taken as they are: dates, zones, truth values, numbers with gaps."""
    frame = tourism().drop(columns="Quarter")
    frame["when"] = pd.date_range("2000-01-01", periods=40, freq="MS", tz="UTC").tolist() * 6
    frame["is_open"] = True
    frame.loc[3, "Trips"] = np.nan
    frame.to_parquet(tmp_path / "trips.parquet")
    found = settings(tmp_path / "trips.parquet")
    assert (found["columns.timestamp"], found["source.to_timezone"], found["frequency"]) == ("when", "UTC", "MS")
    assert found["columns.item_id"] == ["Region", "Purpose"]
    panel = read(tmp_path / "trips.parquet", tmp_path).frame
    assert (len(panel), int(panel["Trips"].isna().sum())) == (240, 1)


def test_compact_dates_as_numbers_get_a_format(tmp_path):
    """20240131 is text in CSV, and a number in Parquet, which needs the format."""
    frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=90).strftime("%Y%m%d").astype(int)})
    frame["sold"] = values(90, 7)
    frame.to_parquet(tmp_path / "a.parquet")
    assert settings(tmp_path / "a.parquet")["source.timestamp_format"] == "%Y%m%d"
    assert read(tmp_path / "a.parquet", tmp_path).frame["timestamp"].iloc[-1] == pd.Timestamp("2024-03-30")
    assert "source.timestamp_format" not in settings(write(frame, tmp_path / "a.csv"))


def test_a_database(tmp_path, monkeypatch):
    """A query is looked at through its URL; the path of a database file follows the job file."""
    (tmp_path / "jobs").mkdir()
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        tourism().to_sql("trips", connection, index=False)
    connection.close()
    monkeypatch.chdir(tmp_path)
    options = {"query": "SELECT Quarter, Region, Purpose, Trips FROM trips"}
    found = settings("sqlite:///shop.db", **options)
    assert (found["name"], found["source.query"]) == ("shop", options["query"])
    assert (found["columns.item_id"], found["frequency"]) == (["Region", "Purpose"], "QS")
    assert len(read("sqlite:///shop.db", tmp_path / "jobs", **options).frame) == 240
    assert load_job("jobs/job.yaml").source.url == "sqlite:///../shop.db"


def test_a_database_needs_a_query_and_no_password(tmp_path):
    """What is missing or must not be there is said on one line."""
    with pytest.raises(SourceError, match="say with --query"):
        infer_job("sqlite:///shop.db")
    with pytest.raises(JobError, match=r"write \$\{NAME\} in its place"):
        infer_job("postgresql://me:secret@host/shop", query="SELECT 1")
    with pytest.raises(SourceError, match="--query goes with the URL"):
        infer_job(write(tourism(), tmp_path / "a.csv"), query="SELECT 1")


def test_one_bad_time_stamp_is_named(tmp_path):
    """Where half of a column are time stamps, the first one that is none is named, and not the whole column."""
    frame = pd.DataFrame({"day": ["2024-01-01", "2024-01-02", "soon", "2024-01-04"], "sold": [1, 2, 3, 5]})
    with pytest.raises(SourceError, match="column 'day', row 3: 'soon' is no time stamp that can be read"):
        infer_job(write(frame, tmp_path / "a.csv"))


def test_rows_that_do_not_fit_the_header(tmp_path):
    """A field too many in every row is refused; names with line breaks stay on one line of the error."""
    (tmp_path / "a.csv").write_text("day,sold\n" + "2024-01-01,1,\n2024-01-02,2,\n" * 3)
    with pytest.raises(SourceError, match=r"check its delimiters and quotes|is no table"):
        infer_job(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text('"a\nb",c\nx,1\ny,2\n')
    with pytest.raises(SourceError, match=r"tried a b \(x\), c \(1\)"):
        infer_job(tmp_path / "b.csv")


def test_text_and_parquet_in_one_folder(tmp_path):
    """Files of two kinds are not looked at as one table."""
    write(tourism(), tmp_path / "a.csv")
    tourism().to_parquet(tmp_path / "b.parquet")
    with pytest.raises(SourceError, match="text and Parquet files; give a glob"):
        infer_job(tmp_path)
