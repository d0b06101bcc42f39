"""Moments that are handed to workers: one run of the deployment each, whoever asks and however often."""

import threading
import time

import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.states import Completed, Failed

from flows import hand_over as module
from flows.hand_over import hand_over
from tasks.job import load_job

from .conftest import write_job

pytestmark = pytest.mark.usefixtures("prefect_server")
MOMENTS = [pd.Timestamp("2024-01-13 04:00"), pd.Timestamp("2024-01-13 05:00")]
PLACE = "forecast/workers"


@pytest.fixture
def job(tmp_path):
    """The small job, and a deployment whose workers would forecast it; runs have its folder's name in their key."""
    from flows.forecast import forecast  # noqa: PLC0415 - Prefect reads its settings when it is imported

    made = forecast.to_deployment(PLACE.partition("/")[2]).apply()
    yield load_job(write_job(tmp_path, name=f"j{abs(hash(tmp_path))}"))
    with get_client(sync_client=True) as client:
        client.delete_deployment(made)


def given(job, *, wait=False):
    """Hand over both moments."""
    return hand_over(job, "/jobs/job.yaml", MOMENTS, PLACE, wait=wait)


def ended(run_id, state):
    """Let a run end as a worker would, without the work."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run_id, state, force=True)


def test_each_moment_is_one_run_that_stands_at_it(job):
    """Asked twice, by two backfills, there is still one run of each."""
    first, second = given(job), given(job)
    assert [one.status for one in first] == ["handed over"] * 2
    assert [one.run_id for one in first] == [one.run_id for one in second]
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(first[0].run_id)
    assert run.parameters == {"job_file": "/jobs/job.yaml", "as_of": "2024-01-13T04:00:00"}
    assert run.idempotency_key == f"{job.name}:2024-01-13T04:00:00"
    assert f"job:{job.name}" in run.tags


def test_a_run_that_did_not_serve_its_moment_is_begun_again(job):
    """The moment is still missing, whether its run failed or ended without a row: the same run is due once more."""
    first = given(job)
    ended(first[0].run_id, Failed(message="out of disk"))
    ended(first[1].run_id, Completed())
    again = given(job)
    assert [one.run_id for one in again] == [one.run_id for one in first]
    with get_client(sync_client=True) as client:
        assert [client.read_flow_run(one.run_id).state.is_scheduled() for one in again] == [True, True]


def test_waiting_tells_how_each_run_ended(job, monkeypatch):
    """A run that fails does not end the wait for the others."""
    monkeypatch.setattr(module, "POLL", 0.05)
    runs = [one.run_id for one in given(job)]

    def work():
        time.sleep(0.3)
        ended(runs[0], Failed(message="out of disk"))
        time.sleep(0.3)
        ended(runs[1], Completed())

    worker = threading.Thread(target=work)
    worker.start()
    told = given(job, wait=True)
    worker.join()
    assert [(one.status, one.why) for one in told] == [("failed", "Failed: out of disk"), ("made", "")]
