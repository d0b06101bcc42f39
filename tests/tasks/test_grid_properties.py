"""Whatever passes validation comes out on its grid, and nothing of it is lost untold."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from moirai.evaluation.seasonality import to_offset
from tasks.errors import ValidationError
from tasks.grid import Grid
from tasks.job import Job, job_from_settings
from tasks.panel import SOURCE_ROW, read_beside, read_panel, write_panel
from tasks.transform import clean_frame, transform_panel
from tasks.validate import validate_panel

FREQUENCIES = ["15min", "h", "2h", "D", "7D", "B", "W-SUN", "W-WED", "MS", "ME", "QS", "YS"]
POLICIES = ["keep_first", "keep_last", "mean", "sum"]
NAN = np.nan


def make_job(frequency, policy, folder=None, **settings) -> Job:
    """A job with a target, plausible up to 100, a covariate known in advance and a checked column."""
    return job_from_settings(
        {
            "name": "test",
            "source": {"path": "none.csv"},
            "columns": {"timestamp": "t", "target": ["y"], "known": ["k"], "checked": ["x"], "item_id": "i"},
            "frequency": frequency,
            "horizon": 2,
            "season": 1,
            "transform": {"off_grid": "floor", "duplicates": policy},
            "validation": {"ranges": {"y": {"max": 100}}, "max_missing": 1, "min_length": 1, "max_quarantined": 1},
            **settings,
        },
        folder=folder or Path.cwd(),
    )


VALUE = st.one_of(st.just(NAN), st.integers(-50, 150).map(float), st.floats(-1e6, 99, width=32))


@st.composite
def panels(draw) -> tuple[str, pd.DataFrame]:
    """A frequency and a messy raw panel: repeats, gaps, values missing and out of range, time stamps off the grid."""
    frequency = draw(st.sampled_from(FREQUENCIES))
    grid = pd.date_range("2019-12-25", periods=16, freq=to_offset(frequency))
    parts = []
    for item in range(draw(st.integers(1, 3))):
        steps = sorted(draw(st.lists(st.integers(0, 15), min_size=1, max_size=10)))
        late = draw(st.lists(st.sampled_from([0, 0, 0, 7, 600]), min_size=len(steps), max_size=len(steps)))
        columns = {name: draw(st.lists(VALUE, min_size=len(steps), max_size=len(steps))) for name in ("y", "k", "x")}
        stamps = grid[steps] + pd.to_timedelta(late, unit="s")
        parts.append(pd.DataFrame({"item_id": f"s{item}", "timestamp": stamps, **columns}))
    raw = pd.concat(parts, ignore_index=True).sort_values(["item_id", "timestamp"], kind="stable", ignore_index=True)
    raw.insert(2, SOURCE_ROW, draw(st.permutations(range(2, len(raw) + 2))))
    return frequency, raw


def expected_targets(raw, frequency, policy):
    """The observed targets of the clean panel, computed another way: group by group."""
    plausible = raw["y"].where(raw["y"] <= 100)
    floored = Grid.covering(frequency, raw["timestamp"]).floor(raw["timestamp"])
    how = {
        "keep_first": lambda y: y.iloc[0],
        "keep_last": lambda y: y.iloc[-1],
        "mean": "mean",
        "sum": lambda y: y.sum(min_count=1),
    }
    return plausible.groupby([raw["item_id"], floored]).agg(how[policy]).dropna()


def check_clean(clean, future, job):
    """What every clean panel is: sorted, on its grid without gap or repeat, from first to last observed target."""
    pd.testing.assert_frame_equal(clean, clean.sort_values(["item_id", "timestamp"], ignore_index=True))
    assert not clean.duplicated(["item_id", "timestamp"]).any()
    offset = to_offset(job.frequency)
    for item, series in clean.groupby("item_id"):
        first, last = series["timestamp"].iloc[[0, -1]]
        assert series["timestamp"].tolist() == pd.date_range(first, periods=len(series), freq=offset).tolist()
        assert series["y"].iloc[[0, -1]].notna().all()
        ahead = future.loc[future["item_id"] == item, "timestamp"]
        assert set(ahead) <= set(pd.date_range(last, periods=job.horizon + 1, freq=offset)[1:])
        assert ahead.is_unique
    assert set(future["item_id"]) <= set(clean["item_id"])


def check_sums(raw, clean, changes):
    """What the source added up to and the recorded differences give what the clean panel adds up to."""
    for name in ("y", "k", "x"):
        told = sum(change.difference.get(name, 0) for change in changes)
        assert raw[name].sum() + told == pytest.approx(
            clean[name].sum(), rel=1e-9, abs=1e-9 * (1 + raw[name].abs().sum())
        )


@settings(max_examples=150, deadline=None)
@given(panel=panels(), policy=st.sampled_from(POLICIES))
def test_clean_panels_lie_on_the_grid_and_lose_nothing_untold(panel, policy):
    """Whatever comes in: a complete, sorted, unique grid; rows and values add up with the changes."""
    frequency, raw = panel
    job, expected = make_job(frequency, policy), expected_targets(raw, frequency, policy)
    if expected.empty:
        with pytest.raises(ValidationError, match="no observed row is left"):
            clean_frame(raw, job, [])
        return
    clean, changes, future = clean_frame(raw, job, [])
    np.testing.assert_allclose(clean["y"].dropna(), expected)
    check_clean(clean, future, job)
    check_sums(raw, clean, changes)
    done = {change.rule: change.count for change in changes if change.column is None}
    kept = len(raw) - sum(done.get(rule, 0) for rule in ("duplicates", "unobserved_ends", "horizon"))
    assert len(clean) == kept + done.get("grid", 0)
    assert len(future) == done.get("horizon", 0)
    assert sum(change.count for change in changes if change.rule == "out_of_range") == (raw["y"] > 100).sum()


@settings(max_examples=60, deadline=None)
@given(panel=panels(), policy=st.sampled_from(POLICIES))
def test_a_clean_panel_is_left_alone(panel, policy):
    """Cleaning what is clean changes nothing."""
    frequency, raw = panel
    job = make_job(frequency, policy)
    assume(not expected_targets(raw, frequency, policy).empty)
    clean = clean_frame(raw, job, []).frame
    summed = clean.assign(y=clean["y"].clip(upper=100))  # a sum of plausible values need not be plausible
    again, changes, future = clean_frame(summed, job, [])
    assert changes == []
    assert future.empty
    pd.testing.assert_frame_equal(again, summed)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(panel=panels(), policy=st.sampled_from(POLICIES))
def test_what_passes_validation_is_transformed(panel, policy):
    """Validation lets pass only what the transform can clean, and what it leaves out leaves no row."""
    frequency, raw = panel
    with tempfile.TemporaryDirectory() as folder:
        job = make_job(frequency, policy, Path(folder))
        written = write_panel(raw, Path(folder), stage="raw")
        try:
            validated = validate_panel(job, written, raw["timestamp"].max())
        except ValidationError as error:
            assert "series in quarantine" in str(error)  # noqa: PT017 - every series is without a plausible value
            return
        left_out = [one.item_id for one in validated.quarantined]
        result = transform_panel(job, written, left_out)
        clean, future = read_panel(result.panel), read_beside(result.panel.future_path)
    check_clean(clean, future, job)
    check_sums(raw, clean, result.changes)
    assert set(clean["item_id"]) == set(raw["item_id"]) - set(left_out)
