"""The forecast flow: what a schedule runs."""

import logging
from datetime import UTC, datetime

import pandas as pd
from prefect import State, flow
from prefect.states import Completed

from flows.labels import label_run
from flows.origins import Origin, OriginsError, forecast_at, serve
from flows.run import scheduled_moment
from flows.summary import Summary
from tasks.calendar import due_moments, told
from tasks.job import load_job
from tasks.naming import moment_name, run_name, run_tags
from tasks.warehouse import served_moments

logger = logging.getLogger(__name__)


@flow(
    name="forecast",
    flow_run_name="forecast {job_file}",
    description="Forecast from the end of the data with the job's model and write the warehouse.",
)
def forecast(job_file: str, as_of: datetime | None = None) -> Summary | State:
    """Forecast from the end of the data with the job's model and write the warehouse.

    A run that a schedule made stands at the moment it was made for; missed moments are served by the job's
    `schedule.catch_up`. One whose moments are served already ends at once.

    Args:
        job_file: path of the job file.
        as_of: moment the run stands at; later rows are not seen. None: that of the schedule which made the run,
            otherwise the end of the data.
    """
    own = scheduled_moment()
    if as_of is not None or own is None:
        return forecast_at(job_file, as_of)
    return Completed(message=catch_up(job_file, own, datetime.now(UTC)))


def catch_up(job_file: str, own: datetime, now: datetime) -> str:
    """Serve the moments that are due by the job's policy.

    Args:
        job_file: path of the job file.
        own: moment for which the run was made; with a time zone.
        now: with a time zone.

    Returns:
        What was done, in words.

    Raises:
        OriginsError: some moments failed; the others are made.
    """
    job = load_job(job_file)
    stamp = told(own, job.time_zone)
    label_run(run_name(job, "forecast", as_of=stamp), run_tags(job, "forecast"))
    due = due_moments(job, own, served_moments(job), now)
    logger.info("%s: %s", job.name, due.why)
    origins = serve(job_file, [told(one, job.time_zone) for one in due.moments], flow="forecast", own=stamp)
    if any(one.status == "failed" for one in origins):
        raise OriginsError(job.name, origins)
    return _in_words(origins, job.frequency) or f"nothing to do: {due.why}"


def _in_words(origins: list[Origin], frequency: str) -> str:
    """What became of the moments."""
    parts = []
    for status in ("made", "skipped"):
        stamps = [moment_name(pd.Timestamp(one.as_of), frequency) for one in origins if one.status == status]
        if stamps:
            parts.append(f"{status} {stamps[0] if len(stamps) == 1 else f'{len(stamps)}, {stamps[0]} to {stamps[-1]}'}")
    return "; ".join(parts)
