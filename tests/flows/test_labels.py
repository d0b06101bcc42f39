"""What Prefect shows of a run: its name, its tags, and what was found and done."""

import logging
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.sorting import FlowRunSort

from flows.labels import label_run
from moirai.errors import MoiraiError

from .conftest import small_data, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")


def latest_run(name):
    """The last run of a job of this name, as Prefect keeps it."""
    tagged = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"job:{name}"]))
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=tagged, sort=FlowRunSort.START_TIME_DESC, limit=1)[0]


def artifact(key):
    """The text of the one artifact of this key."""
    keyed = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        (found,) = client.read_artifacts(artifact_filter=keyed)
    return found.data


def test_a_run_is_named_by_job_flow_and_origin(tmp_path):
    """The origin is the last time stamp of the data; the tags find the run."""
    from flows.forecast import forecast  # noqa: PLC0415 - Prefect reads its settings when it is imported

    forecast(str(write_job(tmp_path, name="named")))
    run = latest_run("named")
    assert run.name == "named forecast 2024-01-13 11:00"
    assert set(run.tags) == {"job:named", "flow:forecast", "model:tiny"}


def test_what_was_found_and_done_lies_under_one_key(tmp_path):
    """Checks, quarantine and changes are tables; what was not needed is said, too."""
    from flows.ingest import ingest  # noqa: PLC0415

    ingest(str(write_job(tmp_path, name="kept")))
    checks, quarantine, changes = (artifact(f"kept-ingest-{what}") for what in ("checks", "quarantine", "changes"))
    assert '"rule": "unique_timestamps"' in checks
    assert "no series was left out" in quarantine
    assert "line" not in quarantine
    assert '"rule": "grid"' in changes
    assert "mended" in artifact("kept-ingest-report")


def test_a_run_that_validation_stopped_shows_what_was_found(tmp_path):
    """The checks are there although the run failed, and the report says why it did."""
    from flows.ingest import ingest  # noqa: PLC0415

    frame = small_data()
    frame.loc[5, "sales"] = 99.0  # contradicts its repetition
    file = write_job(tmp_path, frame, name="stopped", transform={"duplicates": "error"})
    with pytest.raises(MoiraiError, match="repeat an earlier time stamp"):
        ingest(str(file))
    assert '"severity": "critical"' in artifact("stopped-ingest-checks")
    assert artifact("stopped-ingest-report").startswith("# stopped: stopped by validation")
    assert latest_run("stopped").name == "stopped ingest"


def test_a_server_that_refuses_costs_a_warning(monkeypatch, caplog):
    """A run is worth more than its name: the server does not know this one."""
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(uuid4()))
    with caplog.at_level(logging.WARNING, "flows.labels"):
        label_run("never seen", ["job:never"])
    assert "Prefect could not name this run: " in caplog.text


def test_outside_of_a_flow_nothing_is_named(caplog):
    """The same functions are called in tests and notebooks."""
    label_run("nobody", [])
    assert caplog.text == ""
