"""What was known at a moment, what became known only later, and which moments have been served."""

from datetime import timedelta
from math import nan

import pandas as pd

from tasks.panel import write_panel
from tasks.warehouse import RunRecord, open_warehouse, served_moments, store_observations, warehouse_url

from .shop import make_job
from .warehouse_rows import NOW, append, observations

DAY = timedelta(days=1)
KEY = ["item_id", "column_name", "timestamp"]


def test_known_is_the_latest_version_at_the_moment(warehouse):
    """A revision counts from its own moment on; a key first seen later, and another job's, is not there."""
    append(warehouse, observations([1.0, 2.0]), NOW)
    append(warehouse, observations([1.0, 5.0, 3.0]), NOW + DAY)
    append(warehouse, observations([9.0]), NOW, job="other")
    known = warehouse.read_known("job", NOW + DAY / 2)
    assert list(known.columns) == [*KEY, "value"]
    assert known["value"].tolist() == [1.0, 2.0]
    assert warehouse.read_known("job", NOW + DAY)["value"].tolist() == [1.0, 5.0, 3.0]
    assert warehouse.read_known("job", NOW - DAY).empty


def test_first_known_later_leaves_out_what_was_only_revised_later(warehouse):
    """Keys with any version at or before the moment are not among them, however often they changed since."""
    append(warehouse, observations([1.0]), NOW)
    append(warehouse, observations([2.0, 3.0]), NOW + DAY)
    append(warehouse, observations([2.0, 3.0, 4.0], item="b"), NOW + 2 * DAY)
    later = warehouse.read_first_known("job", NOW)
    assert list(later.columns) == [*KEY, "known_at", "value"]
    hours = pd.date_range("2026-01-01", periods=3, freq="h")
    keys = [("a", "y", hours[1]), *(("b", "y", hour) for hour in hours)]
    assert list(later[KEY].itertuples(index=False, name=None)) == keys
    assert later["value"].tolist() == [3.0, 2.0, 3.0, 4.0]
    assert later["known_at"].tolist() == [NOW + DAY, *[NOW + 2 * DAY] * 3]
    assert later["timestamp"].dtype == "datetime64[ns]"
    assert set(warehouse.read_first_known("job", NOW + DAY)["item_id"]) == {"b"}
    assert warehouse.read_first_known("job", NOW + 2 * DAY).empty


def test_only_unknown_keys_are_added(warehouse):
    """A value of a key that has any version adds nothing, be that version older, newer or of the same moment."""
    append(warehouse, observations([1.0]), NOW)
    append(warehouse, observations([nan, 2.0]), NOW + 2 * DAY)
    frame = observations([7.0, 7.0, 7.0, nan])
    settings = {"panel_digest": "d", "only_unknown": True}
    for moment, added in ((NOW, 1), (NOW + DAY, 0), (NOW - DAY, 0), (NOW + 3 * DAY, 0)):
        assert warehouse.append_observations("job", frame, known_at=moment, **settings) == added
    stored = warehouse.read_observations("job")
    assert stored["value"].tolist() == [1.0, 2.0, 7.0]
    assert stored["known_at"].tolist() == [NOW, NOW + 2 * DAY, NOW]
    assert warehouse.append_observations("other", frame, known_at=NOW, **settings) == 3


def test_served_are_the_moments_of_completed_forecasts(warehouse):
    """Each moment once, rising; failed runs, runs under way, other flows and other jobs serve nothing."""
    runs = [
        ("forecast", "completed", NOW + DAY),
        ("forecast", "completed", NOW + DAY),
        ("backfill", "completed", NOW),
        ("pipeline", "completed", NOW + 2 * DAY),
        ("forecast", "failed", NOW + 3 * DAY),
        ("forecast", "running", NOW + 4 * DAY),
        ("backtest", "completed", NOW + 5 * DAY),
        ("forecast", "completed", None),
    ]
    for place, (flow, status, as_of) in enumerate(runs):
        record = RunRecord(run_id=str(place), job="job", flow=flow, started_at=NOW, status=status, as_of=as_of)
        warehouse.record_run(record)
    assert warehouse.read_served("job") == [NOW, NOW + DAY, NOW + 2 * DAY]
    assert warehouse.read_served("other") == []


def test_the_steps_of_a_job(tmp_path):
    """A first run finds nothing served; a run in the past adds what was unknown and revises nothing."""
    job = make_job(tmp_path)
    assert served_moments.fn(job) == []
    days = pd.date_range("2024-01-01", periods=3)
    panels = [
        write_panel(
            pd.DataFrame({"item_id": "a", "timestamp": days, "sales": values}), tmp_path / str(place), stage="clean"
        )
        for place, values in enumerate([[1.0, 2.0, nan], [1.0, 9.0, 3.0]])
    ]
    assert store_observations.fn(job, panels[0], NOW) == 2
    assert store_observations.fn(job, panels[1], NOW - DAY, only_unknown=True) == 1
    with open_warehouse(warehouse_url(job)) as warehouse:
        assert warehouse.read_observations(job.name)["value"].tolist() == [1.0, 2.0, 3.0]
        warehouse.record_run(
            RunRecord(run_id="1", job=job.name, flow="forecast", started_at=NOW, status="completed", as_of=NOW)
        )
    assert served_moments.fn(job) == [NOW]
