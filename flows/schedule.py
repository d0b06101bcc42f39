"""Schedules of jobs on a deployment that serves them all: put there, replaced, taken away.

In: job files with a `schedule`. Out: a Prefect schedule per job, known by the job's name, with its moments and the path
of the job file. Fails with `JobError` where a job has no schedule or two have one name, and with `OrchestrationError`
where Prefect does not answer, has no such deployment, or has the name from another job file.
"""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.schedules import Schedule as Planned
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from flows.hand_over import deployment_id, server
from tasks.calendar import anchor, next_moment
from tasks.errors import JobError, OrchestrationError
from tasks.job import Job, load_job


class Scheduled(BaseModel):
    """What became of the schedule of one job."""

    model_config = ConfigDict(frozen=True)

    job: str
    job_file: str
    deployment: str
    moments: str  # the schedule in words
    catch_up: str
    next: datetime | None  # in the schedule's zone; None: it was taken away
    what: str  # new, replaced, removed, not there


def jobs_by_file(job_files: Sequence[Path]) -> dict[Path, Job]:
    """The jobs of some files by absolute path; all are read before anything is done.

    Raises:
        JobError: a file cannot be used, or two jobs have one name.
    """
    jobs = {file.resolve(): load_job(file) for file in job_files}
    names = [job.name for job in jobs.values()]
    for file, job in jobs.items():
        if names.count(job.name) > 1:
            raise JobError(f"{file}: another of these files has the name {job.name!r}, too; name each job once")
    return jobs


def planned(job: Job, file: Path) -> Planned:
    """The schedule of a job as Prefect takes it.

    A distance counts in UTC, where no clock changes: Prefect leaves out an hour of it in the night that has one twice.

    Raises:
        JobError: the job has none.
    """
    schedule = job.schedule
    if schedule is None:
        raise JobError(f"{file}: job {job.name!r} has no schedule; add the block `schedule` (docs/scheduling.md)")
    parameters = {"job_file": str(file)}
    if schedule.interval is None:
        return Planned(cron=schedule.clock, timezone=schedule.timezone, parameters=parameters, slug=job.name)
    start = anchor(schedule)
    return Planned(interval=schedule.interval, anchor_date=start, timezone="UTC", parameters=parameters, slug=job.name)


def put_schedules(job_files: Sequence[Path], deployment: str, *, remove: bool) -> list[Scheduled]:
    """Put the schedules of jobs on a deployment of the forecast flow, or take them away.

    Args:
        job_files: of the jobs.
        deployment: such as `forecast/scheduled`.
        remove: take them away.
    """
    jobs = jobs_by_file(job_files)
    plans = {} if remove else {file: planned(job, file) for file, job in jobs.items()}
    done = []
    with server() as client:
        chosen = deployment_id(client, deployment)
        there = {one.slug: one for one in client.read_deployment_schedules(chosen)}
        for file, job in jobs.items():
            found = there.get(job.name)
            owner = found.parameters.get("job_file") if found else None
            if found and owner != str(file):
                mend = f"rename one of the jobs, or take it away first: moirai schedule --remove {owner}"
                raise OrchestrationError(f"{deployment} has a schedule {job.name!r} of {owner}; {mend}")
            if remove:
                if found:
                    client.delete_deployment_schedule(chosen, found.id)
                what = "removed" if found else "not there"
            elif found:
                made = DeploymentScheduleCreate.from_schedule(plans[file])
                client.update_deployment_schedule(
                    chosen, found.id, active=True, schedule=made.schedule, parameters=made.parameters
                )
                what = "replaced"
            else:
                client.create_deployment_schedules(chosen, [DeploymentScheduleCreate.from_schedule(plans[file])])
                what = "new"
            done.append(_told(job, file, deployment, what))
    return done


def _told(job: Job, file: Path, deployment: str, what: str) -> Scheduled:
    schedule = job.schedule
    coming = next_moment(schedule, datetime.now(UTC)) if schedule and what in {"new", "replaced"} else None
    return Scheduled(
        job=job.name,
        job_file=str(file),
        deployment=deployment,
        moments=in_words(job),
        catch_up=schedule.catch_up if schedule else "",
        next=coming,
        what=what,
    )


def in_words(job: Job) -> str:
    """The moments of a job's schedule; empty where it has none."""
    if job.schedule is None:
        return ""
    return f"{job.schedule.cron or f'every {job.schedule.every}'}, {job.schedule.timezone}"


def schedule(job_files: Sequence[Path], deployment: str, *, remove: bool, as_json: bool) -> None:
    """What `moirai schedule` does: see `put_schedules`; prints what became of each job."""
    done = put_schedules(job_files, deployment, remove=remove)
    if as_json:
        sys.stdout.write(json.dumps([one.model_dump(mode="json") for one in done], indent=2) + "\n")
        return
    table = Table(title=f"Schedules on {deployment}", title_justify="left")
    for name in ("job", "what", "moments", "catch up", "next", "job file"):
        table.add_column(name, overflow="fold")
    for one in done:
        coming = f"{one.next:%Y-%m-%d %H:%M} UTC" if one.next else ""
        table.add_row(one.job, one.what, one.moments, one.catch_up, coming, one.job_file)
    Console().print(table)
