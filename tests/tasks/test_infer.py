"""`moirai init`: what is inferred from a file, how sure it is, what the job file says, what is refused."""

import gzip
import zipfile

import numpy as np
import pandas as pd
import pytest

from tasks.errors import JobError, SourceError
from tasks.infer import infer_job
from tasks.inference import table
from tasks.ingest import read_source
from tasks.job import load_job


def write(frame, path, **options):
    """Write a frame as CSV without its index."""
    frame.to_csv(path, index=False, **options)
    return path


def series(frequency="h", length=24 * 30, *, period=24, start="2024-01-01", name="sales"):
    """One series with a season, some noise and a trend."""
    steps = np.arange(length)
    noise = np.random.default_rng(0).normal(0, 0.3, length)
    values = 100 + steps / length + 5 * np.sin(2 * np.pi * steps / period) + noise
    return pd.DataFrame({"time": pd.date_range(start, periods=length, freq=frequency), name: values})


def found(path, setting, **options):
    """The finding for one setting."""
    return next(each for each in infer_job(path, **options).findings if each.setting == setting)


@pytest.mark.parametrize(
    ("frequency", "length", "period", "expected"),
    [
        ("h", 24 * 60, 24, {"frequency": "h", "horizon": 48, "season": 24}),
        ("15min", 96 * 30, 96, {"frequency": "15min", "horizon": 48, "season": 96}),
        ("2h", 12 * 60, 12, {"frequency": "2h", "horizon": 48, "season": 12}),
        ("D", 7 * 100, 7, {"frequency": "D", "horizon": 30, "season": 7}),
        ("D", 70, 7, {"frequency": "D", "horizon": 14, "season": 7}),
        ("B", 5 * 100, 5, {"frequency": "B", "season": 5}),
        ("W-WED", 52 * 6, 52, {"frequency": "W-WED", "horizon": 13, "season": 52}),
        ("MS", 12 * 20, 12, {"frequency": "MS", "horizon": 12, "season": 12}),
        ("ME", 12 * 20, 12, {"frequency": "ME", "season": 12}),
        ("QS", 4 * 20, 4, {"frequency": "QS", "horizon": 8, "season": 4}),
        ("QE-OCT", 4 * 20, 4, {"frequency": "QE-OCT", "season": 4}),
        ("YS", 50, 7, {"frequency": "YS", "horizon": 6, "season": 1}),
        ("YE", 50, 7, {"frequency": "YE", "season": 1}),
        ("28D", 60, 7, {"frequency": "28D", "season": 13}),
    ],
)
def test_frequency_season_and_horizon(frequency, length, period, expected, tmp_path):
    """Each usual frequency is recognised, with its season where the values show it and a sensible horizon."""
    start = "2024-01-10" if frequency == "28D" else "2024-01-01"
    path = write(series(frequency, length, period=period, start=start), tmp_path / "a.csv")
    settings = {each.setting: each.value for each in infer_job(path).findings}
    assert {name: settings[name] for name in expected} == expected


def test_gaps_and_duplicates_are_counted_not_confusing(tmp_path):
    """Missing hours and repeated rows leave the frequency alone; the evidence counts them."""
    frame = series().drop(index=range(100, 110))
    path = write(pd.concat([frame, frame.iloc[:50]]).sort_values("time"), tmp_path / "a.csv")
    finding = found(path, "frequency")
    assert (finding.value, finding.confidence) == ("h", "sure")
    assert finding.why == "hourly: 99.9 % of steps are 1 h; 10 hours missing"
    item = found(path, "columns.item_id")
    assert item.value is None
    assert item.why.startswith("50 of 760 rows repeat")


def test_a_season_must_show(tmp_path):
    """Noise has no season: the usual one is proposed as a guess, with what was measured."""
    frame = series()
    frame["sales"] = np.random.default_rng(1).normal(size=len(frame))
    season = found(write(frame, tmp_path / "a.csv"), "season")
    assert (season.value, season.confidence) == (24, "guess")
    assert "is only" in season.why


def test_a_trend_is_no_season(tmp_path):
    """A trend, which correlates at every lag, is not mistaken for a season."""
    frame = series()
    frame["sales"] = np.arange(len(frame)) ** 1.5
    assert found(write(frame, tmp_path / "a.csv"), "season").confidence == "guess"


def test_time_stamps_between_grid_points_are_floored(tmp_path):
    """Readings a few minutes late get the setting that moves them to the grid."""
    frame = series()
    frame["time"] += pd.to_timedelta(np.arange(len(frame)) % 3, unit="min")
    frame["time"] += pd.Timedelta(minutes=5)
    path = write(frame, tmp_path / "a.csv")
    assert found(path, "transform.off_grid").value == "floor"


def panel(items=("north", "south", "west"), length=120):
    """Several series in long layout, with a row number, a key, a flag, a constant and a calendar column."""
    frames = [series("D", length, period=7).assign(region=item, key=number) for number, item in enumerate(items)]
    frame = pd.concat(frames, ignore_index=True)
    frame["key"] += 10
    frame.insert(0, "row", range(1, len(frame) + 1))
    return frame.assign(
        open=(frame["row"] % 5 > 0).astype(int),
        version=3,
        month=frame["time"].dt.month,
        temp=frame["sales"] * 0.1,
        blank="",
    )


def test_a_panel_gets_its_item_id(tmp_path):
    """Repeated time stamps are explained by the column that tells series apart."""
    path = write(panel(), tmp_path / "a.csv")
    finding = found(path, "columns.item_id")
    assert finding.value == "region"
    assert "3 series" in finding.why
    assert "key" in finding.why


def test_what_is_no_value_is_left_out(tmp_path):
    """Row numbers, keys, flags, constants and parts of the date are neither target nor checked, and it is said."""
    path = write(panel(), tmp_path / "a.csv")
    assert found(path, "columns.target").value == ["sales"]
    checked = found(path, "columns.checked")
    assert checked.value == ["temp"]
    for reason in [
        "row (row number)",
        "key",
        "open (two values",
        "version (constant)",
        "month of the time stamp",
        "blank (empty)",
    ]:
        assert reason in checked.why


def test_series_that_no_column_tells_apart_are_refused(tmp_path):
    """Proposing to drop most rows as duplicates would be no help."""
    path = write(panel().drop(columns=["region", "key"]), tmp_path / "a.csv")
    with pytest.raises(SourceError, match=r"several series.*no column tells them apart"):
        infer_job(path)


def test_item_ids_that_look_missing_are_text(tmp_path):
    """NA is Namibia: text columns are taken literally."""
    path = write(panel(("NA", "BW", "ZA")), tmp_path / "a.csv")
    finding = found(path, "columns.item_id")
    assert finding.value == "region"


def wide(**columns):
    """One time column and some numeric ones."""
    frame = series(name="first")
    for name, values in columns.items():
        frame[name] = values(frame["first"])
    return frame


def test_target_by_name(tmp_path):
    """A name like traffic_volume decides, whatever stands beside it."""
    path = write(wide(traffic_volume=lambda x: x * 30, price=lambda x: x * 2), tmp_path / "a.csv")
    target = found(path, "columns.target")
    assert (target.value, target.confidence) == (["traffic_volume"], "likely")
    assert found(path, "columns.checked").value == ["first", "price"]


def test_weather_is_no_target(tmp_path):
    """Where names tell only what describes the circumstances, the rest is the target."""
    path = write(wide(temp=lambda x: x - 80, wind_speed=lambda x: x / 9), tmp_path / "a.csv")
    assert found(path, "columns.target").value == ["first"]


def test_similar_columns_are_all_targets(tmp_path):
    """Columns of one kind are all proposed, as a guess that says what to edit."""
    target = found(write(wide(b=lambda x: x * 2, c=lambda x: x / 3), tmp_path / "a.csv"), "columns.target")
    assert (target.value, target.confidence) == (["first", "b", "c"], "guess")
    assert "checked" in target.why


def test_last_column_when_nothing_tells(tmp_path):
    """Columns of different kinds: the last one is proposed as a guess that names the others."""
    target = found(write(wide(b=lambda x: x * 1e9, c=lambda x: x / 30), tmp_path / "a.csv"), "columns.target")
    assert (target.value, target.confidence) == (["c"], "guess")
    assert "first, b, c" in target.why


def test_named_targets_win(tmp_path):
    """Whoever knows the target says so."""
    path = write(wide(traffic_volume=lambda x: x * 30), tmp_path / "a.csv")
    target = found(path, "columns.target", targets=["first"])
    assert (target.value, target.confidence) == (["first"], "sure")


@pytest.mark.parametrize(("name", "problem"), [("tim", "is not there"), ("time", "holds no numbers")])
def test_named_target_must_be_numeric(name, problem, tmp_path):
    """A named target that cannot be one is refused with those that can."""
    with pytest.raises(SourceError, match=f"{problem}; numeric are sales"):
        infer_job(write(series(), tmp_path / "a.csv"), targets=[name])


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".csv.bz2", ".csv.xz", ".csv.zip"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_compressed_files_and_delimiters(ending, delimiter, tmp_path):
    """The delimiter is found in plain and compressed files; that of the ending is not written down."""
    path = write(series(), tmp_path / f"a{ending}", sep=delimiter)
    job = infer_job(path).to_job(tmp_path)
    assert job.source.delimiter == (None if delimiter == "," else delimiter)
    assert job.columns.timestamp == "time"


def test_encoding_is_found(tmp_path):
    """A file of an old office program is read, and its encoding goes into the job."""
    path = write(series(name="Größe"), tmp_path / "a.csv", encoding="cp1252")
    assert infer_job(path).to_job(tmp_path).source.encoding == "cp1252"
    assert found(path, "columns.target").value == ["Größe"]


@pytest.mark.parametrize(
    "written",
    ["%Y-%m-%d %H:%M", "%Y%m%d", "%Y/%m/%d", "%d.%m.%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d-%b-%Y", "%d/%m/%Y"],
)
def test_ingest_reads_what_was_proposed(written, tmp_path):
    """Whatever the format of the dates, ingest reads with the proposed job what was written."""
    frame = series("D", 60, period=7)
    stamps = frame["time"].to_numpy()
    frame["time"] = frame["time"].dt.strftime(written)
    job = infer_job(write(frame, tmp_path / "a.csv", sep=";")).to_job(tmp_path)
    assert (read_source(job)["timestamp"].to_numpy() == stamps).all()


def test_ambiguous_dates_are_a_guess(tmp_path):
    """01/02 may be January or February: whoever wrote it has to say."""
    frame = series("D", 12, period=7)
    frame["time"] = frame["time"].dt.strftime("%m/%d/%Y")
    finding = found(write(frame, tmp_path / "a.csv"), "source.timestamp_format")
    assert finding.confidence == "guess"
    assert "%d/%m/%Y would fit" in finding.why


def test_years_as_numbers(tmp_path):
    """A column of years is the time column of yearly data, and not a value."""
    frame = pd.DataFrame({"Year": range(1960, 2010), "GDP": np.linspace(1, 9, 50)})
    path = write(frame, tmp_path / "a.csv")
    assert found(path, "columns.timestamp").value == "Year"
    assert found(path, "frequency").value == "YS"
    assert found(path, "columns.target").value == ["GDP"]


def test_only_the_beginning_of_a_large_file_is_read(tmp_path, monkeypatch):
    """A file larger than the sample is judged by whole rows of its beginning, and that is said."""
    monkeypatch.setattr(table, "SAMPLE", 5_000)
    path = write(series(), tmp_path / "a.csv")
    assert "only its first" in found(path, "source.path").why
    assert found(path, "frequency").value == "h"


def test_windows_fit_the_shortest_series(tmp_path):
    """A tenth of the shortest series that is long enough, at most twenty windows; short ones are named."""
    long, short = panel(("a", "b"), 400), panel(("c",), 20)
    path = write(pd.concat([long, short]), tmp_path / "a.csv")
    windows = found(path, "backtest.windows")
    assert windows.value == 2  # 400 / 10 / 30, rounded up
    assert "1 of 3 are shorter" in windows.why
    assert found(write(series("h", 20_000), tmp_path / "b.csv"), "backtest.windows").value == 20


def test_context_holds_the_series(tmp_path):
    """Short series need no long context; long ones get what the model reads."""
    assert found(write(series("D", 100, period=7), tmp_path / "a.csv"), "context").value == 128
    assert found(write(series("h", 5_000), tmp_path / "b.csv"), "context").value == 2048


def test_job_file_loads_and_points_at_the_data(tmp_path):
    """The written file is a job whose source is the file, wherever it is written."""
    data, jobs = tmp_path / "data", tmp_path / "jobs" / "mine"
    data.mkdir()
    jobs.mkdir(parents=True)
    path = write(series(), data / "My Sales-2024.csv")
    inference = infer_job(path)
    (jobs / "job.yaml").write_text(inference.to_yaml(jobs), encoding="utf-8")
    job = load_job(jobs / "job.yaml")
    assert job.source.path == "../../data/My Sales-2024.csv"
    assert job.resolve(job.source.path) == path.resolve()
    assert job == inference.to_job(jobs)
    assert job.name == "my_sales_2024"


def test_job_file_follows_links(tmp_path):
    """A job folder that is a link does not lead the path astray."""
    path = write(series(), tmp_path / "a.csv")
    (tmp_path / "deep" / "jobs").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "deep" / "jobs")
    (link / "job.yaml").write_text(infer_job(path).to_yaml(link))
    job = load_job(link / "job.yaml")
    assert job.resolve(job.source.path) == path.resolve()


def test_job_file_without_folder_is_for_here(tmp_path, monkeypatch):
    """Without a folder paths start at the working directory."""
    write(series(), tmp_path / "a.csv")
    monkeypatch.chdir(tmp_path)
    assert "\n  path: a.csv\n" in infer_job(tmp_path / "a.csv").to_yaml()


def test_job_file_explains_itself(tmp_path):
    """Every finding stands above its setting with its confidence, and the guesses are named at the top."""
    inference = infer_job(write(wide(b=lambda x: x * 2), tmp_path / "a.csv"))
    text = inference.to_yaml(tmp_path)
    flat = " ".join(text.replace("#", " ").split())
    for finding in inference.findings:
        assert f"{finding.confidence}: {' '.join(finding.why.split())}" in flat
    assert "Look first at the guesses: columns.target, horizon." in flat
    assert "steps to forecast" in flat
    assert max(len(line) for line in text.splitlines()) <= 100


def test_many_targets_are_listed_one_a_line(tmp_path):
    """A long list can be edited by deleting lines."""
    frame = series()
    for number in range(15):
        frame[f"QTY_{number}"] = frame["sales"] * (number + 1)
    path = write(frame.drop(columns="sales"), tmp_path / "a.csv")
    text = infer_job(path).to_yaml(tmp_path)
    assert "\n    - QTY_0\n    - QTY_1\n" in text


def test_name_of_the_job(tmp_path):
    """The name is the caller's or the file's; one that cannot be a name is refused."""
    path = write(series(), tmp_path / "a.csv")
    assert found(path, "name", name="mine").value == "mine"
    assert found(path, "name").value == "a"
    with pytest.raises(JobError, match=r"name.*'Not Mine'"):
        infer_job(path, name="Not Mine")


WEEKS = "".join(f"1991 W{week:02},{week % 7}.5\n" for week in range(1, 53))
HOURS = "".join(f"2024-01-01 {hour:02}:00,{hour % 7}.5\n" for hour in range(24))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("time,value\n", "header but no rows"),
        ("value\n1\n2\n", "is no table"),
        ("some text\nwithout any\norder, it is\n", "is no table"),
        (HOURS, "no header"),
        ("time,value,value\n2024-01-01,1,2\n", "more than one column 'value'"),
        ("a,b\nx,1.5\ny,2.5\n", r"no column of time stamps; tried a \(x\), b \(1.5\)"),
        ("time,value\n" + HOURS + "soon,1.5\n", "'time', row 25: 'soon' is no time stamp that can be read"),
        ("time,value\n2024-01-01T00:00Z,1.5\n2024-01-01T01:00,2.5\n2024-01-01T02:00Z,3\n", "row 2: .*no time zone"),
        ("time,word\n2024-01-01,a\n2024-01-02,b\n", "no numeric column to forecast"),
        ("time,one\n2024-01-01,1\n2024-01-02,1\n", r"tried: one \(constant\)"),
        ("time;value\n2024-01-01;1,5\n2024-01-02;2,5\n", "decimal commas are not read"),
        ("item,time,value\na,2024-01-01,1.5\nb,2024-01-01,2.5\nc,2024-01-01,3.5\n", "several series|two different"),
        ("time,value\n" + HOURS + "2024-01-02,1,2,3\n", "line 26.*check its delimiters"),
        ("week,value\n" + WEEKS + "1991 W53,2.5\n", "'week', row 53: '1991 W53' is no time stamp that can be read"),
        ("year,month,day,value\n2010,2,28,1.5\n2010,2,31,2.5\n", "row 2: year 2010, month 2, day 31 is no date"),
        ("2020,2021,2022\n1,2,3\n1,2,3\n", "one series per row, but no column names the series"),
        (",".join(f"V{n}" for n in range(40)) + "\n" + "1.5," * 39 + "2\n", "one series per row, but no column names"),
    ],
)
def test_files_that_cannot_be_used(text, problem, tmp_path):
    """Each is refused on one line that names the file and the mend."""
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(SourceError, match=problem) as caught:
        infer_job(path)
    assert str(path) in str(caught.value) or "two different" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    """A path that leads nowhere or to a folder is said to."""
    with pytest.raises(SourceError, match=r"absent.csv does not exist"):
        infer_job(tmp_path / "absent.csv")
    with pytest.raises(SourceError, match="is a folder"):
        infer_job(tmp_path)


def test_binary_and_damaged_files(tmp_path):
    """What is not text, or not what its ending says, is refused without a traceback of a library."""
    (tmp_path / "a.csv").write_bytes(bytes(range(256)) * 10)
    with pytest.raises(SourceError, match="not a text file"):
        infer_job(tmp_path / "a.csv")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"time,value\n" * 100)[:-12])
    with pytest.raises(SourceError, match="damaged"):
        infer_job(tmp_path / "b.csv.gz")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("a.csv", "a")
        archive.writestr("b.csv", "b")
    with pytest.raises(SourceError, match="2 files"):
        infer_job(tmp_path / "c.zip")


def test_one_time_stamp_is_no_series(tmp_path):
    """A frequency needs two time stamps."""
    (tmp_path / "a.csv").write_text("time,value,other\n2024-01-01,1.5,a\n")
    with pytest.raises(SourceError, match=r"numeric|two different"):
        infer_job(tmp_path / "a.csv")


@pytest.mark.parametrize(("steps", "windows"), [(60, 1), (70, 2), (200, None)])
def test_what_init_proposes_leaves_something_to_train_on(tmp_path, steps, windows):
    """Short series get fewer held-out windows; long ones keep the default."""
    months = pd.date_range("2010-01-01", periods=steps, freq="MS")
    pd.DataFrame({"month": months, "sales": np.arange(steps) % 12 + 5}).to_csv(tmp_path / "m.csv", index=False)
    job = infer_job(tmp_path / "m.csv").to_job(tmp_path)
    assert job.finetune.validation_windows == (4 if windows is None else windows)
    left = steps - (job.backtest.windows + job.finetune.validation_windows) * job.horizon
    assert left >= 32
