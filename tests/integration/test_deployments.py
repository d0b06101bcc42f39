"""The same flow embedded, against a server, and from a deployment: real processes, nothing simulated."""

import json
import re
from datetime import timedelta

import httpx
import pytest

from tasks.job import load_job
from tasks.warehouse import open_warehouse, warehouse_url

from .conftest import HORIZON, HOURS, ROOT, process, wait_for, write_job

pytestmark = pytest.mark.integration
FORECAST, SCHEDULED, GPU_POOL = "forecast/daily", "forecast/scheduled", "moirai-gpu"
ON_DEMAND = ("backfill", "ingest", "finetune", "backtest", "promote", "rollback", "pipeline")
DEPLOYMENTS = {FORECAST, SCHEDULED, *(f"{flow}/on-demand" for flow in ON_DEMAND)}
PROMOTION = {"promote", "rollback"}  # two flows of one module
EMIT = """
from prefect.events import emit_event
from prefect.events.worker import EventsWorker

resource = {"prefect.resource.id": "moirai.job.other", "prefect.resource.name": "other"}
emit_event("moirai.challenger.registered", resource=resource, payload={"job_file": "/jobs/other.yaml"})
EventsWorker.instance().drain()
"""
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
        assert one.entrypoint == f"flows.{'promote' if flow in PROMOTION else flow}.{flow}"
        assert one.pull_steps == []
        assert str(ROOT) not in one.model_dump_json()
        serves_many = name == SCHEDULED  # which job is said by each schedule, and none waits for another
        assert one.parameters == ({} if serves_many else {"job_file": str(place.job_file)})
        assert (one.global_concurrency_limit is None) == serves_many


def test_a_new_challenger_starts_a_promotion_of_its_job(place):
    """The event of a fine-tuning makes one run, with the event's job file; deploying again doubles nothing."""
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName  # noqa: PLC0415 - see conftest

    again = place.deploy()
    assert again.returncode == 0, again.stdout + again.stderr
    (automation,) = place.client.request("POST", "/automations/filter", json={}).json()
    assert automation["trigger"]["expect"] == ["moirai.challenger.registered"]
    emitted = place.run("python", "-c", EMIT)  # this process may have sent events to another server before
    assert emitted.returncode == 0, emitted.stdout + emitted.stderr
    promote = FlowFilter(name=FlowFilterName(any_=["promote"]))
    runs = wait_for(
        lambda: place.client.read_flow_runs(flow_filter=promote), seconds=60, what="the run of the promotion"
    )
    assert [run.parameters["job_file"] for run in runs] == ["/jobs/other.yaml"]
    place.client.delete_flow_run(runs[0].id)


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_a_pool_of_containers_is_made_from_its_template(place, kind):
    """The server takes the template, and every variable of it has a default or may be left out."""
    template = ROOT / "deployments" / f"pool-{kind}.json"
    made = place.run("prefect", "work-pool", "create", kind, "--type", kind, "--base-job-template", str(template))
    assert made.returncode == 0, made.stdout + made.stderr
    kept = place.client.read_work_pool(kind).base_job_template
    properties = kept["variables"]["properties"]
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(kept["job_configuration"])))
    assert used == set(properties)
    optional = {"name", "command", "env", "labels"}  # Prefect fills them in
    assert {name for name, one in properties.items() if "default" not in one} == optional


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


def completed(file):
    """The completed runs of a job."""
    job = load_job(file)
    with open_warehouse(warehouse_url(job)) as warehouse:
        runs = warehouse.read_runs(job.name)
    return runs[runs["status"] == "completed"]


def test_a_second_job_on_the_same_deployment_runs_at_its_moments(place, request):
    """Its schedule lands where it says; a moment that it missed is made by a worker, after a first attempt failed.

    It shares the warehouse with the first job, whose rows stay as they are.
    """
    from prefect.states import Failed  # noqa: PLC0415 - see conftest

    first = load_job(place.job_file)
    with open_warehouse(warehouse_url(first)) as warehouse:
        before = warehouse.counts(first.name)
    settings = {"warehouse": warehouse_url(first), "schedule": {"every": "30s"}}
    file = write_job(place.folder / "second", name="second", **settings)
    span = ("--from", "2024-01-16T05:00:00", "--to", "2024-01-16T05:00:00", "--every", "1h", "--deployment", SCHEDULED)
    backfill = ("backfill", str(file), *span, "--json")
    handed = place.run("moirai", *backfill, "--no-wait")
    assert handed.returncode == 0, handed.stderr
    (origin,) = json.loads(handed.stdout)["origins"]
    place.client.set_flow_run_state(origin["run_id"], Failed(message="as if its worker had died"), force=True)

    request.getfixturevalue("worker")
    again = place.run("moirai", *backfill)
    assert again.returncode == 0, again.stderr
    (made,) = json.loads(again.stdout)["origins"]
    assert (made["status"], made["run_id"]) == ("made", origin["run_id"])

    scheduled = place.run("moirai", "schedule", str(file))
    assert scheduled.returncode == 0, scheduled.stderr
    wait_for(lambda: len(completed(file)) > 1, seconds=120, what="a scheduled run")
    taken = place.run("moirai", "schedule", str(file), "--remove")
    assert taken.returncode == 0, taken.stderr
    backfilled, landed = completed(file).to_dict("records")[:2]
    assert str(backfilled["as_of"]) == "2024-01-16 05:00:00"
    assert (landed["as_of"].second % 30, landed["as_of"].microsecond) == (0, 0)
    assert timedelta(0) < landed["started_at"] - landed["as_of"] < timedelta(seconds=120)
    with open_warehouse(warehouse_url(first)) as warehouse:
        assert warehouse.counts(first.name) == before


def test_a_laptop_serves_its_jobs_until_it_is_stopped(place):
    """With a server of its own on the loopback interface: a scheduled run lands, and SIGTERM leaves nothing behind."""
    file = write_job(place.folder / "third", name="third", schedule={"every": "15s"})
    environment = {name: value for name, value in place.environment.items() if name != "PREFECT_API_URL"}
    environment |= {"PREFECT_HOME": str(place.folder / "laptop"), "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    with process(place.folder, "serve", "serve", str(file), "--limit", "1", program="moirai", **environment) as served:
        wait_for(lambda: len(completed(file)), seconds=180, what="a scheduled run")
        served.terminate()
        assert served.wait(30) == 0
    said = (place.folder / "serve.log").read_text(encoding="utf-8")
    url = re.search(r"starting a Prefect server on (http://127.0.0.1:\d+)/api", said)[1]
    assert "made the concurrency limit warehouse-writer with 1 place" in said
    assert "the schedules are paused" in said
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/api/health", trust_env=False)


def test_a_fine_tuning_runs_in_the_pool_of_the_gpu(place):
    """Deployed to a pool of its own, trained in a process of its own; what that process logs reaches the server."""
    made = place.run("prefect", "work-pool", "create", GPU_POOL, "--type", "process")
    assert made.returncode == 0, made.stdout + made.stderr
    deployed = place.deploy(file="deployments/gpu.yaml")
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    deployments = [
        place.client.read_deployment_by_name(name) for name in ("finetune/gpu", "pipeline/gpu", "pretrain/gpu")
    ]
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
