"""A pipeline that runs by itself, for real: Prefect's server and a worker, MLflow's server, PostgreSQL, and a schedule.

Forecasts come by the schedule; a fine-tuning makes a challenger, its event starts the promotion, the next forecast has
the new version, and a rollback the old one; missed origins are made up for. DuckDB gives the same forecasts.
"""

from datetime import timedelta

import pandas as pd
import pytest

from tasks.job import load_job
from tasks.warehouse import open_warehouse, warehouse_url

from .conftest import wait_for
from .operation import HORIZON, Operation, Source, mlflow_server, sleep_until

pytestmark = pytest.mark.integration
EVERY = timedelta(seconds=30)
VALUES = ["origin", "timestamp", "model_name", "model_version", "mean", *(f"q{level}" for level in range(10, 100, 10))]


def forecasts_of(job_file):
    """All forecasts of a job."""
    job = load_job(job_file)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        return warehouse.read_forecasts(job.name)


def runs_of(job_file):
    """The attempts of a job."""
    job = load_job(job_file)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        return warehouse.read_runs(job.name)


def version_at(job_file, run):
    """The one version that a run's forecasts carry."""
    rows = forecasts_of(job_file)
    (version,) = rows.loc[rows["run_id"] == str(run.id), "model_version"].unique()
    return version


@pytest.fixture
def operation(place, make_postgres, worker, tmp_path):  # noqa: ARG001 - the worker works
    """A job whose series grows, on PostgreSQL and MLflow's server."""
    folder = place.job_file.parent
    source = Source(folder / "growing.csv")
    with mlflow_server(tmp_path / "mlflow") as tracking, source.growing():
        made = Operation(place, folder / "operation.yaml")
        made.write(
            name="plant",
            source={"path": "growing.csv"},
            columns={"timestamp": "moment", "target": ["load"]},
            frequency="10s",
            season=6,
            horizon=HORIZON,
            context=64,
            model="models:/plant@champion",
            backtest={"windows": 5},
            finetune={"base": "tiny", "max_steps": 20, "batch_size": 16, "validate_every": 10},
            promotion={"min_gain": -0.5, "max_loss": 0.5, "coverage": None},
            schedule={"every": f"{EVERY.seconds}s", "catch_up": "latest"},
            warehouse=make_postgres(),
            tracking=tracking,
        )
        yield made


def test_an_operation_from_the_first_version_to_a_backfill(operation, tmp_path):
    """Three scheduled forecasts, a backtest, a challenger, its promotion, a rollback, and five origins made up for."""
    job_file = operation.job_file
    operation.run("finetune/on-demand")
    operation.promoted(1)

    operation.moirai("schedule", str(job_file))
    scheduled = three_scheduled(operation)
    operation.moirai("schedule", str(job_file), "--remove")
    assert set(forecasts_of(job_file)["model_version"]) == {"1"}

    operation.run("backtest/on-demand")
    operation.write(finetune=operation.settings["finetune"] | {"max_steps": 40})
    operation.run("finetune/on-demand")
    operation.promoted(2)
    assert version_at(job_file, operation.run("forecast/scheduled")) == "2"
    operation.moirai("rollback", str(job_file), "--reason", "a test")
    assert version_at(job_file, operation.run("forecast/scheduled")) == "1"

    before = forecasts_of(job_file)
    missed = five_missed(job_file, since=max(scheduled))
    sleep_until(missed[-1] + EVERY)
    span = ("--from", str(missed[0]), "--to", str(missed[-1]))
    operation.moirai("backfill", str(job_file), *span)
    after = forecasts_of(job_file)
    new = after[~after["run_id"].isin(before["run_id"])]
    assert set(new["origin"]) == set(missed)
    assert len(new) == len(missed) * HORIZON
    assert set(new["model_version"]) == {"1"}
    assert len(after) == len(before) + len(new), "nothing else was written"

    on_duckdb = Operation(operation.place, job_file.with_name("embedded.yaml"), dict(operation.settings))
    on_duckdb.write(warehouse=f"duckdb:///{tmp_path / 'w.duckdb'}", workspace=str(tmp_path / "work"))
    on_duckdb.moirai("backfill", str(on_duckdb.job_file), *span)
    same = forecasts_of(on_duckdb.job_file)
    pd.testing.assert_frame_equal(comparable(same, missed), comparable(after, missed))


def three_scheduled(operation):
    """The moments of three forecasts that the schedule made; each stands at a moment of the schedule."""

    def served():
        runs = runs_of(operation.job_file)
        done = runs[(runs["flow"] == "forecast") & (runs["status"] == "completed")]
        return list(done["as_of"]) if len(done) >= 3 else None

    moments = wait_for(served, seconds=300, what="three scheduled forecasts")
    assert not any(moment.timestamp() % EVERY.seconds for moment in moments), "moments of the schedule"
    origins = set(forecasts_of(operation.job_file)["origin"])
    assert set(moments) <= origins, "the newest value that each saw is that of its moment"
    return moments


def five_missed(job_file, since):
    """The first five moments of the schedule that no run stands at; a run may have been under way when it ended."""
    runs = runs_of(job_file)
    served = set(runs.loc[(runs["flow"] == "forecast") & (runs["status"] == "completed"), "as_of"])
    later = pd.date_range(since, periods=60, freq=EVERY)
    return [moment for moment in later if moment not in served][:5]


def comparable(forecasts, origins):
    """What does not tell attempts apart, of some origins."""
    chosen = forecasts[forecasts["origin"].isin(origins)]
    return chosen[VALUES].sort_values(["origin", "timestamp"], ignore_index=True)
