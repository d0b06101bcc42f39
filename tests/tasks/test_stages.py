"""What a backtest leaves in MLflow: scores of every model, by window and by segment, and what was found in the data."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tasks.backtest import backtest_panel
from tasks.findings import Findings
from tasks.mlflow_store import connect
from tasks.panel import write_panel
from tasks.quality import Change
from tasks.stages import track_backtest

from .shop import make_attempt


@pytest.fixture
def tracked(small_job, clean_frame, tmp_path, tracking_uri, prefect_server):  # noqa: ARG001 - a task needs the server
    """The run of a backtest of baselines only, with the client that reads it and the backtest."""
    static = pd.DataFrame({"item_id": ["a", "b"], "region": ["north", "south"]})
    panel = write_panel(clean_frame, tmp_path / "panels", stage="clean", static=static)
    job = small_job(tracking=tracking_uri)
    tested = backtest_panel(job, panel, [])
    findings = Findings(changes=[Change(rule="grid", column=None, count=11, message="Added.")])
    run_id = track_backtest(job, make_attempt(panel, findings), tested, panel, candidate="naive")
    return connect(job), run_id, tested


def test_a_backtest_leaves_curves_tables_and_words(tracked, tmp_path):
    """Each model has a curve by window; the description is the verdict; tables can be opened beside the figures."""
    client, run_id, tested = tracked
    run = client.get_run(run_id)
    scores = pd.read_parquet(tested.scores_path)
    for model in ("naive", "seasonal_naive:24"):
        curve = client.get_metric_history(run_id, f"wql_by_window/{model}")
        mine = scores[scores["model_name"] == model]
        last = mine[mine["window_origin"] == mine["window_origin"].max()].groupby("metric")["value"].sum()
        assert [point.step for point in curve] == [1, 2, 3]
        assert curve[-1].value == pytest.approx(last["quantile_loss_sum"] / last["abs_target_sum"])
        assert run.data.metrics[f"{model}/wql"] == tested.scores[model]["wql"]
    assert run.data.metrics["data/mended"] == 11
    assert 0 < run.data.metrics["data/missing_share"] < 0.1
    assert run.data.tags["mlflow.note.content"].startswith("**")
    assert "11 rows or values mended" in run.data.tags["mlflow.note.content"]
    tables = {item.path for item in client.list_artifacts(run_id, "tables")}
    assert tables == {"tables/scores.json", "tables/segments.json", "tables/changes.json"}
    kept = client.download_artifacts(run_id, "tables/segments.json", str(tmp_path))
    segments = json.loads(Path(kept).read_text(encoding="utf-8"))
    assert {row[1] for row in segments["data"]} == {"north", "south"}
