"""Forecasts from several moments, one after the other, each made by one run and once.

In: a job file and moments as the data tell time. Out: what became of each. A moment that a completed run stands at is
left alone, also where another run gets there first; one that fails does not stop the others. Each has a row of its own
in `runs` and sees what was known at its time.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal
from uuid import uuid4

import pandas as pd
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict

from flows.prepare import prepare
from flows.run import Run, recorded
from flows.summary import Outcome, Summary
from moirai.errors import MoiraiError
from tasks.forecast import make_forecasts
from tasks.job import Job, load_job
from tasks.model_reference import resolve
from tasks.naming import moment_name
from tasks.report import publish_report
from tasks.warehouse import served_moments, store_forecasts, turn

LONGEST_REASON = 300  # characters of an error in a table
SERVED = "a completed run stands at it"

logger = logging.getLogger(__name__)


class Origin(BaseModel):
    """What became of one moment."""

    model_config = ConfigDict(frozen=True)

    as_of: datetime  # as the data tell time
    status: Literal["made", "skipped", "failed", "handed over"]
    rows: int | None = None  # of forecasts; None: none, or made by a worker
    model: str | None = None
    run_id: str | None = None
    why: str = ""  # it was skipped or failed


class OriginsError(MoiraiError):
    """Some moments could not be forecast; `origins` has what became of all."""

    def __init__(self, job: str, origins: Sequence[Origin]) -> None:
        failed = [one for one in origins if one.status == "failed"]
        super().__init__(
            f"job {job!r}: {len(failed)} of {len(origins)} moments failed, first {failed[0].as_of}: {failed[0].why}"
        )
        self.job, self.origins = job, list(origins)


def forecast_at(
    job_file: str,
    as_of: datetime | None = None,
    *,
    flow: str = "forecast",
    run_id: str | None = None,
    looks_back: bool | None = None,
) -> Summary:
    """Forecast from one moment and write the warehouse; the arguments are those of `recorded`."""
    with recorded(job_file, flow, as_of, run_id=run_id, looks_back=looks_back) as run:
        run.model = resolve(run.job, run.job.model)
        if told := foresight(run):
            logger.warning("%s", told)
        data = prepare(run, forecasting=True)
        attempt = run.attempt(data)
        made = make_forecasts(run.job, data.panel, run.model)
        run.rows["forecasts"] = store_forecasts(run.job, made.path, run_id=run.run_id, issued_at=run.started_at)
        outcome = Outcome(run, data, attempt, model=run.model, forecasts=made)
        return outcome.summary(publish_report(outcome.report_inputs()))


def foresight(run: Run) -> str | None:
    """What is to be said of a run in the past whose model has seen what came later; None: nothing."""
    until = run.model.trained_until if run.model else None
    if not run.looks_back or run.model is None or run.as_of is None or until is None or until <= run.as_of:
        return None
    version = f"{run.model.name} version {run.model.version}"
    return f"{version} was trained on data up to {until}, behind {run.as_of}: it knows more than was known then"


def serve(
    job_file: str, moments: Iterable[pd.Timestamp], *, flow: str, own: pd.Timestamp | None = None
) -> list[Origin]:
    """Forecast from every moment that no completed run stands at.

    Args:
        job_file: path of the job file.
        moments: as the data tell time, in the order in which they are made.
        flow: which flow makes them.
        own: the moment for which a scheduler made the flow run, which has its id.

    Returns:
        What became of each.
    """
    job, origins = load_job(job_file), list[Origin]()
    for stamp in moments:
        try:
            with turn(job, stamp):
                origin = _served(job, stamp) or _made(job_file, job, stamp, flow=flow, own=own)
        except Exception as error:  # the other moments are made, and it is told at the end
            reason = str(error) if isinstance(error, MoiraiError) else repr(error)
            trace = None if isinstance(error, MoiraiError) else error
            logger.error("%s at %s failed: %s", job.name, stamp, reason, exc_info=trace)  # noqa: TRY400 - see `trace`
            origin = Origin(as_of=stamp.to_pydatetime(), status="failed", why=reason[:LONGEST_REASON])
        origins.append(origin)
    return origins


def _served(job: Job, stamp: pd.Timestamp) -> Origin | None:
    """The moment as skipped where a completed run stands at it."""
    if stamp not in {pd.Timestamp(one) for one in served_moments(job)}:
        return None
    logger.info("%s at %s: skipped, %s", job.name, moment_name(stamp, job.frequency), SERVED)
    return Origin(as_of=stamp.to_pydatetime(), status="skipped", why=SERVED)


def _made(job_file: str, job: Job, stamp: pd.Timestamp, *, flow: str, own: pd.Timestamp | None) -> Origin:
    """The moment, forecast."""
    run_id = None if stamp == own else f"{flow_run.id or uuid4()}@{stamp.isoformat()}"
    looks_back = None if own is None or job.schedule else False  # the calendar of such a job is only its deployment's
    summary = forecast_at(job_file, stamp.to_pydatetime(), flow=flow, run_id=run_id, looks_back=looks_back)
    return Origin(
        as_of=stamp.to_pydatetime(),
        status="made",
        rows=summary.rows.get("forecasts"),
        model=summary.model,
        run_id=summary.run_id,
    )
