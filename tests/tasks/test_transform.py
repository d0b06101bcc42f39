"""Transform: the grid of every frequency, one policy per defect, everything changed counted."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.errors import ValidationError
from tasks.ingest import ingest_source
from tasks.job import Job, job_from_settings, load_job
from tasks.panel import SOURCE_ROW, SourcePart, read_beside, read_panel, write_panel
from tasks.transform import clean_frame, transform, transform_panel

EXAMPLE = Path(__file__).parents[2] / "deployments" / "examples" / "metro_traffic" / "job.yaml"
NAN = np.nan


def make_job(frequency: str = "h", **settings) -> Job:
    """A job with targets y and checked x, in which y is plausible up to 100."""
    return job_from_settings(
        {
            "name": "test",
            "source": {"path": "none.csv"},
            "columns": {"timestamp": "t", "target": ["y"], "checked": ["x"], "item_id": "i"},
            "frequency": frequency,
            "horizon": 2,
            "validation": {"ranges": {"y": {"max": 100}}},
            **settings,
        },
        folder=Path.cwd(),
    )


def make_raw(stamps, y, x=None, item="a") -> pd.DataFrame:
    """A raw panel of one series."""
    stamps = pd.to_datetime(list(stamps))
    y = np.asarray(y, dtype=float)
    return pd.DataFrame(
        {
            "item_id": item,
            "timestamp": stamps,
            SOURCE_ROW: np.arange(2, len(stamps) + 2),
            "y": y,
            "x": np.asarray(x, dtype=float) if x is not None else np.zeros(len(stamps)),
        }
    )


def counts(changes) -> dict:
    """The changes as rule (and column) -> count."""
    return {(c.rule, c.column) if c.column else c.rule: c.count for c in changes}


def test_regular_panel_is_left_as_it_is():
    """A panel that is already clean keeps its values, and no change is reported."""
    raw = make_raw(pd.date_range("2024", periods=4, freq="h"), [1, NAN, 3, 4])
    clean, changes, _ = clean_frame(raw, make_job(), [])
    assert changes == []
    pd.testing.assert_frame_equal(clean, raw.drop(columns=SOURCE_ROW))


@pytest.mark.parametrize(
    ("frequency", "start"),
    [
        ("h", "2024-01-01 05:00"),
        ("D", "2024-02-27"),
        ("15min", "2024-01-01 23:15"),
        ("30s", "2024-01-01 23:59:30"),
        ("7h", "2024-01-01 05:00"),
        ("7D", "2024-01-03"),
        ("W", "2023-12-31"),
        ("W-WED", "2024-01-03"),
        ("2W", "2024-01-07"),
        ("MS", "2023-11-01"),
        ("ME", "2023-11-30"),
        ("M", "2023-11-30"),
        ("6MS", "2023-03-01"),
        ("Q", "2023-12-31"),
        ("QS", "2023-10-01"),
        ("QE-FEB", "2023-11-30"),
        ("Y", "2019-12-31"),
        ("YS", "2019-01-01"),
        ("B", "2024-01-04"),
    ],
)
def test_gaps_are_filled_at_every_frequency(frequency, start):
    """At every frequency the grid is that of the pandas offset, and the gap in it is missing."""
    job = make_job(frequency)
    offset = {"M": "ME", "Q": "QE", "Y": "YE"}.get(frequency, frequency)
    stamps = pd.date_range(start, periods=6, freq=offset)
    raw = make_raw(stamps.delete([2, 3]), [0, 1, 4, 5])
    clean, changes, _ = clean_frame(raw, job, [])
    assert clean["timestamp"].tolist() == stamps.tolist()
    np.testing.assert_array_equal(clean["y"], [0, 1, NAN, NAN, 4, 5])
    assert counts(changes) == {"grid": 2}


@pytest.mark.parametrize(
    ("frequency", "stamp", "floored"),
    [
        ("h", "2024-03-15 10:59:59", "2024-03-15 10:00"),
        ("15min", "2024-03-15 10:29", "2024-03-15 10:15"),
        ("D", "2024-03-15 06:00", "2024-03-15"),
        ("W", "2024-03-15 06:00", "2024-03-10"),
        ("MS", "2024-03-15", "2024-03-01"),
        ("ME", "2024-03-15", "2024-02-29"),
        ("QS", "2024-03-15", "2024-01-01"),
        ("YS", "2024-03-15", "2024-01-01"),
        ("B", "2024-03-16", "2024-03-15"),
    ],
)
def test_off_grid_time_stamps_move_down(frequency, stamp, floored):
    """Under floor a time stamp moves to the grid point at or before it, and is counted."""
    job = make_job(frequency, transform={"off_grid": "floor"})
    clean, changes, _ = clean_frame(make_raw([stamp], [1]), job, [])
    assert clean["timestamp"].tolist() == [pd.Timestamp(floored)]
    assert counts(changes) == {"off_grid": 1}


def test_off_grid_time_stamps_are_refused_by_default():
    """Under error a time stamp between two grid points stops, and the text names policy and place."""
    raw = make_raw(["2024-01-01 10:07"], [1])
    with pytest.raises(ValidationError, match=r"transform.off_grid is error.*1 \(first: .* 10:07"):
        clean_frame(raw, make_job(), [])


@pytest.mark.parametrize(
    ("policy", "y", "x"),
    [("keep_first", 1, NAN), ("keep_last", 3, 6), ("mean", 2, 5), ("sum", 6, 10)],
)
def test_repeated_time_stamps(policy, y, x):
    """Each policy makes one row of several; how many were dropped and how many conflict is told."""
    raw = make_raw(["2024-01-01 00:00"] * 3 + ["2024-01-01 01:00"], [1, 2, 3, 9], [NAN, 4, 6, 0])
    clean, changes, _ = clean_frame(raw, make_job(transform={"duplicates": policy}), [])
    np.testing.assert_array_equal(clean[["y", "x"]], [[y, x], [9, 0]])
    assert counts(changes) == {"duplicates": 2}
    assert "contradicting the first row: 2 (y in 2, x in 2)" in changes[0].message


def test_identical_repeats_are_no_conflict():
    """Rows that say the same, missing values included, do not contradict each other."""
    raw = make_raw(["2024-01-01"] * 2 + ["2024-01-02"], [1, 1, 2], [NAN, NAN, 0])
    _, changes, _ = clean_frame(raw, make_job("D"), [])
    assert "contradicting" not in changes[0].message


@pytest.mark.parametrize(("policy", "y"), [("mean", 2), ("sum", 4)])
def test_mean_and_sum_of_nothing_are_missing(policy, y):
    """A column that no repeated row observed stays missing."""
    raw = make_raw(["2024-01-01"] * 2, [1, 3], [NAN, NAN])
    clean, _, _ = clean_frame(raw, make_job("D", transform={"duplicates": policy}), [])
    np.testing.assert_array_equal(clean[["y", "x"]], [[y, NAN]])


@pytest.mark.parametrize("policy", ["mean", "sum"])
def test_names_are_neither_averaged_nor_added_up(policy):
    """The code of a categorical column is that of the first row, and no sum is told of codes."""
    columns = {"timestamp": "t", "target": ["y"], "item_id": "i", "past": ["x"], "categorical": ["x"]}
    raw = make_raw(["2024-01-01"] * 3, [1, 3, 5], [2, 0, 1])
    clean, (change,), _ = clean_frame(raw, make_job("D", columns=columns, transform={"duplicates": policy}), [])
    assert clean["x"].tolist() == [2]
    assert set(change.difference) <= {"y"}


def test_an_irregular_series_is_aggregated():
    """Floor and sum together make an hourly series of events at any time, and its sum stays."""
    raw = make_raw(["2024-01-01 00:07", "2024-01-01 00:50", "2024-01-01 01:00", "2024-01-01 03:59"], [1, 2, 4, 8])
    clean, changes, _ = clean_frame(raw, make_job(transform={"off_grid": "floor", "duplicates": "sum"}), [])
    np.testing.assert_array_equal(clean["y"], [3, 4, NAN, 8])
    assert counts(changes) == {"off_grid": 3, "duplicates": 1, "grid": 1}
    assert [change.difference for change in changes] == [{}, {}, {}]


@pytest.mark.parametrize("rule", ["duplicates", "out_of_range"])
def test_policy_error_refuses(rule):
    """A defect whose policy is error stops, even if validation was left out."""
    raw = make_raw(["2024-01-01"] * 2 + ["2024-01-02"], [1, 1, 101])
    with pytest.raises(ValidationError, match=f"transform.{rule} is error"):
        clean_frame(raw, make_job("D", transform={rule: "error"}), [])


def test_values_out_of_range():
    """Implausible values become missing, bounds are plausible, and under keep nothing changes."""
    raw = make_raw(pd.date_range("2024", periods=4, freq="h"), [1, 100, 101, 2])
    clean, changes, _ = clean_frame(raw, make_job(), [])
    np.testing.assert_array_equal(clean["y"], [1, 100, NAN, 2])
    assert counts(changes) == {("out_of_range", "y"): 1}
    assert "not at most 100, set missing: 1 (101)" in changes[0].message
    kept, changes, _ = clean_frame(raw, make_job(transform={"out_of_range": "keep"}), [])
    assert kept["y"].tolist() == [1, 100, 101, 2]
    assert changes == []


def test_unobserved_ends_are_trimmed():
    """Rows before the first and after the last observed target go, gaps between them stay."""
    raw = make_raw(pd.date_range("2024", periods=6, freq="h"), [NAN, 1, NAN, 2, 999, NAN], [1, 2, 3, 4, 5, 6])
    clean, changes, _ = clean_frame(raw, make_job(), [])
    np.testing.assert_array_equal(clean["y"], [1, NAN, 2])
    assert clean["x"].tolist() == [2, 3, 4]
    assert counts(changes) == {("out_of_range", "y"): 1, "unobserved_ends": 3}


def test_any_observed_target_keeps_a_row():
    """With several targets a series reaches from the first to the last row in which one is observed."""
    columns = {"timestamp": "t", "target": ["y", "x"], "item_id": "i"}
    raw = make_raw(pd.date_range("2024", periods=3, freq="h"), [NAN, 1, NAN], [5, NAN, 6])
    clean, changes, _ = clean_frame(raw, make_job(columns=columns), [])
    assert len(clean) == 3
    assert changes == []


def test_series_keep_their_own_span_and_quarantined_ones_go():
    """Every series has the grid of its own span; a quarantined one leaves no row."""
    parts = [
        make_raw(["2024-01-01 00:00", "2024-01-01 02:00"], [1, 2], item="a"),
        make_raw(["2024-01-01 00:00", "2024-01-01 01:00"], [1, 2], item="b"),
        make_raw(["2024-01-01 05:00", "2024-01-01 08:00"], [3, 4], item="c"),
    ]
    clean, changes, _ = clean_frame(pd.concat(parts, ignore_index=True), make_job(), ["b"])
    assert clean["item_id"].tolist() == ["a"] * 3 + ["c"] * 4
    assert clean["timestamp"].dt.hour.tolist() == [0, 1, 2, 5, 6, 7, 8]
    assert counts(changes) == {"quarantine": 2, "grid": 3}


def test_long_steps_count_from_the_earliest_row_of_all():
    """Steps longer than a day share one phase, that of the earliest row, quarantined or not."""
    parts = [
        make_raw(["2024-01-03"], [1], item="a"),
        make_raw(["2024-01-10", "2024-01-24"], [1, 2], item="b"),
    ]
    clean, _, _ = clean_frame(pd.concat(parts, ignore_index=True), make_job("7D"), ["a"])
    assert clean["timestamp"].dt.day.tolist() == [10, 17, 24]


KNOWN = {"timestamp": "t", "target": ["y"], "item_id": "i", "known": ["x"]}


def test_known_covariates_behind_the_last_target_are_kept_beside():
    """The horizon behind the last target of each series goes to the future; what lies further on is dropped."""
    hours = pd.date_range("2024-01-01", periods=6, freq="h")
    parts = [
        make_raw(hours, [1, 2, 3, NAN, NAN, NAN], [1, 2, 3, 4, 5, 6], item="a"),
        make_raw(hours[:5], [NAN, 1, 2, 3, 4], [0, 1, 2, 3, 4], item="b"),
        make_raw(hours[[0, 1, 3]], [1, 2, NAN], [1, 2, NAN], item="c"),
    ]
    raw = pd.concat(parts, ignore_index=True)
    clean, changes, future = clean_frame(raw, make_job(columns=KNOWN), [])
    assert clean.groupby("item_id").size().to_dict() == {"a": 3, "b": 4, "c": 2}
    assert future.columns.tolist() == ["item_id", "timestamp", "x"]
    assert future["item_id"].tolist() == ["a", "a", "c"]
    assert future["timestamp"].tolist() == [hours[3], hours[4], hours[3]]
    np.testing.assert_array_equal(future["x"], [4, 5, NAN])
    assert counts(changes) == {"horizon": 3, "unobserved_ends": 2}
    assert [change.difference for change in changes] == [{"x": -9}, {"x": -6}]


def test_without_known_columns_there_is_no_future():
    """A job whose covariates are not known in advance has no frame of them; with none behind the end it is empty."""
    raw = make_raw(["2024-01-01", "2024-01-02"], [1, 2])
    assert clean_frame(raw, make_job("D"), [])[2] is None
    assert clean_frame(raw, make_job("D", columns=KNOWN), [])[2].empty


def test_what_belongs_to_a_panel_goes_along(tmp_path):
    """Names behind codes and parts of the source stay, static columns for the series that are left."""
    parts = [make_raw(["2024-01-01", "2024-01-02"], [1, NAN], [0, 1], item=item) for item in "abc"]
    static = pd.DataFrame({"item_id": list("abc"), "region": ["n", "s", "e"]})
    source = [SourcePart(name="a.csv", unit="line", before=0)]
    raw = write_panel(
        pd.concat(parts, ignore_index=True),
        tmp_path,
        stage="raw",
        levels={"x": ["calm", "rain"]},
        parts=source,
        static=static,
    )
    columns = KNOWN | {"categorical": ["x"], "static": ["region"]}
    job = make_job("D", columns=columns, workspace=str(tmp_path / "work"))
    panel = transform_panel(job, raw, ["b"]).panel
    assert panel.levels == {"x": ["calm", "rain"]}
    assert panel.parts == source
    assert read_beside(panel.static_path)["item_id"].tolist() == ["a", "c"]
    assert read_beside(panel.future_path)["x"].tolist() == [1, 1]
    assert read_panel(panel)["item_id"].tolist() == ["a", "c"]


def test_changes_say_what_they_do_to_the_sums():
    """Quarantine, implausible values, dropped repeats and cut ends each tell what their values added up to."""
    hours = pd.date_range("2024-01-01", periods=4, freq="h")
    parts = [
        make_raw([hours[0], *hours, hours[3]], [NAN, 1, 101, 7, 2, 5], [10, 1, 2, 3, 4, 4], item="a"),
        make_raw(hours, [1, 2, 3, NAN], [5, 6, 7, 8], item="b"),
        make_raw(hours, [1, 2, 3, 4], [1, 1, 1, 1], item="out"),
    ]
    raw = pd.concat(parts, ignore_index=True)
    clean, changes, _ = clean_frame(raw, make_job(), ["out"])
    assert {change.rule: change.difference for change in changes} == {
        "quarantine": {"y": -10, "x": -4},
        "out_of_range": {"y": -101},
        "duplicates": {"y": -6, "x": -5},
        "unobserved_ends": {"x": -20},
    }
    for name in ("y", "x"):
        assert raw[name].sum() + sum(change.difference.get(name, 0) for change in changes) == clean[name].sum()


def test_infinite_values_become_missing():
    """An infinite value that validation was told to let through is missing from there on, and counted."""
    raw = make_raw(pd.date_range("2024", periods=3, freq="h"), [1, np.inf, 3], [1, 2, -np.inf])
    clean, changes, _ = clean_frame(raw, make_job(validation={}), [])
    np.testing.assert_array_equal(clean[["y", "x"]], [[1, 1], [NAN, 2], [3, NAN]])
    assert counts(changes) == {("infinite", "y"): 1, ("infinite", "x"): 1}


def test_a_grid_out_of_all_proportion_is_refused():
    """A stray year makes no attempt at a grid of billions of points; the message asks for frequency and year."""
    raw = make_raw(["2022-01-01", "2202-01-01"], [1, 2])
    with pytest.raises(ValidationError, match=r"2 rows from 2022.* have 5,680,195,201 points on the s grid; .* year"):
        clean_frame(raw, make_job("s"), [])


def test_nothing_left_is_an_error():
    """When no observed row is left, the text says so and where to look."""
    raw = make_raw(["2024-01-01"], [1])
    with pytest.raises(ValidationError, match="no observed row is left after quarantine"):
        clean_frame(raw, make_job("D"), ["a"])


def test_the_given_frame_is_not_changed():
    """A function that returns a frame leaves the one it received alone."""
    raw = make_raw(["2024-01-01 00:07"] * 2 + ["2024-01-01 05:00"], [101, 1, 2])
    before = raw.copy(deep=True)
    clean_frame(raw, make_job(transform={"off_grid": "floor", "duplicates": "mean"}), [])
    pd.testing.assert_frame_equal(raw, before)


def test_metro_changes_are_the_known_defects(tmp_path):
    """On the example data every change has the count that its README gives, and files repeat."""
    job = load_job(EXAMPLE).model_copy(update={"workspace": str(tmp_path)})
    raw = ingest_source(job)
    result = transform_panel(job, raw, [])
    assert counts(result.changes) == {
        ("out_of_range", "temp"): 10,
        ("out_of_range", "rain_1h"): 1,
        "duplicates": 7_629,
        "grid": 11_976,
    }
    clean = read_panel(result.panel)
    assert len(clean) == result.panel.rows == 40_575 + 11_976
    source = read_panel(raw).drop_duplicates("timestamp")
    assert clean["traffic_volume"].sum() == source["traffic_volume"].sum()
    assert transform.fn(job, raw, []) == result


def test_clean_panel_survives_writing(tmp_path):
    """A clean panel is a panel: it can be written, and reads back the same."""
    clean, _, _ = clean_frame(make_raw(["2024-01-01", "2024-01-03"], [1, 2]), make_job("D"), [])
    pd.testing.assert_frame_equal(read_panel(write_panel(clean, tmp_path, stage="clean")), clean)
