"""The parameters of the flows: the form that Prefect shows of each, and what it lets through."""

import json
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.utilities.callables import parameter_schema

from flows.pretrain import pretrain
from flows.serve import FLOWS

EVERY = [*FLOWS, pretrain]
REQUIRED = {"backfill": ["job_file", "start", "end"], "pretrain": ["config_file"]}


@pytest.mark.parametrize("flow", EVERY, ids=lambda flow: flow.name)
def test_every_field_has_a_name_a_kind_and_a_meaning(flow):
    """What a person sees who runs a deployment: no field without help, and only what has no default is asked for."""
    schema = parameter_schema(flow)
    assert schema.required == REQUIRED.get(flow.name, ["job_file"])
    for name, field in schema.properties.items():
        assert field["title"] == name
        assert len(field["description"]) > 15, name
        assert "type" in field or "anyOf" in field, name
        assert ("default" in field) == (name not in schema.required)


@pytest.mark.parametrize("flow", EVERY, ids=lambda flow: flow.name)
def test_moments_are_dates_and_nothing_is_nested(flow):
    """So that the form has a calendar, and `-p as_of=2018-09-01T00:00:00` works."""
    properties = parameter_schema(flow).properties
    assert "$ref" not in json.dumps(properties)
    for name in {"as_of", "start", "end"} & set(properties):
        kinds = properties[name].get("anyOf", [properties[name]])
        assert {kind.get("format", kind["type"]) for kind in kinds} <= {"date-time", "null"}
    if flow.name not in {"pretrain", "rollback", "backfill"}:
        assert "as_of" in properties


def test_every_flow_of_the_package_is_served():
    """A flow that is added is deployed, too."""
    folder = Path(__file__).parents[2] / "flows"
    decorated = sum(path.read_text(encoding="utf-8").count("\n@flow(") for path in folder.glob("*.py"))
    assert len({flow.name for flow in EVERY}) == decorated


def test_the_server_refuses_what_does_not_fit(prefect_server):  # noqa: ARG001 - the client needs it
    """A moment that is none is refused when a run is asked for, not when a worker has begun it."""
    from flows.forecast import forecast  # noqa: PLC0415 - Prefect reads its settings when it is imported

    made = forecast.to_deployment("form", parameters={"job_file": "/jobs/job.yaml"}).apply()
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(made, parameters={"as_of": "2018-09-01T00:00:00"})
        assert run.parameters["job_file"] == "/jobs/job.yaml"
        with pytest.raises(PrefectHTTPStatusError, match="as_of"):
            client.create_flow_run_from_deployment(made, parameters={"as_of": 7})
        client.delete_deployment(made)
