"""Backtest: rolling origins on the end of every series, several models and baselines on the same windows.

In: a job, a clean panel, resolved models. Out: a folder with `forecasts.parquet`, `scores.parquet`,
`summary.parquet` and `steps.parquet` (docs/architecture.md, "A backtest on disk"), named by its ingredients. Fails
with `DataError` when no series is long enough, or no window late enough. Windows, metrics and baselines are those of
GIFT-Eval (`moirai/evaluation`). Series too short for the windows are left out, counted and named in the log; windows
that a model may have seen are scored and flagged.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from tasks.backtesting.forecasters import LEVELS, baselines, model_forecaster
from tasks.backtesting.tables import METRICS, score_all
from tasks.backtesting.windows import later_windows, make_windows
from tasks.contamination import Seen, seen_windows
from tasks.job import Job
from tasks.model_reference import ModelRef
from tasks.panel import Moment, PanelRef, read_panel, target_series
from tasks.progress import progress
from tasks.whole_files import whole_folder

__all__ = ["LEVELS", "BacktestResult", "backtest_panel", "make_windows", "run_backtest"]

logger = logging.getLogger(__name__)


class BacktestResult(BaseModel):
    """A backtest on disk."""

    model_config = ConfigDict(frozen=True)

    folder: str
    config_hash: str  # of the settings that decide windows and scores
    series: int
    left_out: int  # series too short for the windows
    windows: int  # forecasts per model
    first_origin: Moment
    scores: dict[str, dict[str, float]]  # model -> metric -> value over all windows
    too_early: int = 0  # windows that `backtest.after` leaves out
    seen: list[Seen] = []  # windows that a model may have seen in training

    def label(self, model: ModelRef) -> str:
        """Key of one of the models in `scores`: its name, with the version where several share the name."""
        return model.name if model.name in self.scores else f"{model.name} ({model.version})"

    @property
    def scores_path(self) -> str:
        """Scores per series, window and metric."""
        return str(Path(self.folder) / "scores.parquet")


def backtest_panel(
    job: Job,
    panel: PanelRef,
    models: Sequence[ModelRef],
    *,
    also: Sequence[str] = (),
    on_model: Callable[[int, int], None] | None = None,
) -> BacktestResult:
    """Score models and the job's baselines on the same windows.

    Args:
        job: horizon, season, context and the `backtest` block.
        panel: a clean panel.
        models: pinned; the same one twice counts once.
        also: baselines beside those of the job.
        on_model: called after every model and baseline with the number done and of all.
    """
    made, left_out = make_windows(job, target_series(read_panel(panel), job.columns.target))
    windows = later_windows(job, made)
    distinct = {(one.name, one.version): one for one in models}
    forecasters = [*(model_forecaster(job, panel, one) for one in distinct.values()), *baselines(job, also)]
    config_hash = job.config_hash("columns", "frequency", "horizon", "season", "context", "backtest", "inference")
    parts = [panel.digest, config_hash, *(f"{one.name} {one.version}" for one in forecasters)]
    parts += [one.encoding.fingerprint for one in distinct.values() if one.encoding is not None]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    folder = job.workspace_path / "backtests" / digest
    with whole_folder(folder, mark="summary.parquet") as place:
        totals = score_all(job, windows, forecasters, place, on_model)
    result = BacktestResult(
        folder=str(folder),
        config_hash=config_hash,
        series=len({(one.series.item_id, one.series.target_name) for one in windows}),
        left_out=left_out,
        windows=len(windows),
        first_origin=min(pd.Timestamp(one.series.timestamps[one.seen - 1]) for one in windows),
        scores={name: {metric: float(sums.named()[metric]) for metric in METRICS} for name, sums in totals.items()},
        too_early=len(made) - len(windows),
    )
    labelled = {result.label(one): one for one in distinct.values()}
    found = seen_windows(job, labelled, np.array([one.first_step for one in windows]))
    for one in found:
        logger.warning("%s", one.sentence())
    return result.model_copy(update={"seen": found})


@task(name="backtest", task_run_name="backtest", cache_policy=NO_CACHE)
def run_backtest(job: Job, panel: PanelRef, models: Sequence[ModelRef], also: Sequence[str] = ()) -> BacktestResult:
    """Score models and baselines on the same windows: see `backtest_panel`."""
    with progress(job, "backtest") as report:
        return backtest_panel(job, panel, models, also=also, on_model=report)
