"""What every flow does around its work: note the attempt in the warehouse, name and tag it in Prefect."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import pandas as pd
from prefect.runtime import flow_run

from flows.labels import label_run, show_stop
from moirai.errors import MoiraiError
from tasks.errors import JobError, ValidationError
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

    def label(self) -> None:
        """Name and tag the run in Prefect by what is known of it so far."""
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


def _without_zone(moment: pd.Timestamp) -> pd.Timestamp:
    """The moment as the data tell time: without zone; one that has a zone is taken in UTC. Raises `JobError`."""
    plain = moment if moment.tz is None else moment.tz_convert("UTC").tz_localize(None)
    if not pd.Timestamp.min < plain < pd.Timestamp.max:
        raise JobError(f"as_of {plain} is no moment that data can have; give one between 1678 and 2261")
    return plain


@contextmanager
def recorded(job_file: str, flow: str, as_of: datetime | None) -> Iterator[Run]:
    """Record an attempt: `running` at its start, `completed` or `failed` with the reason at its end.

    What validation found before it stopped a run is left in Prefect as well.

    Raises:
        JobError: the job file cannot be used; then there is nothing to record it in.
    """
    job = load_job(job_file)
    run = Run(job, job_file, flow, None if as_of is None else _without_zone(pd.Timestamp(as_of)))
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
