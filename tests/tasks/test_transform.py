"""Transform: the grid of every frequency, one policy per defect, everything changed counted."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import ValidationError
from tasks.ingest import ingest_source
from tasks.job import Job, job_from_settings, load_job
from tasks.panel import SOURCE_ROW, read_panel, write_panel
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
    clean, changes = clean_frame(raw, make_job(), [])
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
    clean, changes = clean_frame(raw, job, [])
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
    clean, changes = clean_frame(make_raw([stamp], [1]), job, [])
    assert clean["timestamp"].tolist() == [pd.Timestamp(floored)]
    assert counts(changes) == {"off_grid": 1}


def test_off_grid_time_stamps_are_refused_by_default():
    """Under error a time stamp between two grid points stops, and the text names policy and place."""
    raw = make_raw(["2024-01-01 10:07"], [1])
    with pytest.raises(ValidationError, match=r"transform.off_grid is error.*1 \(first: .* 10:07"):
        clean_frame(raw, make_job(), [])


@pytest.mark.parametrize(
    ("policy", "y", "x"),
    [("keep_first", 1, NAN), ("keep_last", 3, 6), ("mean", 2, 5)],
)
def test_repeated_time_stamps(policy, y, x):
    """Each policy makes one row of several; how many were dropped and how many conflict is told."""
    raw = make_raw(["2024-01-01 00:00"] * 3 + ["2024-01-01 01:00"], [1, 2, 3, 9], [NAN, 4, 6, 0])
    clean, changes = clean_frame(raw, make_job(transform={"duplicates": policy}), [])
    np.testing.assert_array_equal(clean[["y", "x"]], [[y, x], [9, 0]])
    assert counts(changes) == {"duplicates": 2}
    assert "contradicting the first row: 2 (y in 2, x in 2)" in changes[0].message


def test_identical_repeats_are_no_conflict():
    """Rows that say the same, missing values included, do not contradict each other."""
    raw = make_raw(["2024-01-01"] * 2 + ["2024-01-02"], [1, 1, 2], [NAN, NAN, 0])
    _, changes = clean_frame(raw, make_job("D"), [])
    assert "contradicting" not in changes[0].message


def test_mean_of_nothing_is_missing():
    """A column that no repeated row observed stays missing."""
    raw = make_raw(["2024-01-01"] * 2, [1, 3], [NAN, NAN])
    clean, _ = clean_frame(raw, make_job("D", transform={"duplicates": "mean"}), [])
    np.testing.assert_array_equal(clean[["y", "x"]], [[2, NAN]])


@pytest.mark.parametrize("rule", ["duplicates", "out_of_range"])
def test_policy_error_refuses(rule):
    """A defect whose policy is error stops, even if validation was left out."""
    raw = make_raw(["2024-01-01"] * 2 + ["2024-01-02"], [1, 1, 101])
    with pytest.raises(ValidationError, match=f"transform.{rule} is error"):
        clean_frame(raw, make_job("D", transform={rule: "error"}), [])


def test_values_out_of_range():
    """Implausible values become missing, bounds are plausible, and under keep nothing changes."""
    raw = make_raw(pd.date_range("2024", periods=4, freq="h"), [1, 100, 101, 2])
    clean, changes = clean_frame(raw, make_job(), [])
    np.testing.assert_array_equal(clean["y"], [1, 100, NAN, 2])
    assert counts(changes) == {("out_of_range", "y"): 1}
    assert "not at most 100, set missing: 1 (101)" in changes[0].message
    kept, changes = clean_frame(raw, make_job(transform={"out_of_range": "keep"}), [])
    assert kept["y"].tolist() == [1, 100, 101, 2]
    assert changes == []


def test_unobserved_ends_are_trimmed():
    """Rows before the first and after the last observed target go, gaps between them stay."""
    raw = make_raw(pd.date_range("2024", periods=6, freq="h"), [NAN, 1, NAN, 2, 999, NAN], [1, 2, 3, 4, 5, 6])
    clean, changes = clean_frame(raw, make_job(), [])
    np.testing.assert_array_equal(clean["y"], [1, NAN, 2])
    assert clean["x"].tolist() == [2, 3, 4]
    assert counts(changes) == {("out_of_range", "y"): 1, "unobserved_ends": 3}


def test_any_observed_target_keeps_a_row():
    """With several targets a series reaches from the first to the last row in which one is observed."""
    columns = {"timestamp": "t", "target": ["y", "x"], "item_id": "i"}
    raw = make_raw(pd.date_range("2024", periods=3, freq="h"), [NAN, 1, NAN], [5, NAN, 6])
    clean, changes = clean_frame(raw, make_job(columns=columns), [])
    assert len(clean) == 3
    assert changes == []


def test_series_keep_their_own_span_and_quarantined_ones_go():
    """Every series has the grid of its own span; a quarantined one leaves no row."""
    parts = [
        make_raw(["2024-01-01 00:00", "2024-01-01 02:00"], [1, 2], item="a"),
        make_raw(["2024-01-01 00:00", "2024-01-01 01:00"], [1, 2], item="b"),
        make_raw(["2024-01-01 05:00", "2024-01-01 08:00"], [3, 4], item="c"),
    ]
    clean, changes = clean_frame(pd.concat(parts, ignore_index=True), make_job(), ["b"])
    assert clean["item_id"].tolist() == ["a"] * 3 + ["c"] * 4
    assert clean["timestamp"].dt.hour.tolist() == [0, 1, 2, 5, 6, 7, 8]
    assert counts(changes) == {"quarantine": 2, "grid": 3}


def test_long_steps_count_from_the_earliest_row_of_all():
    """Steps longer than a day share one phase, that of the earliest row, quarantined or not."""
    parts = [
        make_raw(["2024-01-03"], [1], item="a"),
        make_raw(["2024-01-10", "2024-01-24"], [1, 2], item="b"),
    ]
    clean, _ = clean_frame(pd.concat(parts, ignore_index=True), make_job("7D"), ["a"])
    assert clean["timestamp"].dt.day.tolist() == [10, 17, 24]


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


@st.composite
def raw_panels(draw) -> pd.DataFrame:
    """Small messy panels: several series, repeats, gaps, values missing and out of range, off-grid."""
    parts = []
    for item in range(draw(st.integers(1, 3))):
        minutes = draw(st.lists(st.integers(0, 40 * 60), min_size=1, max_size=12))
        value = st.one_of(st.just(NAN), st.integers(-50, 150).map(float))
        values = draw(st.lists(value, min_size=len(minutes), max_size=len(minutes)))
        stamps = pd.Timestamp("2024-01-01") + pd.to_timedelta(sorted(minutes), unit="min")
        parts.append(make_raw(stamps, values, values, item=f"s{item}"))
    return pd.concat(parts, ignore_index=True)


@settings(max_examples=150, deadline=None)
@given(raw=raw_panels(), policy=st.sampled_from(["keep_first", "keep_last", "mean"]))
def test_clean_panels_lie_on_the_grid_and_lose_nothing_untold(raw, policy):
    """Whatever comes in: a complete, sorted, unique grid; rows and values add up with the changes."""
    job = make_job(transform={"off_grid": "floor", "duplicates": policy})
    plausible = raw.assign(y=raw["y"].where(raw["y"] <= 100))
    by_hour = plausible.groupby(["item_id", raw["timestamp"].dt.floor("h")])["y"]
    how = {"keep_first": lambda y: y.iloc[0], "keep_last": lambda y: y.iloc[-1], "mean": "mean"}
    expected = by_hour.agg(how[policy]).dropna()
    if expected.empty:
        with pytest.raises(ValidationError, match="no observed row"):
            clean_frame(raw, job, [])
        return
    clean, changes = clean_frame(raw, job, [])
    for _, series in clean.groupby("item_id"):
        steps = series["timestamp"].diff().dropna()
        assert (steps == pd.Timedelta("1h")).all()
        assert not np.isnan(series["y"].iloc[[0, -1]]).any()
    assert clean["item_id"].is_monotonic_increasing
    done = {"duplicates": 0, "unobserved_ends": 0, "grid": 0, **counts(changes)}
    assert len(clean) == len(raw) - done["duplicates"] - done["unobserved_ends"] + done["grid"]
    assert done.get(("out_of_range", "y"), 0) == (raw["y"] > 100).sum()
    assert clean["y"].sum() == pytest.approx(expected.sum())
    assert clean["y"].notna().sum() == len(expected)


def test_a_million_rows_take_seconds():
    """A million rows of a thousand series are cleaned in a few seconds."""
    hours = pd.date_range("2020", periods=1100, freq="h")
    kept = np.random.default_rng(0).random((1000, len(hours))) < 0.9
    raw = pd.DataFrame(
        {
            "item_id": np.repeat([f"s{number:04}" for number in range(1000)], kept.sum(axis=1)),
            "timestamp": np.concatenate([hours[row] for row in kept]),
            SOURCE_ROW: np.arange(kept.sum()),
            "y": 1.0,
            "x": 2.0,
        }
    )
    start = time.perf_counter()
    clean, changes = clean_frame(raw, make_job(), [])
    assert time.perf_counter() - start < 10  # 0.3 s alone on a laptop
    assert len(clean) == len(raw) + counts(changes)["grid"]


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
    clean, _ = clean_frame(make_raw(["2024-01-01", "2024-01-03"], [1, 2]), make_job("D"), [])
    pd.testing.assert_frame_equal(read_panel(write_panel(clean, tmp_path, stage="clean")), clean)
