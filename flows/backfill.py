"""The backfill flow: the moments of a span that no completed run stands at, and what its command prints."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
from prefect import flow
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from flows.hand_over import hand_over
from flows.labels import label_run
from flows.origins import SERVED, Origin, OriginsError, serve
from moirai.evaluation.seasonality import to_offset
from tasks.artifacts import publish_table
from tasks.calendar import moment_of, moments, stand, told
from tasks.errors import JobError
from tasks.findings import Rows
from tasks.job import Job, load_job
from tasks.naming import moment_name, run_tags
from tasks.warehouse import served_moments

logger = logging.getLogger(__name__)


class Backfilled(BaseModel):
    """What became of the moments of a span."""

    model_config = ConfigDict(frozen=True)

    job: str
    origins: list[Origin]


@flow(
    name="backfill",
    flow_run_name="backfill {job_file}",
    description="Forecast from the moments of a span that were missed, each with what was known at its time.",
)
def backfill(  # noqa: PLR0917 - fields of a form
    job_file: str,
    start: datetime,
    end: datetime,
    every: str | None = None,
    deployment: str | None = None,
    wait: bool = True,  # noqa: FBT001, FBT002 - a parameter of a flow
) -> Backfilled:
    """Forecast from the moments of a span that were missed, each with what was known at its time.

    Args:
        job_file: path of the job file.
        start: first moment of the span.
        end: last moment of the span; moments that are still to come are left out.
        every: distance of the moments, a pandas offset counted from `start`; None: those of the job's schedule.
        deployment: of the forecast flow, whose workers make the forecasts; None: this run makes them.
        wait: for the workers; otherwise the moments are only handed over to them.
    """
    job = load_job(job_file)
    stamps = moments_between(job, start, end, every, now=datetime.now(UTC))
    span = " to ".join(moment_name(one, job.frequency) for one in (stamps[0], stamps[-1]))
    label_run(f"{job.name} backfill {span}", run_tags(job, "backfill"))
    served = {pd.Timestamp(one) for one in served_moments(job)}
    missing = [stamp for stamp in stamps if stamp not in served]
    logger.info("%s: %d of %d moments from %s are missing", job.name, len(missing), len(stamps), span)
    if deployment is None:
        origins = serve(job_file, missing, flow="backfill")
    else:
        origins = hand_over(job, str(Path(job_file).resolve()), missing, deployment, wait=wait) if missing else []
    there = [Origin(as_of=stamp.to_pydatetime(), status="skipped", why=SERVED) for stamp in stamps if stamp in served]
    origins = sorted([*origins, *there], key=lambda one: one.as_of)
    publish_table(job, "backfill", "origins", origin_rows(origins), told=in_numbers(origins))
    if any(one.status == "failed" for one in origins):
        raise OriginsError(job.name, origins)
    return Backfilled(job=job.name, origins=origins)


def moments_between(
    job: Job, start: datetime, end: datetime, every: str | None, *, now: datetime
) -> list[pd.Timestamp]:
    """The moments of a span, as the data tell time, rising.

    Args:
        job: whose schedule counts where `every` is None.
        start: first moment; without time zone it is the data's time.
        end: last moment.
        every: distance of the moments from `start` on.
        now: later moments are left out.

    Raises:
        JobError: there is nothing to go by, or no moment.
    """
    first, last = stand(start, job.time_zone), stand(end, job.time_zone)
    if every is not None:
        found = list(pd.date_range(first, last, freq=to_offset(every)))
    elif job.schedule is not None:
        before = moment_of(first, job.time_zone) - timedelta(microseconds=1)
        until = min(moment_of(last, job.time_zone), now)
        found = [told(moment, job.time_zone) for moment in moments(job.schedule, before, until)]
    else:
        raise JobError(f"job {job.name!r} has no schedule to name its moments; set `schedule`, or give --every")
    found = sorted({stamp for stamp in found if moment_of(stamp, job.time_zone) <= now})
    if not found:
        rule = f"every {every}" if every else "of the schedule"
        raise JobError(f"job {job.name!r}: no moment {rule} lies between {first} and {last} and is not still to come")
    return found


def origin_rows(origins: list[Origin]) -> Rows:
    """What became of each moment, as rows of a table; those that were there already are counted elsewhere."""
    shown = [one for one in origins if one.status != "skipped"] or origins
    return [
        {
            "moment": str(one.as_of),
            "what": one.status,
            "rows": "" if one.rows is None else one.rows,
            "model": one.model or "",
            "why": one.why,
        }
        for one in shown
    ]


def in_numbers(origins: list[Origin]) -> str:
    """How many moments were made, skipped, failed or handed over."""
    names = {"made": "made", "handed over": "handed over", "skipped": "there already", "failed": "failed"}
    counts = {name: sum(one.status == status for one in origins) for status, name in names.items()}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def show(done: Backfilled) -> None:
    """Print what became of the moments."""
    console = Console()
    console.rule(f"[bold]backfill[/bold] of {done.job}")
    console.print(in_numbers(done.origins), highlight=False)
    table = Table()
    for name in ("moment", "what", "rows", "model", "why"):
        table.add_column(name, justify="right" if name == "rows" else "left", overflow="fold")
    for row in origin_rows(done.origins):
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    console.print(table)
