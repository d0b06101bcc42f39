"""Runs in MLflow: where they go, what they hold, and what is said when they cannot be kept."""

import json
import sqlite3
import subprocess
import sys
import traceback
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from prefect.states import Failed

from tasks import mlflow_store, tracking
from tasks.errors import TrackingError

from .shop import make_attempt, make_job, make_panel


@pytest.fixture
def job(tracking_uri, tmp_path):
    """A job with an MLflow database of its own."""
    return make_job(tmp_path, tracking=tracking_uri)


@pytest.fixture
def panel(tmp_path):
    """A month of one series."""
    return make_panel(tmp_path)


def log(job, panel, **parts):
    """Log a run of the named parts only."""
    empty = {"tags": {}, "params": {}, "metrics": {}, "series": {}, "tables": {}, "figures": {}, "files": []}
    said = {"stage": "finetune", "description": "Better."}
    return tracking.log_run(job, make_attempt(panel), panel=panel, **{**said, **empty, **parts})


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("sqlite:///mlflow.db", "sqlite:///{folder}/mlflow.db"),
        ("sqlite:///state/runs.db", "sqlite:///{folder}/state/runs.db"),
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
        ("http://tracking.example:5000", "http://tracking.example:5000"),
        ("https://tracking.example/mlflow", "https://tracking.example/mlflow"),
    ],
)
def test_a_relative_store_starts_at_the_jobs_folder(tmp_path, monkeypatch, setting, expected):
    """The working directory plays no part; absolute paths and servers stay as they are."""
    monkeypatch.chdir("/")
    uri = tracking.tracking_uri(make_job(tmp_path, tracking=setting))
    assert uri == expected.format(folder=tmp_path)


@pytest.mark.parametrize("setting", ["file:///tmp/mlruns", "./mlruns", "sqlite:///", "mysql://u:secret@db/mlflow"])
def test_a_store_mlflow_would_refuse_is_refused_with_the_mend(tmp_path, setting):
    """The error names the setting and what to write; it never shows a password."""
    job = make_job(tmp_path).model_copy(update={"tracking": setting})
    with pytest.raises(TrackingError, match=r"tracking: .*write sqlite:///FILE") as caught:
        tracking.tracking_uri(job)
    assert "secret" not in str(caught.value)


def test_artifacts_go_to_the_workspace(job, tmp_path, monkeypatch):
    """MLflow's own default, a folder in the working directory, is not used."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    first = tracking.open_experiment(job)
    assert tracking.open_experiment(job) == first, "a second call finds the first experiment"
    experiment = mlflow_store.connect(job).get_experiment(first)
    assert experiment.name == "shop"
    assert experiment.artifact_location == (job.workspace_path / "mlartifacts").as_uri()
    assert not list(elsewhere.iterdir())


def test_a_run_holds_what_the_stage_found(job, panel, tmp_path):
    """Settings, own parameters, final and stepwise metrics, figures, files and tags can be read back."""
    figure = Figure()
    figure.subplots().plot([1, 2])
    table = tmp_path / "scores.csv"
    table.write_text("mase\n0.8\n")
    losses = [(step, 1 / step) for step in range(1, 2501)]
    run_id = log(
        job,
        panel,
        tags={"training_key": "abc"},
        params={"steps": 2500, "long": "x" * 9000},
        metrics={"MASE[0.5]": 0.8, "undefined": float("nan")},
        series={"train_loss": losses},
        tables={"checks": [{"rule": "finite", "count": 3}], "quarantine": []},
        figures={"loss": figure},
        files=[table],
    )
    client = mlflow_store.connect(job)
    run = client.get_run(run_id)
    assert (run.info.run_name, run.info.status) == ("shop finetune 2024-01-30", "FINISHED")
    assert run.data.params["horizon"] == "7"
    assert run.data.params["finetune.max_steps"] == "400"
    assert json.loads(run.data.params["columns.target"]) == ["sales"]
    assert (run.data.params["steps"], len(run.data.params["long"])) == ("2500", 6000)
    assert run.data.metrics["MASE_0.5"] == 0.8
    assert pd.isna(run.data.metrics["undefined"])
    history = client.get_metric_history(run_id, "train_loss")
    assert [(point.step, point.value) for point in history] == losses
    assert run.data.tags["training_key"] == "abc"
    assert run.data.tags["config_hash"] == job.config_hash()
    assert run.data.tags["mlflow.note.content"] == "Better."
    assert {item.path for item in client.list_artifacts(run_id)} == {"figures", "job.yaml", "scores.csv", "tables"}
    assert [item.path for item in client.list_artifacts(run_id, "tables")] == ["tables/checks.json"]
    kept = json.loads(Path(client.download_artifacts(run_id, "tables/checks.json", str(tmp_path))).read_text())
    assert kept == {"columns": ["rule", "count"], "data": [["finite", 3]]}
    assert [item.path for item in client.list_artifacts(run_id, "figures")] == ["figures/loss.png"]


def test_a_run_is_found_by_the_flow_that_made_it(job, panel):
    """Job, flow, flow run, moment and origin are tags, and the command is the run's source."""
    tags = mlflow_store.connect(job).get_run(log(job, panel)).data.tags
    expected = {"job": "shop", "flow": "pipeline", "flow_run_id": "run-1", "stage": "finetune"}
    expected |= {"as_of": "2024-01-31 00:00:00", "origin": "2024-01-30 00:00:00"}
    assert expected.items() <= tags.items()
    assert tags["mlflow.source.name"] == "moirai pipeline"


def test_a_report_is_added_to_a_run_that_has_ended(job, panel, tmp_path):
    """The page is made last, and still lies with the backtest."""
    page = tmp_path / "shop.html"
    page.write_text("<!doctype html>")
    run_id = log(job, panel)
    tracking.add_report(job, run_id, str(page))
    client = mlflow_store.connect(job)
    assert [item.path for item in client.list_artifacts(run_id, "report")] == ["report/shop.html"]
    assert client.get_run(run_id).info.status == "FINISHED"


def test_the_panel_is_noted_but_not_copied(job, panel):
    """Digest, path and size stand in the run; the rows stay where they are."""
    run = mlflow_store.connect(job).get_run(log(job, panel))
    (noted,) = run.inputs.dataset_inputs
    assert noted.dataset.digest == panel.digest == run.data.tags["panel_digest"]
    assert noted.dataset.name == "shop"
    assert json.loads(noted.dataset.source) == {"uri": panel.path}
    assert json.loads(noted.dataset.profile)["num_rows"] == 30
    assert not list(job.workspace_path.rglob("*.parquet"))


def test_a_log_that_fails_leaves_a_failed_run(job, panel, tmp_path):
    """No run is left looking unfinished."""
    with pytest.raises(FileNotFoundError):
        log(job, panel, files=[tmp_path / "absent.csv"])
    experiment = tracking.open_experiment(job)
    (run,) = mlflow_store.connect(job).search_runs([experiment])
    assert run.info.status == "FAILED"


def test_secrets_stay_names(tmp_path, monkeypatch):
    """What people see, and what runs keep, has the name of a secret; what MLflow gets has the secret."""
    monkeypatch.setenv("TRACKING_PASSWORD", "secret/")
    job = make_job(tmp_path, tracking="https://ann:${TRACKING_PASSWORD}@tracking.example")
    assert tracking._settings(job)["tracking"] == job.tracking
    assert mlflow_store.tracking_place(job) == job.tracking
    assert mlflow_store.tracking_uri(job) == "https://ann:secret%2F@tracking.example"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MASE[0.5]", "MASE_0.5"),
        ("wql", "wql"),
        ("Salesforce/moirai-2.0-R-small/wql", "Salesforce/moirai-2.0-R-small/wql"),
        ("models:/shop@champion", "models:/shop_champion"),
        ("../wql", "wql"),
        ("größe (%)", "größe"),
    ],
)
def test_metric_names_are_cleaned(name, expected):
    """MLflow refuses brackets, at signs and names like paths outside."""
    assert tracking.metric_name(name) == expected


def test_two_metrics_that_would_become_one_are_noticed(job, panel):
    """Cleaning must not merge two metrics silently."""
    with pytest.raises(AssertionError, match="share a name"):
        log(job, panel, metrics={"a[1]": 1.0, "a(1)": 2.0})


def test_a_file_that_is_no_database_is_named(tmp_path):
    """MLflow itself would retry for a minute first."""
    (tmp_path / "mlflow.db").write_text("item_id,timestamp\n" * 100)
    with pytest.raises(TrackingError, match=r"tracking: .*mlflow\.db cannot be used as an SQLite file"):
        tracking.open_experiment(make_job(tmp_path))


def test_a_foreign_database_is_left_alone(tmp_path):
    """MLflow's tables are not added to somebody else's database."""
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("CREATE TABLE customers (id INTEGER)")
    with pytest.raises(TrackingError, match="is a database, but not MLflow's"):
        tracking.open_experiment(make_job(tmp_path))
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    """A path through a file cannot become a folder."""
    (tmp_path / "state").write_text("")
    with pytest.raises(TrackingError, match=r"tracking: .*state/mlflow\.db cannot be written"):
        tracking.open_experiment(make_job(tmp_path, tracking="sqlite:///state/mlflow.db"))


def test_a_workspace_that_cannot_be_written_is_named(job, tmp_path):
    """Artifacts need a folder; the setting at fault is the workspace then."""
    (tmp_path / "moirai-work").write_text("")
    with pytest.raises(TrackingError, match=r"workspace: .*cannot be written"):
        tracking.open_experiment(job)


def test_a_silent_server_is_worth_a_retry_a_wrong_setting_is_not(tmp_path, monkeypatch):
    """Only what another attempt can mend is attempted again."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("TRACKING_PASSWORD", "secret")
    job = make_job(tmp_path, tracking="http://ann:${TRACKING_PASSWORD}@127.0.0.1:9")
    with pytest.raises(mlflow_store.UnreachableError, match=r"127\.0\.0\.1:9 does not answer") as caught:
        tracking.open_experiment(job)
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert mlflow_store.is_worth_a_retry(None, None, Failed(data=caught.value))
    assert not mlflow_store.is_worth_a_retry(None, None, Failed(data=TrackingError("tracking: no")))


def test_a_deleted_experiment_says_how_to_bring_it_back(job):
    """MLflow keeps deleted experiments and refuses runs in them."""
    experiment = tracking.open_experiment(job)
    mlflow_store.connect(job).delete_experiment(experiment)
    with pytest.raises(TrackingError, match="was deleted; bring it back with `mlflow experiments restore"):
        tracking.open_experiment(job)


def test_importing_the_tasks_loads_neither_mlflow_nor_torch():
    """Both take seconds, and most commands need neither."""
    code = (
        "import sys, tasks.tracking, tasks.register;"
        "assert not {'mlflow', 'torch', 'matplotlib'} & set(sys.modules), 'loaded at import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own interpreter
