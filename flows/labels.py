"""What a run shows of itself in Prefect beside its states: name, tags, and why validation stopped it.

In: a name and tags; a job and the error that ended its run. Out: nothing. Outside of a flow run nothing happens; where
the server refuses or does not answer, a warning says so and the run goes on: a label is not worth a forecast.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run

from tasks.artifacts import publish_stop
from tasks.findings import findings_of
from tasks.job import Job

logger = logging.getLogger(__name__)


def label_run(name: str, tags: Iterable[str]) -> None:
    """Name the present flow run and add tags to those it began with, such as its deployment's.

    Args:
        name: shown in place of the name that the run began with.
        tags: all of ours; those of an earlier call are replaced.
    """
    if flow_run.id is None:
        return
    with _harmless("name this run"), get_client(sync_client=True) as client:
        client.update_flow_run(UUID(flow_run.id), name=name, tags=sorted({*flow_run.tags, *tags}))


def show_stop(job: Job, flow: str, reason: str, report: Path) -> None:
    """Leave what validation found as artifacts of the run it stopped.

    Args:
        job: whose run it is.
        flow: which flow it is.
        reason: text of the error.
        report: what validation wrote; where it is missing, validation did not come that far.
    """
    if flow_run.id is None or not report.is_file():
        return
    findings, panel = findings_of(report)
    with _harmless("keep what validation found"):
        publish_stop(job, flow, reason, findings, panel)


@contextmanager
def _harmless(what: str) -> Iterator[None]:
    """Turn what Prefect's client raises into a warning."""
    try:
        yield
    except (httpx.HTTPError, PrefectException, OSError) as error:
        logger.warning("Prefect could not %s: %s", what, error)
