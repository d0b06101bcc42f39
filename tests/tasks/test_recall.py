"""Recall: what a run in the past would have seen of today's panel."""

from datetime import UTC, datetime, timedelta
from math import nan

import pandas as pd
import pytest

from tasks.errors import ValidationError
from tasks.panel import read_beside, read_panel, write_panel
from tasks.recall import recall_panel
from tasks.warehouse import observation_rows, open_warehouse, warehouse_url

from .shop import make_job

HOURS = pd.date_range("2024-01-10", periods=8, freq="h")
RUN, HOUR = datetime(2024, 1, 10, 4, 5, tzinfo=UTC), timedelta(hours=1)  # the first run, five minutes late
COLUMNS = {"timestamp": "hour", "item_id": "shop", "target": ["sales"]}


@pytest.fixture
def job(tmp_path):
    """An hourly job."""
    return make_job(tmp_path, columns=COLUMNS, frequency="h", horizon=2)


def rows(values, item="a", **columns):
    """Values of one series, from midnight on."""
    hours = HOURS[: len(values)]
    return pd.DataFrame({"item_id": item, "timestamp": hours, "sales": values} | columns)


def look(job, frame, known_at):
    """What an ingest at some moment stores."""
    values = [name for name in frame if name not in {"item_id", "timestamp"}]
    with open_warehouse(warehouse_url(job)) as warehouse:
        stored = observation_rows(frame, values)
        warehouse.append_observations(job.name, stored, known_at=known_at, panel_digest="digest")


def recalled(job, frame, as_of, **beside):
    """The panel that a run at `as_of` would have seen, of today's; written down first, as a run does."""
    panel = write_panel(frame, job.workspace_path / "panels", stage="clean", **beside)
    with open_warehouse(warehouse_url(job)) as warehouse:
        stored = observation_rows(frame, panel.values)
        now = RUN + 30 * HOUR
        warehouse.append_observations(job.name, stored, known_at=now, panel_digest="digest", only_unknown=True)
    return panel, recall_panel(job, panel, pd.Timestamp(as_of))


def test_a_revised_value_is_seen_as_it_was(job):
    """A later run saw another value of the second hour; the earlier one is what was known."""
    look(job, rows([1.0, 2.0, 3.0, 4.0]), RUN)
    look(job, rows([1.0, 20.0, 3.0, 4.0, 5.0]), RUN + HOUR)
    _, was = recalled(job, rows([1.0, 20.0, 3.0, 4.0]), "2024-01-10 04:30")
    assert read_panel(was)["sales"].tolist() == [1.0, 2.0, 3.0, 4.0]
    today, same = recalled(job, rows([1.0, 20.0, 3.0, 4.0, 5.0]), "2024-01-10 05:30")
    assert same == today


def test_a_value_that_was_taken_back_is_still_seen(job):
    """The source has lost a value that was there."""
    look(job, rows([1.0, 2.0, 3.0]), RUN)
    _, was = recalled(job, rows([1.0, nan, 3.0]), "2024-01-10 04:30")
    assert read_panel(was)["sales"].tolist() == [1.0, 2.0, 3.0]


def test_a_late_arrival_is_not_seen(job):
    """The first run saw the fourth hour without the second, which came with the next one."""
    look(job, rows([1.0, nan, 3.0, 4.0]), RUN)
    look(job, rows([1.0, 2.0, 3.0, 4.0, 5.0]), RUN + HOUR)
    _, was = recalled(job, rows([1.0, 2.0, 3.0, 4.0]), "2024-01-10 04:30")
    assert read_panel(was)["sales"].isna().tolist() == [False, True, False, False]


def test_what_a_missed_run_would_have_seen_counts_as_known(job):
    """Nobody looked between the first run and now: all hours up to the missed one are seen."""
    look(job, rows([1.0, 2.0, 3.0, 4.0]), RUN)
    today, was = recalled(job, rows([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), "2024-01-10 05:30")
    assert was == today


def test_a_missed_run_sees_a_value_in_its_first_version(job):
    """The fifth hour came after the missed run and was revised later; the revision was known to nobody then."""
    look(job, rows([1.0, 2.0, 3.0, 4.0]), RUN)
    look(job, rows([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), RUN + 2 * HOUR)
    look(job, rows([1.0, 2.0, 3.0, 4.0, 50.0, 6.0]), RUN + 3 * HOUR)
    _, was = recalled(job, rows([1.0, 2.0, 3.0, 4.0, 50.0]), "2024-01-10 04:30")
    assert read_panel(was)["sales"].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_missed_run_does_not_see_what_a_later_one_still_lacked(job):
    """The run after the missed one saw a later hour without the fifth: it had not been there before either."""
    look(job, rows([1.0, 2.0, 3.0, 4.0]), RUN)
    look(job, rows([1.0, 2.0, 3.0, 4.0, nan, 6.0]), RUN + 2 * HOUR)
    _, was = recalled(job, rows([1.0, 2.0, 3.0, 4.0, 5.0]), "2024-01-10 04:30")
    assert read_panel(was)["sales"].tolist() == [1.0, 2.0, 3.0, 4.0], "the series ends with its last known value"


def test_moments_made_one_after_the_other_do_not_hide_each_other(job):
    """Of three missed moments each stores what the next one sees as well; made again, each gives the same."""
    look(job, rows([1.0, 2.0, 3.0, 4.0]), RUN)
    for again in range(2):
        for hour, place in ((5, 5), (6, 6), (7, 7)):
            frame = rows([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0][: place + 1])
            with open_warehouse(warehouse_url(job)) as warehouse:
                moment = RUN + (10 + hour + 10 * again) * HOUR
                stored = observation_rows(frame, ["sales"])
                warehouse.append_observations("shop", stored, known_at=moment, panel_digest="d", only_unknown=True)
            panel = write_panel(frame, job.workspace_path / "panels", stage="clean")
            assert recall_panel(job, panel, HOURS[hour]) == panel


def test_before_its_first_run_the_warehouse_knows_nothing(job):
    """History that was loaded long after is seen as it is today, mended values included."""
    look(job, rows([1.0, 2.0, 3.0, 4.0]), RUN)
    look(job, rows([1.0, 20.0, 3.0, 4.0]), RUN + HOUR)
    today, was = recalled(job, rows([1.0, 20.0, 3.0]), "2024-01-10 02:30")
    assert was == today


def test_a_series_that_appeared_later_is_not_there(job):
    """Its history reaches back before what was known of the others, so it would have been seen."""
    look(job, rows([1.0, 2.0, 3.0, 4.0]), RUN)
    frame = pd.concat([rows([1.0, 2.0, 3.0, 4.0, 5.0]), rows([7.0] * 5, item="b")], ignore_index=True)
    static = pd.DataFrame({"item_id": ["a", "b"], "region": ["x", "y"]})
    _, was = recalled(job, frame, "2024-01-10 04:30", static=static)
    assert read_panel(was)["item_id"].unique().tolist() == ["a"]
    assert read_beside(was.static_path)["item_id"].tolist() == ["a"]
    assert was.items == 1


def test_a_series_that_began_since_the_last_run_is_seen(job):
    """Its first value lies behind all that was known: it may well have been there."""
    look(job, rows([1.0, 2.0, 3.0, 4.0]), RUN)
    young = rows([7.0] * 6, item="b").iloc[4:]
    today, was = recalled(job, pd.concat([rows([1.0] * 6), young], ignore_index=True), "2024-01-10 05:30")
    assert read_panel(was)["item_id"].tolist() == ["a"] * 6 + ["b"] * 2
    assert read_panel(today)["sales"].tolist()[:4] != read_panel(was)["sales"].tolist()[:4]


def test_a_series_that_has_vanished_changes_nothing_for_the_others(job):
    """What is known of a series that the source has no more stays in the warehouse."""
    look(job, pd.concat([rows([1.0, 2.0, 3.0, 4.0]), rows([7.0] * 4, item="b")]), RUN)
    today, was = recalled(job, rows([1.0, 2.0, 3.0, 4.0]), "2024-01-10 04:30")
    assert was == today


def test_where_nothing_was_known_there_is_nothing_to_see(job):
    """All that the source has now came later."""
    look(job, rows([7.0] * 4, item="b"), RUN)
    with pytest.raises(ValidationError, match="nothing was known then"):
        recalled(job, rows([1.0, 2.0, 3.0, 4.0]), "2024-01-10 04:30")


def test_known_covariates_follow_the_last_known_target_and_names_stay(tmp_path):
    """A late last target moves the origin; the covariates of its hour belong to the horizon then."""
    columns = COLUMNS | {"known": ["promo"], "past": ["kind"], "categorical": ["kind"]}
    job = make_job(tmp_path, columns=columns, frequency="h", horizon=2)
    look(job, rows([1.0, 2.0, 3.0], promo=0.0), RUN)
    look(job, rows([1.0, 2.0, 3.0, nan, 5.0], promo=[0.0, 0.0, 0.0, 1.0, 1.0]), RUN + 2 * HOUR)
    future = pd.DataFrame({"item_id": "a", "timestamp": HOURS[4:6], "promo": [1.0, 0.0]})
    frame = rows([1.0, 2.0, 3.0, 4.0], promo=[0.0, 0.0, 0.0, 1.0], kind=[0.0, 1.0, 0.0, 1.0])
    _, was = recalled(job, frame, "2024-01-10 04:30", future=future, levels={"kind": ["x", "y"]})
    assert read_panel(was)["kind"].tolist() == [0.0, 1.0, 0.0]
    assert read_beside(was.future_path)["timestamp"].tolist() == HOURS[3:6].tolist()
    assert read_beside(was.future_path)["promo"].tolist() == [1.0, 1.0, 0.0]
    assert was.levels == {"kind": ["x", "y"]}


def test_the_moment_is_one_of_the_datas_zone(tmp_path):
    """Half past five in Berlin is half past four in UTC: the second run is still to come."""
    job = make_job(tmp_path, columns=COLUMNS, frequency="h", schedule={"every": "h", "timezone": "Europe/Berlin"})
    look(job, rows([1.0, 2.0, 3.0, 4.0]), RUN)
    look(job, rows([1.0, 20.0, 3.0, 4.0]), RUN + HOUR)
    _, was = recalled(job, rows([1.0, 20.0, 3.0, 4.0]), "2024-01-10 05:30")
    assert read_panel(was)["sales"].tolist() == [1.0, 2.0, 3.0, 4.0]
