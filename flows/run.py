"""What every flow does around its work: say where it stands, note the attempt, name and tag it in Prefect.

A run stands at the moment it is told (`as_of`), at the moment for which Prefect's scheduler made it, or else at the end
of the data. One that stands in the past sees what was known then (`tasks/recall.py`).
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import pandas as pd
from prefect.context import FlowRunContext
from prefect.runtime import flow_run

from flows.labels import label_run, show_stop
from moirai.errors import MoiraiError
from tasks.calendar import is_past, moment_of, stand, told
from tasks.errors import ValidationError
from tasks.findings import Findings
from tasks.job import Job, load_job
from tasks.model_reference import ModelRef
from tasks.naming import run_name, run_tags
from tasks.tracking import Attempt
from tasks.warehouse import RunRecord, store_run

if TYPE_CHECKING:  # it imports this module
    from flows.prepare import Prepared

logger = logging.getLogger(__name__)


@dataclass
class Run:
    """One attempt of a flow; what is learnt on the way is kept for its record."""

    job: Job
    job_file: str
    flow: str
    as_of: pd.Timestamp | None  # None: the end of the data, once that is known
    run_id: str = field(default_factory=lambda: str(flow_run.id or uuid4()))
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    origin: pd.Timestamp | None = None  # last time stamp that the run saw; None: not read yet
    panel_digest: str | None = None
    model: ModelRef | None = None
    rows: dict[str, int] = field(default_factory=dict)
    looks_back: bool = False  # stands in the past: the next moment of the job has begun

    @property
    def known_until(self) -> datetime | None:
        """Moment in UTC whose knowledge the run stands on; None: there is no moment yet."""
        return None if self.as_of is None else moment_of(self.as_of, self.job.time_zone)

    def label(self) -> None:
        """Name and tag the run in Prefect by what is known of it so far; one of several in a flow run names nothing."""
        if self.run_id != flow_run.id:
            return
        name = run_name(self.job, self.flow, self.origin, as_of=self.as_of)
        label_run(name, run_tags(self.job, self.flow, self.model.name if self.model else None))

    def attempt(self, data: "Prepared") -> Attempt:
        """The attempt as trackers note it, once its data is there; Prefect's name of the run gets the origin."""
        self.origin = data.panel.end
        self.label()
        return Attempt(
            flow=self.flow,
            run_id=self.run_id,
            as_of=self.as_of or self.origin,
            origin=self.origin,
            findings=Findings(
                checks=data.validation.checks,
                quarantined=data.validation.quarantined,
                changes=data.transformed.changes,
            ),
        )

    def record(self, **ending: str | float | None) -> RunRecord:
        """The row of `runs` as things stand."""
        return RunRecord(
            run_id=self.run_id,
            job=self.job.name,
            flow=self.flow,
            started_at=self.started_at,
            as_of=None if self.as_of is None else self.as_of.to_pydatetime(),
            config_hash=self.job.config_hash(),
            panel_digest=self.panel_digest,
            model_name=self.model.name if self.model else None,
            model_version=self.model.version if self.model else None,
            rows=self.rows,
        ).model_copy(update=ending)


def scheduled_moment() -> datetime | None:
    """The moment for which Prefect's scheduler made the present flow run; None where someone asked for it."""
    context = FlowRunContext.get()
    made = context.flow_run if context else None
    if made is None or not made.auto_scheduled or made.expected_start_time is None:
        return None
    return datetime.fromtimestamp(made.expected_start_time.timestamp(), UTC)  # Prefect's own type counts otherwise


@contextmanager
def recorded(
    job_file: str, flow: str, as_of: datetime | None, *, run_id: str | None = None, looks_back: bool | None = None
) -> Iterator[Run]:
    """Record an attempt: `running` at its start, `completed` or `failed` with the reason at its end.

    What validation found before it stopped a run is left in Prefect as well.

    Args:
        job_file: path of the job file.
        flow: which flow it is.
        as_of: moment the run was told to stand at; None: that of the schedule which made it, otherwise the end of the
            data.
        run_id: of one of several runs that a flow run makes; None: that of the flow run.
        looks_back: whether it stands in the past; None: by `as_of` and the job's schedule.

    Raises:
        JobError: the job file cannot be used; then there is nothing to record it in.
    """
    job = load_job(job_file)
    run = Run(job, job_file, flow, None)
    if as_of is not None:
        run.as_of = stand(as_of, job.time_zone)
        run.looks_back = is_past(job, run.as_of, run.started_at) if looks_back is None else looks_back
    elif (moment := scheduled_moment()) is not None:
        run.as_of = told(moment, job.time_zone)
    run.run_id = run_id or run.run_id
    clock = time.monotonic()
    run.label()
    store_run(job, run.record(status="running"))
    try:
        yield run
    except BaseException as error:
        status = "failed" if isinstance(error, Exception) else "cancelled"
        reason = str(error) if isinstance(error, MoiraiError) else repr(error)
        store_run(job, run.record(status=status, seconds=time.monotonic() - clock, error=reason))
        if isinstance(error, ValidationError):
            show_stop(job, flow, reason, job.workspace_path / "validation" / f"{run.panel_digest}.json")
        raise
    run.label()
    store_run(job, run.record(status="completed", seconds=time.monotonic() - clock))
