"""What a training and a backtest leave in MLflow: parameters, metrics, curves, tables and figures.

In: the job, the attempt of the flow, the record a stage returned, the panel it worked on. Out: the id of the MLflow
run. Fails as `tasks/tracking.py` does. A forecast leaves no run: a schedule would bury the trainings and backtests, and
everything about a forecast stands in the warehouse.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from tasks.backtest import BacktestResult
from tasks.job import Job
from tasks.panel import PanelRef, read_beside, read_panel
from tasks.plots import plot_loss, plot_missing, plot_steps, plot_windows
from tasks.pooling import scores_by_window, segment_rows, segments
from tasks.tracking import Attempt, track
from tasks.train import TrainResult
from tasks.verdict import choose_windows, judge, model_label, read_backtest, score_table

CURVES = ("train_loss", "validation_loss")
METRICS = ("wql", "mase")  # drawn by window
Curve = list[tuple[int, float]]


def track_training(job: Job, attempt: Attempt, trained: TrainResult, panel: PanelRef) -> str:
    """Leave the losses, the curve and the base model of a fine-tuning as one MLflow run."""
    curve, frame = pd.read_parquet(trained.curve_path), read_panel(panel)
    points = {name: curve[["step", name]].dropna() for name in CURVES}
    told = f"{trained.sentence()}. Fine-tuned from {trained.base.name}."
    return track(
        job,
        attempt,
        "finetune",
        description=f"{told}\n\n{attempt.findings.sentence()}",
        tags={"training_key": trained.training_key, "base_model": trained.base.name, "reused": trained.reused},
        params={"base_version": trained.base.version, "base_licence": trained.base.licence}
        | {f"finetune.{name}": value for name, value in trained.settings.items()}  # in place of what was left open
        | {"finetune.derived": ", ".join(trained.derived) or "nothing"},
        metrics=trained.metrics | attempt.findings.figures(panel, missing_share(frame, job)),
        series={name: [(int(step), float(loss)) for step, loss in rows.to_numpy()] for name, rows in points.items()},
        tables={"held_out": trained.held_out_rows, **attempt.findings.tables(panel)},
        figures={"loss": plot_loss(curve), "missing": plot_missing(frame, panel.values)},
        files=[Path(trained.curve_path)],
        panel=panel,
    )


def track_backtest(job: Job, attempt: Attempt, tested: BacktestResult, panel: PanelRef, *, candidate: str) -> str:
    """Leave every model's scores, also by window and by segment, and the windows of one as one MLflow run."""
    forecasts, scores, steps = (read_backtest(tested.folder, table) for table in ("forecasts", "scores", "steps"))
    labels = {name: model_label(name, frequency=job.frequency, season=job.season_length) for name in tested.scores}
    windows, frame = choose_windows(scores, candidate), read_panel(panel)
    shown = forecasts[forecasts["model_name"] == candidate]
    static = read_beside(panel.static_path)
    by_segment = [] if static is None else segment_rows(segments(tested.folder, static, list(tested.scores)))
    return track(
        job,
        attempt,
        "backtest",
        description=describe_backtest(job, attempt, tested, candidate),
        tags={"candidate": candidate},
        params={"windows_per_model": tested.windows, "series": tested.series, "left_out": tested.left_out},
        metrics={f"{model}/{name}": value for model, found in tested.scores.items() for name, value in found.items()}
        | attempt.findings.figures(panel, missing_share(frame, job)),
        series=window_curves(scores),
        tables={"scores": score_table(tested.folder), "segments": by_segment, **attempt.findings.tables(panel)},
        figures={"steps": plot_steps(steps, labels, candidate=candidate, frequency=job.frequency)}
        | ({"windows": plot_windows(windows, shown, frame)} if windows else {}),  # none: nothing to score
        files=[Path(tested.folder) / "summary.parquet"],
        panel=panel,
    )


def describe_backtest(job: Job, attempt: Attempt, tested: BacktestResult, candidate: str) -> str:
    """The verdict and what was found in the data, in Markdown."""
    said = judge(tested.folder, candidate=candidate, noun="model", frequency=job.frequency, season=job.season_length)
    seen = [one.sentence() for one in tested.seen]
    return "\n".join(
        [f"**{said.headline}**", "", *(f"- {one}" for one in [*said.sentences, *seen, attempt.findings.sentence()])]
    )


def window_curves(scores: pd.DataFrame) -> Mapping[str, Curve]:
    """Scores of every model by number of the window, the oldest being 1: `wql_by_window/metro`."""
    found = scores_by_window(scores)
    return {
        f"{metric}_by_window/{model}": list(zip(one["window"].tolist(), one[metric].tolist(), strict=True))
        for metric in METRICS
        for model, one in found.dropna(subset=metric).groupby("model_name", sort=False)
    }


def missing_share(frame: pd.DataFrame, job: Job) -> float:
    """Share of the targets' values that are missing on the grid."""
    return float(frame[job.columns.target].isna().to_numpy().mean())
