"""What the stages of a flow leave in MLflow: parameters, metrics, curves and figures of a training and of a backtest.

In: the job, the record a stage returned, the panel it worked on. Out: the id of the MLflow run. Fails as
`tasks/tracking.py` does.
"""

from pathlib import Path

import pandas as pd

from tasks.backtest import BacktestResult
from tasks.job import Job
from tasks.panel import PanelRef, read_panel
from tasks.plots import plot_loss, plot_missing, plot_steps, plot_windows
from tasks.tracking import track
from tasks.train import TrainResult
from tasks.verdict import choose_windows, model_label, read_backtest

CURVES = ("train_loss", "validation_loss")


def track_training(job: Job, trained: TrainResult, panel: PanelRef) -> str:
    """Leave the losses, the curve and the base model of a fine-tuning as one MLflow run."""
    curve = pd.read_parquet(trained.curve_path)
    points = {name: curve[["step", name]].dropna() for name in CURVES}
    return track(
        job,
        name="finetune",
        tags={"training_key": trained.training_key, "base_model": trained.base.name, "reused": trained.reused},
        params={"base_version": trained.base.version, "base_licence": trained.base.licence},
        metrics=trained.metrics,
        series={name: [(int(step), float(loss)) for step, loss in rows.to_numpy()] for name, rows in points.items()},
        figures={"loss": plot_loss(curve), "missing": plot_missing(read_panel(panel), panel.values)},
        files=[Path(trained.curve_path)],
        panel=panel,
    )


def track_backtest(job: Job, tested: BacktestResult, panel: PanelRef, *, candidate: str) -> str:
    """Leave every model's scores, the windows of one and the scores by step as one MLflow run."""
    forecasts, scores, steps = (read_backtest(tested.folder, table) for table in ("forecasts", "scores", "steps"))
    labels = {name: model_label(name, frequency=job.frequency, season=job.season_length) for name in tested.scores}
    windows = choose_windows(scores, candidate)
    shown = forecasts[forecasts["model_name"] == candidate]
    return track(
        job,
        name="backtest",
        tags={"candidate": candidate},
        params={"windows_per_model": tested.windows, "series": tested.series, "left_out": tested.left_out},
        metrics={f"{model}/{name}": value for model, found in tested.scores.items() for name, value in found.items()},
        series={},
        figures={"steps": plot_steps(steps, labels, candidate=candidate, frequency=job.frequency)}
        | ({"windows": plot_windows(windows, shown, read_panel(panel))} if windows else {}),  # none: nothing to score
        files=[Path(tested.folder) / "summary.parquet"],
        panel=panel,
    )
