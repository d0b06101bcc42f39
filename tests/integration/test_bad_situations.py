"""What goes wrong in the night and must end well: nothing lost, nothing twice, and a sentence that says what to do.

The kills come at a moment of chance; `MOIRAI_TEST_SEED` chooses another one (`make test-bad-situations` runs many).
"""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tasks.job import load_job
from tasks.warehouse import open_warehouse, warehouse_url

from .conftest import BIN, HORIZON, HOURS, POOL, ROOT, process, wait_for, write_job

pytestmark = pytest.mark.integration
CHANCE = random.Random(int(os.environ.get("MOIRAI_TEST_SEED", "0")))  # noqa: S311 - a moment, no secret
RUN = 240  # seconds that a run may take beside all else


def change(job_file, **changes):
    """Change settings of a job file."""
    settings = yaml.safe_load(job_file.read_text(encoding="utf-8")) | changes
    job_file.write_text(yaml.safe_dump(settings), encoding="utf-8")


def counts(job_file):
    """Rows of every table."""
    job = load_job(job_file)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        return warehouse.counts(job.name)


def assert_whole(job_file):
    """Every row is there, and once."""
    found = counts(job_file)
    assert found | {"observations": HOURS, "forecasts": HORIZON} == found


def engines(place):
    """Process ids of flow runs that a worker of this server started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = place.environment["PREFECT_API_URL"].encode() in (entry / "environ").read_bytes()
            is_run = b"prefect.engine" in (entry / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if is_ours and is_run:
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("database", ["duckdb", "postgresql"])
def test_a_worker_killed_in_the_middle_of_a_forecast_loses_and_doubles_nothing(place, database, request):
    """Worker and run are killed with -9; the next worker's run of the same job leaves every row once."""
    job_file = place.job_file.with_name(f"killed-{database}.yaml")
    job_file.write_bytes(place.job_file.read_bytes())
    url = "duckdb:///killed.duckdb" if database == "duckdb" else request.getfixturevalue("make_postgres")()
    change(job_file, name=f"killed-{database}", warehouse=url, workspace=f"work-{database}")
    deployment = place.client.read_deployment_by_name("forecast/scheduled")
    arguments = ("worker", "start", "--pool", POOL)
    environment = place.environment | {"PREFECT_WORKER_QUERY_SECONDS": "1"}
    parameters = {"job_file": str(job_file)}

    with process(place.folder, "killed-worker", *arguments, **environment) as worker:
        first = place.client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        wait_for(lambda: is_running(place, first.id), seconds=RUN, what="the run's start")
        time.sleep(CHANCE.uniform(0, 8))
        for one in [worker.pid, *engines(place)]:
            os.kill(one, signal.SIGKILL)
    wait_for(lambda: not engines(place), seconds=20, what="the end of the killed run")

    with process(place.folder, "next-worker", *arguments, **environment):
        again = place.client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
        state = wait_for(lambda: ended(place, again.id), seconds=RUN, what="the end of the next run")
        assert state.is_completed(), state
    assert_whole(job_file)


def is_running(place, run_id):
    """Whether a run is under way."""
    return place.client.read_flow_run(run_id).state.is_running()


def ended(place, run_id):
    """The state in which a run ended; None while it has not."""
    state = place.client.read_flow_run(run_id).state
    return state if state.is_final() else None


def test_a_server_restarted_in_the_middle_of_a_run(tmp_path):
    """The run waits for the server and goes on, or fails; either way the next one leaves every row once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    api = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {"PREFECT_API_URL": api, "PREFECT_HOME": str(tmp_path / "prefect")}
    job_file = write_job(tmp_path / "job")
    forecast = [BIN / "moirai", "forecast", str(job_file)]

    def server():
        return process(tmp_path, "server", "server", "start", "--host", "127.0.0.1", "--port", port, **environment)

    with server():
        wait_for_server(api)
        run = subprocess.Popen(forecast, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)  # noqa: S603
        wait_for(lambda: is_recorded(job_file), seconds=RUN, what="the run's first record")
        time.sleep(CHANCE.uniform(0, 4))
    with server():
        wait_for_server(api)
        _, said = run.communicate(timeout=RUN)
        assert run.returncode in (0, 1), said
        assert "error: " in said or run.returncode == 0, said
        again = subprocess.run(forecast, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        assert again.returncode == 0, again.stderr
    assert_whole(job_file)


def is_recorded(job_file):
    """Whether a run has begun; the warehouse may not exist yet."""
    job = load_job(job_file)
    return (job_file.parent / "warehouse.duckdb").exists() and counts(job_file)["runs"] > 0 and job


def wait_for_server(api):
    """Wait until Prefect's server answers."""
    from prefect.client.orchestration import SyncPrefectClient  # noqa: PLC0415 - see conftest

    with SyncPrefectClient(api) as client:
        wait_for(lambda: client.api_healthcheck() is None, seconds=90, what="the server's start")


def test_a_registry_that_is_down_when_a_forecast_starts(place):
    """The run says which address does not answer, and writes no forecast and no observation."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    job_file = place.job_file.with_name("no-registry.yaml")
    job_file.write_bytes(place.job_file.read_bytes())
    changes = {"warehouse": "duckdb:///no-registry.duckdb", "workspace": "no-registry", "tracking": closed}
    change(job_file, name="no-registry", model="models:/no-registry@champion", **changes)
    refused = place.run("moirai", "forecast", str(job_file))
    assert refused.returncode == 1
    assert f"tracking: {closed} does not answer; start the server" in refused.stderr
    found = counts(job_file)
    assert found | {"observations": 0, "forecasts": 0, "runs": 1} == found
