"""The pipeline end to end on real components: what it leaves, that it can be run twice, that it never peeks."""

import json
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from safetensors.torch import load_file

from moirai.errors import MoiraiError
from tasks.job import load_job
from tasks.warehouse import open_warehouse, warehouse_url

from .conftest import FIRST_TEST_STEP, HORIZON, WINDOWS, small_data, write_job

TABLES = ("observations", "forecasts", "scores", "quarantine", "runs")
pytestmark = pytest.mark.usefixtures("prefect_server")


def rows(job_file):
    """How many rows each table of the job's warehouse holds."""
    job = load_job(job_file)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        return warehouse.counts(job.name)


def run_pipeline(job_file):
    """Run the flow in this process; returns its summary."""
    from flows.pipeline import pipeline  # noqa: PLC0415 - Prefect reads its settings when it is imported

    return pipeline(str(job_file))


@pytest.fixture(scope="module")
def piped(tmp_path_factory, mlflow_template, prefect_server):  # noqa: ARG001 - a flow needs the server
    """The small job's file, and the summary of its first run."""
    folder = tmp_path_factory.mktemp("piped")
    (folder / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    file = write_job(folder)
    return file, run_pipeline(file)


def test_everything_the_pipeline_promises_is_there_and_a_second_run_leaves_the_same_rows(piped):
    """One run fills every table, registers a version, writes a report; another adds only its attempt."""
    job_file, summary = piped
    first = rows(job_file)
    assert set(summary.scores) == {"shops", "tiny", "naive", "seasonal_naive:24", "seasonal_naive:12"}
    assert first["forecasts"] == 2 * HORIZON
    assert first["observations"] == 2 * (2 * 300 - 10) - 1  # two columns, ten hours missing, one value impossible
    assert first["scores"] > 0
    assert Path(summary.places["report"]).is_file()

    second = run_pipeline(job_file)
    again = rows(job_file)
    assert {table: again[table] for table in TABLES[:-1]} == {table: first[table] for table in TABLES[:-1]}
    assert again["runs"] == first["runs"] + 1
    assert second.held_out == summary.held_out
    assert second.model == summary.model
    assert second.scores == summary.scores


def test_the_registered_version_is_what_forecast(piped):
    """The alias follows the backtest, and the rows carry name and version of the model that made them."""
    job_file, summary = piped
    job = load_job(job_file)
    client = MlflowClient(tracking_uri=f"sqlite:///{job.folder / 'mlflow.db'}")
    versions = client.search_model_versions("name='shops'")
    aliases = dict(client.get_registered_model("shops").aliases)
    assert len(versions) == 1
    assert str(aliases["challenger"]) == str(versions[0].version)
    is_better = summary.scores["shops"]["wql"] <= summary.scores["tiny"]["wql"]
    assert ("champion" in aliases) == is_better == ("Version 1 becomes champion" in summary.decision)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        made = warehouse.read_forecasts(job.name)
    assert set(made["model_name"]) == {"shops" if is_better else "tiny"}
    quantiles = made[[f"q{level}" for level in range(10, 100, 10)]]
    assert (quantiles.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)


def test_no_value_after_the_first_backtest_origin_reaches_the_weights(tmp_path, mlflow_template):
    """Changing every later value leaves the weights bit-identical, and the first window's forecasts too."""
    changed = small_data()
    later = changed["hour"] > changed["hour"].min() + pd.Timedelta(hours=FIRST_TEST_STEP - 1)
    assert later.sum() == 2 * WINDOWS * HORIZON
    changed.loc[later, "sales"] = 1e4 - 7 * changed.loc[later, "sales"]
    weights, first_windows = [], []
    for name, frame in (("as_is", small_data()), ("changed", changed)):
        file = write_job(tmp_path / name, frame)
        (tmp_path / name / "mlflow.db").write_bytes(mlflow_template.read_bytes())
        run_pipeline(file)
        (checkpoint,) = (tmp_path / name / "moirai-work" / "checkpoints").glob("*/model.safetensors")
        weights.append(load_file(checkpoint))
        (folder,) = (tmp_path / name / "moirai-work" / "backtests").iterdir()
        forecasts = pd.read_parquet(folder / "forecasts.parquet").drop(columns="target")
        first_windows.append(forecasts[forecasts["window_origin"] == forecasts["window_origin"].min()])
    assert all(weights[0][key].equal(weights[1][key]) for key in weights[0])
    pd.testing.assert_frame_equal(*first_windows, check_exact=True)


def test_a_failed_run_is_recorded_and_leaves_no_forecasts(tmp_path):
    """A critical finding stops everything after validation; the attempt and its reason are kept."""
    frame = small_data()
    frame.loc[5, "sales"] = 99.0  # contradicts its repetition
    file = write_job(tmp_path, frame, transform={"duplicates": "error"})
    with pytest.raises(MoiraiError, match="repeat an earlier time stamp"):
        run_pipeline(file)
    assert {table: rows(file)[table] for table in ("observations", "forecasts", "scores")} == {
        "observations": 0,
        "forecasts": 0,
        "scores": 0,
    }
    job = load_job(file)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        (run,) = warehouse.read_runs(job.name).to_dict("records")
    assert (run["status"], "repeat an earlier time stamp" in run["error"]) == ("failed", True)


def test_as_of_hides_what_came_later(job_file):
    """A run that stands at an earlier moment forecasts from there, as if later rows did not exist."""
    from flows.forecast import forecast  # noqa: PLC0415

    as_of = pd.Timestamp("2024-01-10 05:00")
    forecast(str(job_file), as_of.to_pydatetime())
    job = load_job(job_file)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        made, seen = warehouse.read_forecasts(job.name), warehouse.read_observations(job.name)
    assert (made["origin"] == as_of).all()
    assert seen["timestamp"].max() == as_of


def test_a_pipeline_in_the_past_moves_no_alias(job_file):
    """What a run with `as_of` trains is registered, but today's champion stays."""
    from flows.pipeline import pipeline  # noqa: PLC0415

    run_pipeline(job_file)
    client = MlflowClient(tracking_uri=f"sqlite:///{job_file.parent / 'mlflow.db'}")
    before = dict(client.get_registered_model("shops").aliases)
    pipeline(str(job_file), pd.Timestamp("2024-01-11").to_pydatetime())
    assert len(client.search_model_versions("name='shops'")) == 2
    assert dict(client.get_registered_model("shops").aliases) == before


def test_a_moment_that_no_data_can_have_is_refused(job_file):
    """The error names `as_of` and what it may be."""
    from flows.forecast import forecast  # noqa: PLC0415

    with pytest.raises(MoiraiError, match="as_of 2999-01-01 00:00:00 is no moment"):
        forecast(str(job_file), datetime(2999, 1, 1))  # noqa: DTZ001 - data tell time without a zone


def test_flows_return_small_facts_that_fit_into_json(job_file):
    """The outcome of a flow survives JSON, so that machines can read it."""
    from flows.ingest import ingest  # noqa: PLC0415

    summary = ingest(str(job_file))
    assert json.loads(summary.model_dump_json())["rows"]["observations"] > 0
    assert any("repeat an earlier time stamp" in finding for finding in summary.findings)


def test_a_job_named_like_its_base_tells_the_two_apart(tmp_path, mlflow_template):
    """Base and fine-tuned version share the name `tiny`; scores and report keep them apart by version."""
    file = write_job(tmp_path, name="tiny")
    (tmp_path / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    summary = run_pipeline(file)
    assert sum(name.startswith("tiny (") for name in summary.scores) == 2
    assert Path(summary.places["report"]).is_file()


def test_series_of_zeros_go_through(tmp_path, mlflow_template):
    """Nothing can be scored against zeros, and that is no reason to stop: the report and the forecasts are there."""
    file = write_job(tmp_path, small_data().assign(sales=0.0))
    (tmp_path / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    summary = run_pipeline(file)
    assert summary.rows["forecasts"] == 2 * HORIZON
    assert Path(summary.places["report"]).is_file()
