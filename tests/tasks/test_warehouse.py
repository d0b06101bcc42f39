"""What the warehouse keeps, how a second write changes it, and what it refuses."""

from datetime import UTC, datetime, timedelta
from itertools import count
from math import inf, isnan, nan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import WarehouseError
from tasks.quality import Quarantine
from tasks.warehouse import RunRecord, observation_rows

from .warehouse_rows import NOW, append, forecasts, observations, upsert

ODD_NAMES = ["o'brien\"; DROP TABLE observations; --", "%s ? :x $1", "größe 流量 🚲", " a\n\tb ", "NULL"]


def scores(values=(0.5, nan)):
    """One score per metric."""
    return pd.DataFrame(
        {
            "model_name": "starter",
            "model_version": "1",
            "item_id": "a",
            "target_name": "y",
            "window_origin": pd.Timestamp("2026-01-05"),
            "metric": [f"metric_{place}" for place in range(len(values))],
            "value": values,
        }
    )


def test_an_unchanged_value_adds_no_row_and_a_revised_one_does(warehouse):
    """A second ingest adds exactly the values that differ, under its own known_at."""
    assert append(warehouse, observations([1.0, 2.0, nan])) == 2
    later = NOW + timedelta(days=1)
    assert append(warehouse, observations([1.0, 5.0, 3.0]), known_at=later) == 2
    latest = warehouse.read_observations("job")
    assert latest["value"].tolist() == [1.0, 5.0, 3.0]
    assert latest["known_at"].tolist() == [NOW, later, later]
    assert warehouse.read_observations("job", as_of=NOW)["value"].tolist() == [1.0, 2.0]
    assert warehouse.read_observations("job", as_of=NOW - timedelta(seconds=1)).empty


def test_a_late_ingest_is_filed_at_its_own_moment(warehouse):
    """What was known later stays the latest; what is read as of the late moment is the late value."""
    append(warehouse, observations([5.0]), known_at=NOW)
    early = NOW - timedelta(days=1)
    assert append(warehouse, observations([4.0]), known_at=early) == 1
    assert append(warehouse, observations([4.0]), known_at=early) == 0
    assert warehouse.read_observations("job")["value"].tolist() == [5.0]
    assert warehouse.read_observations("job", as_of=early)["value"].tolist() == [4.0]


def test_two_values_known_at_the_same_moment_are_refused(warehouse):
    """An ingest that contradicts one of the very same moment adds none of its rows."""
    append(warehouse, observations([1.0, 2.0]))
    with pytest.raises(WarehouseError, match=r"a, y at 2026-01-01 01:00:00 was 2 .* now 3"):
        append(warehouse, observations([1.0, 3.0, 4.0]))
    assert warehouse.counts("job")["observations"] == 2


JOBS = count()
INGESTS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.dictionaries(st.tuples(st.sampled_from("ab"), st.integers(0, 1)), st.sampled_from([1.0, 2.0, nan])),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(ingests=INGESTS)
def test_appending_agrees_with_a_naive_model(shared, ingests):
    """Any order of ingests, late ones included, leaves the rows that a loop over dictionaries would."""
    job, rows = f"job-{next(JOBS)}", {}  # rows: (item, hour) -> {moment: value}
    for moment, values in ingests:
        keys = pd.DataFrame(list(values), columns=["item_id", "hour"])
        stamps = pd.Timestamp("2026-01-01") + pd.to_timedelta(keys["hour"].astype(int), unit="h")
        frame = keys[["item_id"]].assign(column_name="y", timestamp=stamps, value=list(values.values()))
        known_at = NOW + timedelta(hours=moment)
        seen = {key: value for key, value in values.items() if not isnan(value)}
        if any(rows.get(key, {}).get(moment, value) != value for key, value in seen.items()):
            with pytest.raises(WarehouseError, match="later known_at"):
                append(shared, frame, known_at, job)
            continue
        new = {key: value for key, value in seen.items() if known(rows, key, moment) != value}
        assert append(shared, frame, known_at, job) == len(new)
        for key, value in new.items():
            rows.setdefault(key, {})[moment] = value
    assert shared.counts(job)["observations"] == sum(len(history) for history in rows.values())
    for moment in range(5):
        frame = shared.read_observations(job, as_of=NOW + timedelta(hours=moment))
        hours = frame["timestamp"].dt.hour
        stored = dict(zip(zip(frame["item_id"], hours, strict=True), frame["value"], strict=True))
        expected = {key: known(rows, key, moment) for key in rows}
        assert stored == {key: value for key, value in expected.items() if value is not None}


def known(rows, key, moment):
    """The value of a key that was latest at a moment."""
    history = {at: value for at, value in rows.get(key, {}).items() if at <= moment}
    return history[max(history)] if history else None


def test_names_and_jobs_are_data(shared):
    """Quotes, SQL, place holders and any script in names come back as they went in, job by job."""
    for job in ("one", "two"):
        for name in ODD_NAMES:
            append(shared, observations([1.0], item=name, column=name), job=job)
    stored = shared.read_observations("one")
    assert sorted(stored["item_id"]) == sorted(ODD_NAMES)
    assert shared.read_observations("one", columns=ODD_NAMES[:1])["column_name"].tolist() == [ODD_NAMES[0]]
    assert shared.read_observations("one", columns=[]).empty
    assert shared.counts("two")["observations"] == len(ODD_NAMES)
    assert shared.counts("'; DROP TABLE runs; --")["runs"] == 0


def test_observation_rows_take_any_column_name():
    """A panel becomes one row per observed value, also of columns named like those of the result."""
    hours = pd.date_range("2026-01-01", periods=2, freq="h")
    panel = pd.DataFrame({"item_id": "a", "timestamp": hours, "value": [1.0, nan], "variable": [3, 4]})
    rows = observation_rows(panel, ["variable", "value"])
    assert list(rows.columns) == ["item_id", "column_name", "timestamp", "value"]
    assert rows["column_name"].tolist() == ["variable", "variable", "value"]
    assert rows["value"].tolist() == [3.0, 4.0, 1.0]


def test_the_same_forecast_twice_leaves_the_same_rows(warehouse):
    """A second write of the same rows changes nothing; another version adds rows of its own."""
    assert upsert(warehouse, forecasts(q50=[1.0, 2, 3, 4, 5, 6])) == 6
    first = warehouse.read_forecasts("job")
    assert upsert(warehouse, forecasts(q50=[1.0, 2, 3, 4, 5, 6])) == 6
    pd.testing.assert_frame_equal(warehouse.read_forecasts("job"), first)
    upsert(warehouse, forecasts(version="2"))
    assert len(warehouse.read_forecasts("job")) == 12
    one = warehouse.read_forecasts("job", model_version="1", origin=pd.Timestamp("2026-02-01"))
    pd.testing.assert_frame_equal(one, first)


def test_a_new_level_becomes_a_column(warehouse):
    """Earlier rows stay without the new level; the columns are read in the order of their levels."""
    upsert(warehouse, forecasts(q50=0.5, q90=0.9))
    upsert(warehouse, forecasts(version="2", **{"q2.5": 0.25, "q50": 0.5}))
    stored = warehouse.read_forecasts("job")
    assert list(stored.columns[-3:]) == ["q2.5", "q50", "q90"]
    assert stored.loc[stored["model_version"] == "1", "q2.5"].isna().all()
    assert (stored.loc[stored["model_version"] == "2", "q2.5"] == 0.25).all()


def test_a_forecast_is_replaced_as_a_whole(warehouse):
    """Levels that the second write lacks are gone, so that no row mixes two runs."""
    upsert(warehouse, forecasts(q10=0.1, q50=0.5), run_id="first")
    upsert(warehouse, forecasts(mean=2.0, q50=0.6), run_id="second")
    stored = warehouse.read_forecasts("job")
    assert stored["q10"].isna().all()
    assert stored[["mean", "q50", "run_id"]].drop_duplicates().to_numpy().tolist() == [[2.0, 0.6, "second"]]


def test_scores_are_replaced_by_key(warehouse):
    """An undefined score is kept as NaN, an infinite one as it is; other settings are other rows."""
    keys = {"config_hash": "c", "panel_digest": "p", "run_id": "r"}
    assert warehouse.upsert_scores("job", scores([0.5, nan, inf]), **keys) == 3
    assert warehouse.upsert_scores("job", scores([0.7, nan, inf]), **keys) == 3
    stored = warehouse.read_scores("job")
    np.testing.assert_equal(stored["value"].to_numpy(), [0.7, nan, inf])
    warehouse.upsert_scores("job", scores(), **{**keys, "config_hash": "d"})
    assert len(warehouse.read_scores("job", config_hash="c")) == 3
    assert warehouse.read_scores("job", metric="metric_0")["config_hash"].tolist() == ["c", "d"]


def test_quarantine_and_runs_come_back(warehouse):
    """Lists and counts survive; the record of a run is replaced by the one of its end."""
    records = [Quarantine(item_id=name, rule="short", why="3 steps", first_rows=[2, 9]) for name in "ab"]
    for _ in range(2):
        assert warehouse.upsert_quarantine("job", records, as_of=NOW, panel_digest="p") == 2
    assert warehouse.upsert_quarantine("job", [], as_of=NOW, panel_digest="p") == 0
    assert warehouse.read_quarantine("job")["first_rows"].tolist() == [[2, 9], [2, 9]]
    start = RunRecord(run_id="1", job="job", flow="forecast", started_at=datetime.now(UTC))
    warehouse.record_run(start)
    assert warehouse.read_runs("job")["status"].tolist() == ["running"]
    broken = "lone \ud800 half"
    warehouse.record_run(start.model_copy(update={"status": "failed", "rows": {"n": 3}, "error": broken}))
    warehouse.record_run(start.model_copy(update={"run_id": "2", "as_of": NOW, "seconds": 1.5}))
    runs = warehouse.read_runs("job").set_index("run_id")
    assert runs.loc["1", ["status", "rows", "error"]].tolist() == ["failed", {"n": 3}, "lone ? half"]
    assert runs.loc["2", ["as_of", "seconds"]].tolist() == [NOW, 1.5]
    assert warehouse.counts("job") == {"observations": 0, "forecasts": 0, "scores": 0, "quarantine": 2, "runs": 2}


def test_moments_with_a_time_zone_become_utc(warehouse):
    """known_at and issued_at are kept in UTC; as_of is the source's time and may have no zone."""
    there = pd.Timestamp("2026-03-01 13:00", tz="Europe/Berlin")
    append(warehouse, observations([1.0]), known_at=there)
    assert warehouse.read_observations("job")["known_at"].tolist() == [NOW]
    assert len(warehouse.read_observations("job", as_of=there)) == 1
    with pytest.raises(WarehouseError, match=r"as_of .* has a time zone"):
        warehouse.upsert_quarantine("job", [], as_of=there, panel_digest="p")
    with pytest.raises(WarehouseError, match="known_at is missing"):
        append(warehouse, observations([1.0]), known_at=pd.NaT)


def test_empty_frames_store_nothing(warehouse):
    """A frame without rows is no error."""
    assert append(warehouse, observations([1.0]).iloc[:0].astype(object)) == 0
    assert upsert(warehouse, forecasts().iloc[:0].astype(object)) == 0
