"""The same flow embedded, against a server, and from a deployment: real processes, nothing simulated."""

import json

import pytest

from tasks.job import load_job
from tasks.warehouse import open_warehouse, warehouse_url

from .conftest import HORIZON, HOURS, ROOT, process, wait_for

pytestmark = pytest.mark.integration
FORECAST, GPU_POOL = "forecast/daily", "moirai-gpu"
DEPLOYMENTS = {FORECAST, "ingest/on-demand", "finetune/on-demand", "backtest/on-demand", "pipeline/on-demand"}
OF_THE_RUN = ["run_id", "issued_at"]


def stored(place):
    """Forecasts without what tells attempts apart, and the number of rows of every table."""
    job = load_job(place.job_file)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        forecasts = warehouse.read_forecasts(job.name)
        assert forecasts["run_id"].nunique() == 1, "one run's rows"
        return forecasts.drop(columns=OF_THE_RUN), warehouse.counts(job.name), str(forecasts["run_id"].iloc[0])


def scheduled(place, deployment):
    """Runs that the scheduler made for a deployment."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId  # noqa: PLC0415 - see conftest
    from prefect.client.schemas.objects import StateType  # noqa: PLC0415

    found = place.client.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])))
    return [run for run in found if run.auto_scheduled and run.state_type is StateType.SCHEDULED]


def final_state(place, run_id):
    """The state in which a run ended; None while it has not."""
    state = place.client.read_flow_run(run_id).state
    return state if state.is_final() else None


def messages(place, run_id):
    """What a run logged, as the server has it."""
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId  # noqa: PLC0415 - see conftest

    logs = place.client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])))
    return [one.message for one in logs]


def test_every_flow_is_deployed_and_only_the_job_is_of_this_machine(place):
    """Entry points are module paths, nothing is fetched before a run, and no path but the job's is written down."""
    found = {name: place.client.read_deployment_by_name(name) for name in DEPLOYMENTS}
    assert len(place.client.read_deployments()) == len(DEPLOYMENTS)
    for name, one in found.items():
        flow = name.partition("/")[0]
        assert one.entrypoint == f"flows.{flow}.{flow}"
        assert one.parameters == {"job_file": str(place.job_file)}
        assert one.pull_steps == []
        assert one.global_concurrency_limit.limit == 1
        assert str(ROOT) not in one.model_dump_json()


def test_a_deployment_with_a_cron_gets_scheduled_runs(place):
    """The scheduler works: with a library that does not fit, it silently makes no runs, and only its log says so."""
    deployment = place.client.read_deployment_by_name(FORECAST)
    (schedule,) = deployment.schedules
    assert (schedule.schedule.timezone, schedule.slug) == ("UTC", "daily-0415-utc")
    runs = wait_for(lambda: scheduled(place, deployment), seconds=60, what="a scheduled run")
    assert all((run.expected_start_time.hour, run.expected_start_time.minute) == (4, 15) for run in runs)


def test_deploying_without_a_job_is_refused(place):
    """An unset or relative path would only be noticed when the schedule fires; the message says what to set."""
    for path in (None, "deployments/examples/metro_traffic/job.yaml"):
        refused = place.deploy(MOIRAI_JOB=path)
        assert refused.returncode == 1
        assert "set MOIRAI_JOB to the absolute path of a job file" in refused.stdout + refused.stderr


def test_the_same_flow_gives_the_same_rows_in_all_three_ways(place, request):
    """Embedded, against the server and from the deployment: equal forecasts, no row twice, three attempts on record."""
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415 - see conftest

    command = ("forecast", str(place.job_file), "--json")

    embedded = place.run("moirai", *command, PREFECT_API_URL=None, PREFECT_HOME=str(place.folder / "embedded"))
    assert embedded.returncode == 0, embedded.stderr
    first, counts, run_id = stored(place)
    assert json.loads(embedded.stdout)["run_id"] == run_id
    assert len(first) == HORIZON
    assert counts | {"observations": HOURS, "forecasts": HORIZON, "runs": 1} == counts
    with pytest.raises(ObjectNotFound):
        place.client.read_flow_run(run_id)

    served = place.run("moirai", *command)
    assert served.returncode == 0, served.stderr
    second, _, run_id = stored(place)
    assert place.client.read_flow_run(run_id).state.is_completed(), "the server knows the run"
    assert second.equals(first)

    deployment = place.client.read_deployment_by_name(FORECAST)
    place.client.pause_deployment(deployment.id)  # nothing else runs, even at a quarter past four
    request.getfixturevalue("worker")
    asked = place.client.create_flow_run_from_deployment(deployment.id)
    state = wait_for(lambda: final_state(place, asked.id), seconds=90, what="the end of the deployment's run")
    assert state.is_completed(), state
    third, counts, run_id = stored(place)
    assert run_id == str(asked.id)
    assert third.equals(first)
    assert counts | {"observations": HOURS, "forecasts": HORIZON, "runs": 3} == counts
    said = f"stored {HORIZON} rows of forecasts"
    wait_for(lambda: said in messages(place, asked.id), seconds=10, what="the log of our own packages on the server")


def test_a_fine_tuning_runs_in_the_pool_of_the_gpu(place):
    """Deployed to a pool of its own, trained in a process of its own; what that process logs reaches the server."""
    made = place.run("prefect", "work-pool", "create", GPU_POOL, "--type", "process")
    assert made.returncode == 0, made.stdout + made.stderr
    deployed = place.deploy(file="deployments/gpu.yaml")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    deployments = [place.client.read_deployment_by_name(name) for name in ("finetune/gpu", "pipeline/gpu")]
    try:
        assert {one.work_pool_name for one in deployments} == {GPU_POOL}
        assert {one.job_variables["env"]["CUDA_VISIBLE_DEVICES"] for one in deployments} == {"0"}
        asked = place.client.create_flow_run_from_deployment(deployments[0].id)
        with process(
            place.folder,
            "gpu-worker",
            *("worker", "start", "--pool", GPU_POOL),
            **place.environment | {"PREFECT_WORKER_QUERY_SECONDS": "1"},
        ):
            state = wait_for(lambda: final_state(place, asked.id), seconds=120, what="the end of the fine-tuning")
            assert state.is_completed(), state
        said = messages(place, asked.id)
        assert any(line.startswith("step 2/2: ") for line in said)
        assert any(line.startswith("WQL / MASE of the held-out windows: zero-shot") for line in said)
    finally:
        for one in deployments:
            place.client.delete_deployment(one.id)
