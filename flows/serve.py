"""`moirai serve`: all flows from one process of one machine, with the schedules of some jobs.

In: job files, how many runs at a time. Out: nothing; it ends when it is stopped, by Ctrl-C or SIGTERM: schedules are
paused and its runs end. Where no Prefect server is named, one is started on the loopback interface and stopped with it.
Fails with `JobError`, and with `OrchestrationError` where the server does not come up.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.types.entrypoint import EntrypointType

from flows.backfill import backfill
from flows.backtest import backtest
from flows.finetune import REGISTERED, finetune
from flows.forecast import forecast
from flows.hand_over import server
from flows.ingest import ingest
from flows.pipeline import pipeline
from flows.promote import promote, rollback
from flows.schedule import in_words, jobs_by_file, planned
from tasks.calendar import next_moment
from tasks.errors import OrchestrationError
from tasks.job import Job
from tasks.limits import LIMITS

FLOWS: tuple[Flow[..., Any], ...] = (ingest, finetune, backtest, promote, rollback, forecast, backfill, pipeline)
NAME = "served"  # of the deployment of each flow
PORT, LOOPBACK = 4200, "127.0.0.1"
START, STOP = 120.0, 20.0  # seconds that a server may take

logger = logging.getLogger(__name__)


def serve(job_files: Sequence[Path], *, limit: int, verbose: bool) -> None:
    """Serve all flows until the process is stopped.

    Args:
        job_files: jobs whose schedules are kept; one without a schedule is run when asked for.
        limit: runs at the same time.
        verbose: show what the server says.
    """
    jobs = jobs_by_file(job_files)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for what a script starts with &
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with ExitStack() as stack:
        url = get_current_settings().api.url
        if url is None:
            url = stack.enter_context(_own_server(verbose=verbose))
            stack.enter_context(temporary_settings({PREFECT_API_URL: url}))
        with server() as client:
            make_limits(client)
            forget_others(client, jobs)
        for file, job in jobs.items():
            coming = next_moment(job.schedule, datetime.now(UTC)) if job.schedule else None
            when = f"{in_words(job)}, next at {coming:%Y-%m-%d %H:%M} UTC" if coming else "when asked"
            logger.info("%s (%s): %s", job.name, file, when)
        logger.info("serving %d flows, %d runs at a time; %s", len(FLOWS), limit, url.removesuffix("/api"))
        runner = _Runner(pause_on_shutdown=True, limit=limit)
        for one in deployments(jobs):
            runner.add_deployment(one)
        try:
            asyncio.run(runner.start())
        except KeyboardInterrupt:
            logger.info("stopped; the schedules are paused until the next `moirai serve`")


class _Runner(Runner):
    """Prefect's runner, which ends by SIGTERM as it does by Ctrl-C: its own way leaves the schedules unpaused."""

    def handle_sigterm(self, *_: Any, **__: Any) -> None:
        """Go the way of Ctrl-C."""
        os.kill(os.getpid(), signal.SIGINT)


def deployments(jobs: Mapping[Path, Job]) -> list[RunnerDeployment]:
    """A deployment of each flow; that of the forecast flow has the schedules, each with its job file."""
    (only,) = jobs if len(jobs) == 1 else [None]
    schedules = [planned(job, file) for file, job in jobs.items() if job.schedule]
    made: list[Any] = [  # Prefect's types allow for a coroutine, which it is not outside of one
        flow.to_deployment(
            NAME,
            schedules=schedules if flow is forecast else None,
            parameters={"job_file": str(only)} if only else {},
            triggers=[promotion_trigger()] if flow is promote else None,
            tags=["moirai", NAME],
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        for flow in FLOWS
    ]
    return made


def promotion_trigger() -> DeploymentEventTrigger:
    """What starts a promotion: a new challenger, of whatever job."""
    return DeploymentEventTrigger(
        name="promote a new challenger",
        expect={REGISTERED},
        match={"prefect.resource.id": "moirai.job.*"},
        parameters={"job_file": "{{ event.payload.job_file }}"},
    )


def forget_others(client: SyncPrefectClient, jobs: Mapping[Path, Job]) -> None:
    """Take away the schedules of jobs that an earlier `moirai serve` had and this one has not."""
    try:
        found = client.read_deployment_by_name(f"{forecast.name}/{NAME}")
    except ObjectNotFound:
        return
    names = {job.name for job in jobs.values() if job.schedule}
    for one in client.read_deployment_schedules(found.id):
        if one.slug not in names:
            client.delete_deployment_schedule(found.id, one.id)


def make_limits(client: SyncPrefectClient) -> None:
    """Make the limits that runs of deployments share, where they do not exist."""
    for name, places in LIMITS.items():
        try:
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            try:
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=places))
            except ObjectAlreadyExists:  # another process was first
                continue
            logger.info("made the concurrency limit %s with %d place", name, places)


@contextmanager
def _own_server(*, verbose: bool) -> Iterator[str]:
    """A Prefect server on the loopback interface while the block runs; gives its URL."""
    port = _free_port()
    url = f"http://{LOOPBACK}:{port}/api"
    logger.info("starting a Prefect server on %s; PREFECT_API_URL names one that runs", url)
    child = subprocess.Popen(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)],
        env=os.environ | {"PREFECT_API_URL": url},
        stdout=None if verbose else subprocess.DEVNULL,
        stderr=None if verbose else subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us: schedules are paused before the server goes
    )
    try:
        _wait_for(child, url)
        yield url
    finally:
        child.terminate()
        try:
            child.wait(STOP)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_for(child: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and child.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise OrchestrationError(f"no Prefect server came up on {url}; `moirai serve --verbose` shows what it says")


def _free_port() -> int:
    """Prefect's own port, or any other where that is taken."""
    for port in (PORT, 0):
        try:
            with socket.create_server((LOOPBACK, port)) as free:
                return int(free.getsockname()[1])
        except OSError:
            continue
    raise OrchestrationError(f"no port is free on {LOOPBACK}")
