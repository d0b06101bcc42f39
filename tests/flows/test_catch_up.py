"""Late and missed runs of a schedule: which moments a run serves by each policy, with real rows."""

import threading
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from flows.forecast import catch_up
from flows.origins import OriginsError, forecast_at
from tasks.job import load_job
from tasks.warehouse import RunRecord, open_warehouse, warehouse_url

from .conftest import HORIZON, small_data, write_job
from .deployed import run_deployed

pytestmark = pytest.mark.usefixtures("prefect_server")
OWN = datetime(2024, 1, 13, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


def scheduled_job(folder, catch_up, **changes):
    """The small job, due every hour."""
    return write_job(folder, schedule={"cron": "0 * * * *", "catch_up": catch_up}, **changes)


def completed(job_file):
    """The hours of the thirteenth at which completed runs stand, in the order in which they were made."""
    job = load_job(job_file)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        runs = warehouse.read_runs(job.name)
    assert runs["run_id"].is_unique
    return runs.loc[runs["status"] == "completed", "as_of"].dt.hour.tolist()


def forecasts(job_file):
    """The hours from which there are forecasts, each with all rows of both series."""
    job = load_job(job_file)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        made = warehouse.read_forecasts(job.name)
    counts = made.groupby("origin").size()
    assert set(counts) <= {2 * HORIZON}
    return sorted(counts.index.hour)


@pytest.mark.parametrize(
    ("policy", "hours", "says"),
    [
        ("skip", [3], "nothing to do: 2024-01-13 05:00:00 UTC is over"),
        ("latest", [3, 6], "made 2024-01-13 06:00"),
        ("all", [3, 4, 5, 6], "made 3, 2024-01-13 04:00 to 2024-01-13 06:00"),
    ],
)
def test_a_late_run_serves_what_its_policy_says_and_the_next_one_finds_it_served(tmp_path, policy, hours, says):
    """The run for five comes at twenty past six; three was served last. The run for six then has nothing to do."""
    file = scheduled_job(tmp_path, policy)
    forecast_at(str(file), OWN - 2 * HOUR)
    now = OWN + HOUR + timedelta(minutes=20)
    assert says in catch_up(str(file), OWN, now)
    assert completed(file) == hours
    assert forecasts(file) == hours
    if policy == "skip":  # the next run's own moment is not over
        return
    again = catch_up(str(file), OWN + HOUR, now)
    assert again.startswith("nothing to do: ")
    assert again.endswith("served already")
    assert completed(file) == hours


def test_a_run_in_time_serves_its_own_moment_and_sees_the_source_as_it_is(tmp_path):
    """A revision of an earlier hour counts for a run whose next moment is still to come, and is on record."""
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    frame = small_data()
    last = frame["hour"].max()
    frame["hour"] += pd.Timestamp(start).tz_localize(None) - last
    file = write_job(tmp_path, frame, schedule={"cron": "0 0 1 1 *", "catch_up": "latest"})
    forecast_at(str(file), start - HOUR)
    frame.loc[frame["hour"] == frame["hour"].min() + 200 * HOUR, "sales"] = 77.0
    frame.to_csv(tmp_path / "sales.csv", index=False)
    assert catch_up(str(file), start, start + timedelta(minutes=1)).startswith("made ")
    with open_warehouse(warehouse_url(load_job(file)), read_only=True) as warehouse:
        seen = warehouse.read_observations("shops", columns=["sales"])
    assert seen.loc[seen["timestamp"] == frame["hour"].min() + 200 * HOUR, "value"].tolist() == [77.0, 77.0]


def test_one_moment_that_fails_does_not_stop_the_others(tmp_path):
    """The data begin at five; the moments before fail, five is made, and the run says what failed and why."""
    frame = small_data().query("hour >= '2024-01-13 05:00'")
    schedule = {"cron": "0 * * * *", "catch_up": "all"}
    file = write_job(tmp_path, frame, schedule=schedule, validation={"min_length": 1})
    with open_warehouse(warehouse_url(load_job(file))) as warehouse:
        ended = {"status": "completed", "as_of": datetime(2024, 1, 13, 2)}  # noqa: DTZ001 - as the data tell time
        warehouse.record_run(RunRecord(run_id="before", job="shops", flow="forecast", started_at=OWN, **ended))
    with pytest.raises(OriginsError, match="2 of 3 moments failed, first 2024-01-13 03:00:00: ") as told:
        catch_up(str(file), OWN, OWN)
    assert [one.status for one in told.value.origins] == ["failed", "failed", "made"]
    assert "no row at or before" in told.value.origins[0].why
    assert completed(file) == [2, 5]


def test_late_runs_that_start_at_once_serve_a_moment_once(tmp_path):
    """Three late runs wait for each other: one forecasts, the others find the moment served."""
    file = scheduled_job(tmp_path, "latest")
    said = []
    moments = [OWN, OWN + HOUR, OWN + 2 * HOUR]
    runs = [
        threading.Thread(target=lambda own=own: said.append(catch_up(str(file), own, moments[-1]))) for own in moments
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert sorted(text.split()[0] for text in said) == ["made", "skipped", "skipped"]
    assert completed(file) == [7]


def test_a_run_that_the_scheduler_made_stands_at_its_moment_and_is_not_doubled(tmp_path, writer_limit):  # noqa: ARG001
    """Without a schedule of its own a job has only its deployment's; a second run of the moment ends at once."""
    from flows.forecast import forecast  # noqa: PLC0415 - Prefect reads its settings when it is imported

    file = write_job(tmp_path)
    run_id, state = run_deployed(forecast, {"job_file": str(file)}, scheduled=OWN)
    assert (state.type.value, state.message) == ("COMPLETED", "made 2024-01-13 05:00")
    _, again = run_deployed(forecast, {"job_file": str(file)}, scheduled=OWN)
    assert again.is_completed()
    assert again.message == "nothing to do: 2024-01-13 05:00:00 UTC is served already"
    with open_warehouse(warehouse_url(load_job(file)), read_only=True) as warehouse:
        (only,) = warehouse.read_runs("shops").to_dict("records")
    assert (only["run_id"], only["as_of"].hour) == (str(run_id), 5)
