"""The ingest flow."""

from datetime import datetime

from prefect import flow

from flows.prepare import prepare
from flows.run import recorded
from flows.summary import Outcome, Summary
from tasks.report import publish_report


@flow(
    name="ingest",
    flow_run_name="ingest {job_file}",
    description="Bring the source onto the grid and into the warehouse; stop on critical findings.",
)
def ingest(job_file: str, as_of: datetime | None = None) -> Summary:
    """Bring the source onto the grid and into the warehouse; stop on critical findings.

    Args:
        job_file: path of the job file.
        as_of: moment the run stands at; later rows are not seen. None: the end of the data.
    """
    with recorded(job_file, "ingest", as_of) as run:
        data = prepare(run)
        outcome = Outcome(run, data, run.attempt(data))
        return outcome.summary(publish_report(outcome.report_inputs()))
