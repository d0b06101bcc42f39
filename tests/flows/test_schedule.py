"""Schedules of jobs on one deployment: what is put there, and that both calendars are one."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule

from flows.cli import main
from flows.schedule import planned, put_schedules
from moirai.errors import MoiraiError
from tasks.calendar import moments
from tasks.job import Schedule, load_job

from .conftest import write_job

pytestmark = pytest.mark.usefixtures("prefect_server")
BERLIN, HOUR = "Europe/Berlin", timedelta(hours=1)
PLACE = "forecast/many"


@pytest.mark.parametrize("day", ["2024-03-31", "2024-10-27", "2024-02-28"])
@pytest.mark.parametrize(
    "rule",
    [
        {"cron": "*/20 * * * *"},
        {"cron": "5 */2 * * *"},
        {"cron": "30 2 * * *"},
        {"cron": "0 6 * * MON-FRI"},
        {"cron": "15 4 1,28-31 * *"},
        {"cron": "0 0 * JAN-JUN 0"},
        {"every": "90min"},
        {"every": "7h"},
        {"every": "D"},
        {"every": "W-SUN"},
    ],
)
def test_prefect_makes_its_runs_at_the_moments_of_the_calendar(rule, day, tmp_path):
    """What Prefect's scheduler plans from some days before on, over a change of clocks, is what we count by."""
    noon = datetime.fromisoformat(day).replace(tzinfo=UTC)
    job = load_job(write_job(tmp_path, schedule={"timezone": BERLIN} | rule))
    plan = planned(job, tmp_path / "job.yaml")
    if plan.cron:
        theirs = CronSchedule(cron=plan.cron, timezone=plan.timezone)
    else:
        theirs = IntervalSchedule(interval=plan.interval, anchor_date=plan.anchor_date, timezone=plan.timezone)
    found = asyncio.run(theirs.get_dates(n=500, start=noon - 72 * HOUR, end=noon + 72 * HOUR))
    ours = moments(Schedule(timezone=BERLIN, **rule), noon - 72 * HOUR - timedelta(seconds=1), noon + 72 * HOUR)
    assert [moment.timestamp() for moment in found] == [moment.timestamp() for moment in ours]


@pytest.fixture
def deployment():
    """A deployment of the forecast flow that serves many jobs."""
    from flows.forecast import forecast  # noqa: PLC0415 - Prefect reads its settings when it is imported

    made = forecast.to_deployment(PLACE.partition("/")[2]).apply()
    with get_client(sync_client=True) as client:
        yield lambda: {one.slug: one for one in client.read_deployment_schedules(made)}
        client.delete_deployment(made)


def job_file(folder, name, **schedule):
    """A job of a name with a schedule."""
    return write_job(folder / name, name=name, schedule=schedule or None)


def test_each_job_has_a_schedule_of_its_own_on_the_deployment(tmp_path, deployment):
    """Known by the job's name, with its moments and its job file; a second time replaces, the other job's stays."""
    files = [
        job_file(tmp_path, "north_1", cron="0 6 * * *", timezone=BERLIN),
        job_file(tmp_path, "south", every="15min"),
    ]
    assert [one.what for one in put_schedules(files, PLACE, remove=False)] == ["new", "new"]
    there = deployment()
    assert set(there) == {"north_1", "south"}
    assert there["north_1"].parameters == {"job_file": str(files[0])}
    assert (there["north_1"].schedule.cron, there["north_1"].schedule.timezone) == ("0 6 * * *", BERLIN)
    assert there["south"].schedule.interval == timedelta(minutes=15)

    job_file(tmp_path, "south", cron="30 7 * * *")
    (done,) = put_schedules(files[1:], PLACE, remove=False)
    assert (done.what, done.moments, done.next.hour, done.next.minute) == ("replaced", "30 7 * * *, UTC", 7, 30)
    again = deployment()
    assert again["south"].schedule.cron == "30 7 * * *"
    assert again["north_1"] == there["north_1"]


def test_the_command_takes_a_schedule_away(tmp_path, deployment, capsys):
    """Once; the second time there is nothing to take."""
    file = job_file(tmp_path, "north", cron="0 6 * * *")
    for arguments, what in (
        (["--json"], "new"),
        (["--remove", "--json"], "removed"),
        (["--remove", "--json"], "not there"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["schedule", str(file), "--deployment", PLACE, *arguments])
        assert ended.value.code == 0
        (told,) = json.loads(capsys.readouterr().out)
        assert (told["job"], told["what"]) == ("north", what)
        assert (told["next"] is not None) == (what == "new")
    assert deployment() == {}


def test_a_name_that_another_job_file_has_is_refused(tmp_path, deployment):
    """Nothing is replaced; the error says whose it is and how to get on."""
    first = job_file(tmp_path / "a", "north", cron="0 6 * * *")
    second = job_file(tmp_path / "b", "north", cron="0 7 * * *")
    put_schedules([first], PLACE, remove=False)
    with pytest.raises(MoiraiError, match=f"has a schedule 'north' of {first}; rename one of the jobs"):
        put_schedules([second], PLACE, remove=False)
    assert deployment()["north"].schedule.cron == "0 6 * * *"
    with pytest.raises(MoiraiError, match="another of these files has the name 'north'"):
        put_schedules([first, second], PLACE, remove=False)


def test_what_cannot_be_scheduled_is_told_before_anything_is_changed(tmp_path, deployment):
    """A job without a schedule; a deployment that is not there, or is another flow's."""
    planned_job, without = job_file(tmp_path, "north", cron="0 6 * * *"), job_file(tmp_path, "south")
    with pytest.raises(MoiraiError, match="job 'south' has no schedule; add the block"):
        put_schedules([planned_job, without], PLACE, remove=False)
    with pytest.raises(MoiraiError, match="the Prefect server has no deployment forecast/none"):
        put_schedules([planned_job], "forecast/none", remove=False)
    with pytest.raises(MoiraiError, match="'ingest/on-demand' is no deployment of the forecast flow"):
        put_schedules([planned_job], "ingest/on-demand", remove=False)
    assert deployment() == {}


def test_without_a_server_the_error_says_what_to_set(tmp_path):
    """A schedule is kept by a server; an embedded one would forget it."""
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - see above

    file = job_file(tmp_path, "north", cron="0 6 * * *")
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(MoiraiError, match="needs a Prefect server: start one and set PREFECT_API_URL"),
    ):
        put_schedules([file], PLACE, remove=False)
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(MoiraiError, match=r"the Prefect server at .* does not answer"),
    ):
        put_schedules([file], PLACE, remove=False)
