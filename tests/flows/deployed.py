"""A flow run as workers make one: of a deployment, perhaps by the scheduler; run in this process."""

from datetime import timedelta
from uuid import uuid4


def run_deployed(flow, parameters=None, *, scheduled=None):
    """Run a flow as a worker would; `scheduled` is the moment for which the scheduler makes the run.

    Returns:
        Id of the run, and the state in which it ended.
    """
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - Prefect reads its settings when imported
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId  # noqa: PLC0415
    from prefect.flow_engine import run_flow  # noqa: PLC0415
    from prefect.schedules import Interval  # noqa: PLC0415

    every = {"schedule": Interval(timedelta(days=1), anchor_date=scheduled, timezone="UTC")} if scheduled else {}
    deployment = flow.to_deployment(f"test-{uuid4()}", parameters=parameters, **every).apply()
    with get_client(sync_client=True) as client:
        if scheduled is None:
            made = client.create_flow_run_from_deployment(deployment)
        else:  # what the scheduler does from time to time, for a moment of any time
            span = {"start_time": scheduled.isoformat(), "end_time": (scheduled + timedelta(hours=1)).isoformat()}
            client.request("POST", f"/deployments/{deployment}/schedule", json=span | {"min_runs": 1, "max_runs": 1})
            wanted = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
            (made,) = client.read_flow_runs(deployment_filter=wanted)
        client.pause_deployment(deployment)
    return made.id, run_flow(flow, flow_run=made, parameters=parameters or {}, return_type="state")
