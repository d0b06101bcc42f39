"""Limits that runs of deployments share, and the moment at which a scheduled run stands."""

from datetime import UTC, datetime

import pytest
from prefect import flow
from prefect.client.orchestration import get_client

from flows.run import scheduled_moment
from tasks.limits import GPU, WRITER, training, writing

from .deployed import run_deployed

pytestmark = pytest.mark.usefixtures("prefect_server")
DUCKDB, POSTGRES = "duckdb:///w.duckdb", "postgresql://host/w"


@flow
def write(url: str, accelerator: str = "cpu") -> int:
    """Write, and train."""
    with writing(url), training(accelerator), get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(WRITER).active_slots


def test_a_missing_limit_is_one_error_with_the_command_that_makes_it():
    """A run of a deployment that would write a DuckDB stops before it does."""
    _, state = run_deployed(write, {"url": DUCKDB})
    assert state.is_failed()
    assert f"no concurrency limit {WRITER}" in state.message
    assert f"prefect gcl create {WRITER} --limit 1" in state.message


def test_a_missing_limit_of_gpus_is_one_error_too(writer_limit):  # noqa: ARG001 - it only has to be there
    """For a job that trains on a GPU."""
    _, state = run_deployed(write, {"url": DUCKDB, "accelerator": "gpu"})
    assert f"prefect gcl create {GPU} --limit 1" in state.message


def test_a_run_of_a_deployment_holds_its_place_while_it_writes(writer_limit):  # noqa: ARG001
    """One place is taken meanwhile, and free again afterwards; PostgreSQL takes many writers and needs none."""
    _, state = run_deployed(write, {"url": DUCKDB})
    assert state.result() == 1
    with get_client(sync_client=True) as client:
        assert client.read_global_concurrency_limit_by_name(WRITER).active_slots == 0
    _, state = run_deployed(write, {"url": POSTGRES})
    assert state.result() == 0


def test_a_command_needs_no_limit():
    """Outside of a deployment nothing is held, and nothing has to be there."""
    with writing(DUCKDB), training("gpu"):
        pass


@flow
def moment() -> datetime | None:
    """The moment for which the scheduler made the run."""
    return scheduled_moment()


def test_only_a_run_that_the_scheduler_made_stands_at_its_scheduled_time():
    """One that someone asked for does not, be it of a deployment or not."""
    planned = datetime(2024, 1, 10, 5, tzinfo=UTC)
    _, state = run_deployed(moment, scheduled=planned)
    assert state.result() == planned
    assert type(state.result()) is datetime
    assert run_deployed(moment)[1].result() is None
    assert moment() is None
