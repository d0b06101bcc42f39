"""Handing moments to workers: one run of a deployment each, whoever asks and however often.

In: a job, moments, the name of a deployment of the forecast flow. Out: what became of each moment. The runs have the
idempotency key `JOB:MOMENT`, so that asking twice makes one run; a run of that key that did not end well is begun
again. Fails with `OrchestrationError` where no server answers or the deployment does not exist.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import httpx
import pandas as pd
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.settings import get_current_settings
from prefect.states import AwaitingRetry

from flows.origins import Origin
from tasks.errors import OrchestrationError
from tasks.job import Job
from tasks.naming import moment_name

POLL = 2.0  # seconds between two looks at the runs
PAGE = 100  # runs that are asked for at once

logger = logging.getLogger(__name__)


@contextmanager
def server() -> Iterator[SyncPrefectClient]:
    """A client of the Prefect server that PREFECT_API_URL names.

    Raises:
        OrchestrationError: there is none, or it does not answer or refuses.
    """
    url = get_current_settings().api.url
    if url is None:
        raise OrchestrationError("this needs a Prefect server: start one and set PREFECT_API_URL (docs/operations.md)")
    try:
        with get_client(sync_client=True) as client:
            yield client
    except (httpx.HTTPError, PrefectException) as error:
        raise OrchestrationError(f"the Prefect server at {url} does not answer or refuses: {error}") from error


def deployment_id(client: SyncPrefectClient, name: str) -> UUID:
    """Id of a deployment of the forecast flow.

    Raises:
        OrchestrationError: there is none of this name, or it is one of another flow.
    """
    flow, _, rest = name.partition("/")
    if flow != "forecast" or not rest or "/" in rest:
        raise OrchestrationError(f"{name!r} is no deployment of the forecast flow; name one as forecast/NAME")
    try:
        return client.read_deployment_by_name(name).id
    except ObjectNotFound as error:
        mend = "`prefect deployment ls` shows those there are, deployments/README.md how they are made"
        raise OrchestrationError(f"the Prefect server has no deployment {name}; {mend}") from error


def hand_over(job: Job, job_file: str, stamps: Sequence[pd.Timestamp], deployment: str, *, wait: bool) -> list[Origin]:
    """Have workers forecast from some moments.

    Args:
        job: whose moments they are.
        job_file: path of the job file as the workers find it.
        stamps: as the data tell time.
        deployment: of the forecast flow, such as `forecast/scheduled`.
        wait: for the end of all runs; otherwise they are only handed over.
    """
    with server() as client:
        chosen = deployment_id(client, deployment)
        runs = {stamp: _run(client, chosen, job, job_file, stamp) for stamp in stamps}
        logger.info("handed %d moments of %s to %s", len(runs), job.name, deployment)
        if wait:
            runs = _ended(client, runs, lambda run: logger.info("%s: %s", run.name, run.state_name))
    return [_origin(stamp, run) for stamp, run in runs.items()]


def _run(client: SyncPrefectClient, deployment: UUID, job: Job, job_file: str, stamp: pd.Timestamp) -> FlowRun:
    """The run of a moment: a new one, or the one that is there already."""
    run = client.create_flow_run_from_deployment(
        deployment,
        parameters={"job_file": job_file, "as_of": stamp.isoformat()},
        idempotency_key=f"{job.name}:{stamp.isoformat()}",
        name=f"{job.name} forecast as of {moment_name(stamp, job.frequency)}",
        tags=[f"job:{job.name}", "backfill"],
    )
    if run.state is not None and run.state.is_final():  # an earlier attempt, and the moment is still not served
        client.set_flow_run_state(run.id, AwaitingRetry(), force=True)
        run = client.read_flow_run(run.id)
    return run


def _ended(
    client: SyncPrefectClient, runs: dict[pd.Timestamp, FlowRun], tell: Callable[[FlowRun], None]
) -> dict[pd.Timestamp, FlowRun]:
    """The runs once all have ended; each is told of as it ends."""
    stamps = {run.id: stamp for stamp, run in runs.items()}
    ended, open_ids = dict(runs), list(stamps)
    while open_ids:
        time.sleep(POLL)
        for start in range(0, len(open_ids), PAGE):
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=open_ids[start : start + PAGE]))
            for run in client.read_flow_runs(flow_run_filter=wanted):
                if run.state is not None and run.state.is_final():
                    ended[stamps[run.id]] = run
                    tell(run)
        open_ids = [one for one in open_ids if not _is_final(ended[stamps[one]])]
    return ended


def _is_final(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def _origin(stamp: pd.Timestamp, run: FlowRun) -> Origin:
    """What became of a moment, by the state of its run."""
    as_of, state = stamp.to_pydatetime(), run.state
    if state is None or not state.is_final():
        return Origin(as_of=as_of, status="handed over", run_id=str(run.id))
    if state.is_completed():
        return Origin(as_of=as_of, status="made", run_id=str(run.id))
    return Origin(as_of=as_of, status="failed", run_id=str(run.id), why=f"{state.name}: {state.message}")
