"""Backfills: exactly the missing moments of a span, each with what was known at its time."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from flows.backfill import moments_between
from flows.cli import main
from flows.origins import foresight
from flows.run import Run
from moirai.errors import MoiraiError
from tasks.job import load_job
from tasks.model_reference import resolve_model
from tasks.warehouse import open_warehouse, warehouse_url

from .conftest import HORIZON, small_data, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")
HOUR = timedelta(hours=1)
LATER = datetime(2026, 1, 1, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def stamps(*hours):
    """Hours of the thirteenth."""
    return [pd.Timestamp("2024-01-13") + hour * HOUR for hour in hours]


def job_of(folder, **schedule):
    """The small job with a schedule."""
    return load_job(write_job(folder, schedule=schedule or None))


def test_the_moments_are_those_of_the_schedule_or_a_distance_apart(tmp_path):
    """Both ends belong to the span; a distance counts from its start."""
    job = job_of(tmp_path, cron="0 */2 * * *")
    start, end = datetime(2024, 1, 13, 4), datetime(2024, 1, 13, 8)  # noqa: DTZ001 - as the data tell time
    assert moments_between(job, start, end, None, now=LATER) == stamps(4, 6, 8)
    assert moments_between(job, start + HOUR, end, "90min", now=LATER) == stamps(5, 6.5, 8)
    assert moments_between(job, start.replace(tzinfo=UTC), end, None, now=LATER) == stamps(4, 6, 8)


def test_moments_that_are_still_to_come_are_left_out(tmp_path):
    """The end of a span may lie in the future."""
    job = job_of(tmp_path, cron="0 */2 * * *")
    start, end = stamps(4, 30)
    now = datetime(2024, 1, 13, 7, tzinfo=UTC)
    assert moments_between(job, start, end, None, now=now) == stamps(4, 6)
    assert moments_between(job, start, end, "h", now=now) == stamps(4, 5, 6, 7)


def test_moments_over_a_change_of_clocks_are_those_of_the_datas_zone(tmp_path):
    """Six in the morning stays six to data of Berlin; the hour that is there twice is one moment."""
    daily = job_of(tmp_path, cron="0 6 * * *", timezone=BERLIN)
    start, end = datetime(2024, 10, 26), datetime(2024, 10, 28)  # noqa: DTZ001 - see above
    assert [one.hour for one in moments_between(daily, start, end, None, now=LATER)] == [6, 6]
    hourly = job_of(tmp_path, every="h", timezone=BERLIN)
    night = moments_between(hourly, datetime(2024, 10, 27, 1), datetime(2024, 10, 27, 4), None, now=LATER)  # noqa: DTZ001
    assert [one.hour for one in night] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("schedule", "every", "start", "problem"),
    [
        ({}, None, "2024-01-13", "job 'shops' has no schedule to name its moments"),
        ({"cron": "0 0 1 1 *"}, None, "2026-01-02", "no moment of the schedule lies between 2026-01-02 00:00:00 and"),
        ({}, "h", "2027-01-13", "no moment every h lies between"),
        ({}, "often", "2024-01-13", "'often' is no frequency"),
    ],
)
def test_a_span_without_moments_is_refused(schedule, every, start, problem, tmp_path):
    """The error says what is missing."""
    job = job_of(tmp_path, **schedule)
    with pytest.raises(MoiraiError, match=problem):
        moments_between(job, pd.Timestamp(start), pd.Timestamp("2027-02-01"), every, now=LATER)


def run(*arguments):
    """The command line in this process; returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["backfill", *map(str, arguments)])
    return ended.value.code


def rows_of(job_file):
    """Origins of the stored forecasts with how many rows each has, and the completed moments with their flow."""
    job = load_job(job_file)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        made, runs = warehouse.read_forecasts(job.name), warehouse.read_runs(job.name)
    ended = runs[runs["status"] == "completed"]
    return made.groupby("origin").size().to_dict(), list(zip(ended["flow"], ended["as_of"], strict=True))


def test_exactly_the_missing_moments_are_made(tmp_path, capsys):
    """Five was forecast already; four and six are added, and a second backfill finds nothing to do."""
    from flows.forecast import forecast  # noqa: PLC0415 - Prefect reads its settings when it is imported

    file = write_job(tmp_path, schedule={"cron": "0 * * * *"})
    four, five, six = stamps(4, 5, 6)
    forecast(str(file), five.to_pydatetime())
    span = ("--from", "2024-01-13T04:00:00", "--to", "2024-01-13T06:59:00")
    assert run(file, *span) == 0
    assert "backfill of" in (shown := capsys.readouterr().out)
    assert "2 made, 1 there already" in shown
    origins, ended = rows_of(file)
    assert origins == dict.fromkeys([four, five, six], 2 * HORIZON)
    assert ended == [("forecast", five), ("backfill", four), ("backfill", six)]

    assert run(file, *span, "--json") == 0
    assert {one["status"] for one in json.loads(capsys.readouterr().out)["origins"]} == {"skipped"}
    assert rows_of(file) == (origins, ended)


def test_a_moment_that_fails_does_not_stop_the_others(tmp_path, capsys):
    """The data begin at five: four cannot be made and is told, five is; the exit code is 1."""
    file = write_job(tmp_path, small_data().query("hour >= '2024-01-13 05:00'"), validation={"min_length": 1})
    span = ("--from", "2024-01-13T04:00:00", "--to", "2024-01-13T05:00:00", "--every", "1h")
    assert run(file, *span) == 1
    shown = capsys.readouterr()
    assert "1 made, 1 failed" in shown.out
    assert "error: job 'shops': 1 of 2 moments failed, first 2024-01-13 04:00:00: " in shown.err
    assert list(rows_of(file)[0]) == stamps(5)

    assert run(file, *span, "--json") == 1
    assert [one["status"] for one in json.loads(capsys.readouterr().out)["origins"]] == ["failed", "skipped"]


def test_each_sees_only_what_was_known_at_its_time(tmp_path):
    """A revision, a late value and a series that came after the moment do not reach its forecast.

    The source as it was then, and as it is now with all three, give the same forecast of the missed moment.
    """
    then, now = small_data(), small_data()
    moment, known = pd.Timestamp("2024-01-12 06:00"), pd.Timestamp("2024-01-12 05:30")
    north = now["shop"] == "north"
    late = north & (now["hour"] == pd.Timestamp("2024-01-12 02:00"))
    then = then.drop(index=then.index[late])
    now.loc[north & (now["hour"] == pd.Timestamp("2024-01-11 12:00")), "sales"] = 99.0
    west = now[north].assign(shop="west")
    made = []
    for name, frame in (("then", then), ("now", pd.concat([now, west], ignore_index=True))):
        file = write_job(tmp_path / name, then)
        job = load_job(file)
        ingest_at(job, then[then["hour"] <= known], known)
        frame.to_csv(file.parent / "sales.csv", index=False)
        assert run(file, "--from", moment, "--to", moment, "--every", "1h") == 0
        with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
            made.append(warehouse.read_forecasts("shops").drop(columns=["run_id", "issued_at"]))
    pd.testing.assert_frame_equal(*made)
    assert set(made[1]["item_id"]) == {"north", "south"}


@pytest.mark.parametrize(
    ("until", "looks_back", "is_told"),
    [("2024-01-12", True, True), ("2024-01-10", True, False), ("2024-01-12", False, False), (None, True, False)],
)
def test_a_model_that_knows_what_came_later_is_told(until, looks_back, is_told, tmp_path):
    """Of a run in the past, where the version's training reached behind the moment."""
    file = write_job(tmp_path)
    model = resolve_model(load_job(file), "tiny").model_copy(update={"trained_until": until and pd.Timestamp(until)})
    run = Run(load_job(file), str(file), "backfill", pd.Timestamp("2024-01-11"), model=model, looks_back=looks_back)
    told = foresight(run)
    assert (told is not None) == is_told
    assert told is None or "tiny version" in told


def ingest_at(job, frame, moment):
    """What an ingest at a moment would have stored of a source."""
    from tasks.ingest import ingest_source  # noqa: PLC0415 - the import hook of the suite comes first
    from tasks.panel import read_panel  # noqa: PLC0415
    from tasks.transform import transform_panel  # noqa: PLC0415
    from tasks.warehouse import observation_rows  # noqa: PLC0415

    frame.to_csv(job.folder / "sales.csv", index=False)
    panel = transform_panel(job, ingest_source(job), []).panel
    rows = observation_rows(read_panel(panel), panel.values)
    with open_warehouse(warehouse_url(job)) as warehouse:
        warehouse.append_observations(job.name, rows, known_at=moment, panel_digest=panel.digest)


def test_two_backfills_at_once_make_each_moment_once(tmp_path):
    """Two processes: one waits for the other and finds the moment made."""
    from prefect.settings import get_current_settings  # noqa: PLC0415 - Prefect reads its settings when it is imported

    file = write_job(tmp_path)
    environment = os.environ | {"PREFECT_API_URL": get_current_settings().api.url}
    command = [sys.executable, "-c", "from flows.cli import main; main()", "backfill", str(file), "--every", "1h"]
    span = ["--from", "2024-01-13T04:00:00", "--to", "2024-01-13T05:00:00", "--json"]
    runs = [
        subprocess.Popen(  # noqa: S603 - our own command
            [*command, *span], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [one.communicate(timeout=200) for one in runs]
    assert [one.returncode for one in runs] == [0, 0], said
    statuses = [origin["status"] for out, _ in said for origin in json.loads(out)["origins"]]
    assert sorted(statuses) == ["made", "made", "skipped", "skipped"]
    origins, ended = rows_of(file)
    assert origins == dict.fromkeys(stamps(4, 5), 2 * HORIZON)
    assert sorted(ended) == [("backfill", stamp) for stamp in stamps(4, 5)]
