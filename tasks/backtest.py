"""Backtest: rolling origins on the end of every series, several models and baselines on the same windows.

In: a job, a clean panel, resolved models. Out: a folder with `forecasts.parquet`, `scores.parquet`,
`summary.parquet` and `steps.parquet` (docs/architecture.md, "A backtest on disk"), named by its ingredients. Fails
with `DataError` when no series is long enough. Windows, metrics and baselines are those of GIFT-Eval
(`moirai/evaluation`); every model sees exactly the values before a window's origin, and of known covariates those of
its horizon. Series too short for the windows are left out, counted and named in the log.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from moirai.errors import DataError
from moirai.evaluation.baselines import season_of, seasonal_naive
from moirai.evaluation.metrics import Sums, score, seasonal_error
from moirai.evaluation.windows import origins
from moirai.forecasting.levels import mean_of_quantiles, quantile_name
from tasks.covariates import model_encoding, panel_covariates
from tasks.job import Job
from tasks.model_reference import ModelRef
from tasks.panel import Moment, PanelRef, TargetSeries, read_panel, target_series
from tasks.progress import progress
from tasks.whole_files import whole_folder

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the weighted quantile loss, as in GIFT-Eval
BASELINE_VERSION = "1"  # raise when a baseline's formula changes
METRICS = ("mase", "wql", "nd", "coverage_80")

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

    def label(self, model: ModelRef) -> str:
        """Key of one of the models in `scores`: its name, with the version where several share the name."""
        return model.name if model.name in self.scores else f"{model.name} ({model.version})"

    def wql(self, model: ModelRef) -> float:
        """Weighted quantile loss of one of the models."""
        return self.scores[self.label(model)]["wql"]

    @property
    def scores_path(self) -> str:
        """Scores per series, window and metric."""
        return str(Path(self.folder) / "scores.parquet")


@dataclass(frozen=True)
class Window:
    """One forecast to make: a series and how much of it is seen."""

    series: TargetSeries
    seen: int  # steps before the window, which is also the index of its first step

    @property
    def history(self) -> np.ndarray:
        """Values before the origin."""
        return self.series.values[: self.seen]


@dataclass(frozen=True)
class Forecaster:
    """Something that forecasts: a model or a baseline."""

    name: str
    version: str
    quantiles: Callable[[Sequence[Window]], Float[np.ndarray, "window quantile step"]]


def backtest_panel(
    job: Job, panel: PanelRef, models: Sequence[ModelRef], *, on_model: Callable[[int, int], None] | None = None
) -> BacktestResult:
    """Score models and the job's baselines on the same windows.

    Args:
        job: horizon, season, context and the `backtest` block.
        panel: a clean panel.
        models: pinned; the same one twice counts once.
        on_model: called after every model and baseline with the number done and of all.
    """
    windows, left_out = make_windows(job, target_series(read_panel(panel), job.columns.target))
    distinct = {(one.name, one.version): one for one in models}
    forecasters = [*(_model(job, panel, one) for one in distinct.values()), *baselines(job)]
    config_hash = job.config_hash("columns", "frequency", "horizon", "season", "context", "backtest", "inference")
    parts = [panel.digest, config_hash, *(f"{one.name} {one.version}" for one in forecasters)]
    parts += [one.encoding.fingerprint for one in distinct.values() if one.encoding is not None]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    folder = job.workspace_path / "backtests" / digest
    with whole_folder(folder, mark="summary.parquet") as made:
        totals = _score_all(job, windows, forecasters, made, on_model)
    return BacktestResult(
        folder=str(folder),
        config_hash=config_hash,
        series=len({(one.series.item_id, one.series.target_name) for one in windows}),
        left_out=left_out,
        windows=len(windows),
        first_origin=min(pd.Timestamp(one.series.timestamps[one.seen - 1]) for one in windows),
        scores={name: {metric: float(sums.named()[metric]) for metric in METRICS} for name, sums in totals.items()},
    )


def make_windows(job: Job, series: Sequence[TargetSeries]) -> tuple[list[Window], int]:
    """All windows, and how many series are too short for them.

    Raises:
        DataError: no series is long enough.
    """
    windows, too_short = [], []
    for one in series:
        try:
            seen = origins(len(one.values), horizon=job.horizon, windows=job.backtest.windows)
        except DataError as error:
            too_short.append(f"{one.item_id}/{one.target_name}: {error}")
            continue
        windows += [Window(one, int(steps)) for steps in seen]
    if not windows:
        raise DataError(f"no series can be backtested; {too_short[0] if too_short else 'the panel is empty'}")
    if too_short:
        logger.warning("backtest leaves out %d series; the first: %s", len(too_short), too_short[0])
    return windows, len(too_short)


def baselines(job: Job) -> list[Forecaster]:
    """The job's baselines; `seasonal_naive` without a number takes the job's season."""
    made = {}
    for reference in job.backtest.baselines:
        season = season_of(reference, job.season_length)
        name = "naive" if reference == "naive" else f"seasonal_naive:{season}"
        made[name] = Forecaster(name, BASELINE_VERSION, partial(_repeat_season, horizon=job.horizon, season=season))
    return list(made.values())


def _repeat_season(windows: Sequence[Window], *, horizon: int, season: int) -> np.ndarray:
    """Quantiles of the (seasonal) naive forecast: [window, quantile, step]."""
    return np.stack([seasonal_naive(one.history, horizon=horizon, season=season).quantiles(LEVELS) for one in windows])


def _model(job: Job, panel: PanelRef, model: ModelRef) -> Forecaster:
    from moirai import MoiraiForecast  # noqa: PLC0415 - torch waits until needed
    from moirai.forecasting.inputs import SeriesInput  # noqa: PLC0415 - see above

    encoding = model_encoding(job, model)

    def seen_by_model(windows: Sequence[Window]) -> list[SeriesInput]:
        """Cut at the origin, covariates show what is known there: of known ones the horizon, of past ones nothing."""
        beside = {} if encoding is None else panel_covariates(job, panel, encoding)
        return [
            SeriesInput(
                target=one.history[None],
                past_feat_dynamic_real=None if encoding is None else beside[one.series.item_id][:, : one.seen],
                name=f"series {one.series.item_id!r}",
            )
            for one in windows
        ]

    def quantiles(windows: Sequence[Window]) -> np.ndarray:
        forecaster = MoiraiForecast.from_pretrained(
            model.folder, prediction_length=job.horizon, context_length=job.context, **job.inference.model_dump()
        )
        made = forecaster.predict_inputs(seen_by_model(windows), levels=LEVELS, freq=job.frequency, whole_patches=True)
        return np.sort(made[..., 0], axis=1).astype(np.float64)

    return Forecaster(model.name, model.version, quantiles)


def _score_all(
    job: Job,
    windows: Sequence[Window],
    forecasters: Sequence[Forecaster],
    folder: Path,
    on_model: Callable[[int, int], None] | None,
) -> dict[str, Sums]:
    """Forecast and score with each forecaster in turn, writing as it goes; only one forecaster's forecasts are held."""
    actual = np.stack([one.series.values[one.seen : one.seen + job.horizon] for one in windows])
    scale = np.array([float(seasonal_error(one.history, job.season_length)) for one in windows])
    totals = {}
    names = [one.name for one in forecasters]
    with _Tables(folder) as tables:
        for forecaster in forecasters:
            quantiles = forecaster.quantiles(windows)
            sums = score(actual, quantiles, levels=LEVELS, scale=scale)  # [window, step]
            unique = names.count(forecaster.name) == 1  # several versions of one model are told apart by it
            label = forecaster.name if unique else f"{forecaster.name} ({forecaster.version})"
            totals[label] = sums.pooled()
            for name, frame in _frames(job, windows, actual, quantiles, sums):
                frame.insert(0, "model_name", forecaster.name)
                frame.insert(1, "model_version", forecaster.version)
                tables.append(name, frame)
            made = totals[label].named()
            logger.info("%s: MASE %.3f, WQL %.4f on %d windows", label, made["mase"], made["wql"], len(windows))
            if on_model is not None:
                on_model(len(totals), len(forecasters))
    return totals


def _frames(
    job: Job,
    windows: Sequence[Window],
    actual: Float[np.ndarray, "window step"],
    quantiles: Float[np.ndarray, "window quantile step"],
    sums: Sums,
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The four tables of one forecaster."""
    keys = pd.DataFrame(
        {
            "item_id": [one.series.item_id for one in windows],
            "target_name": [one.series.target_name for one in windows],
            "window_origin": [one.series.timestamps[one.seen - 1] for one in windows],
        }
    )
    forecasts = keys.loc[keys.index.repeat(job.horizon)].reset_index(drop=True)
    forecasts["timestamp"] = np.concatenate(
        [one.series.timestamps[one.seen : one.seen + job.horizon] for one in windows]
    )
    forecasts["step"] = np.tile(np.arange(1, job.horizon + 1), len(windows))
    forecasts["target"] = actual.ravel()
    forecasts["mean"] = mean_of_quantiles(quantiles, LEVELS).ravel()
    for index, level in enumerate(LEVELS):
        forecasts[quantile_name(level)] = quantiles[:, index].ravel()
    yield "forecasts", forecasts

    per_window = pd.concat([keys, pd.DataFrame(sums.pooled(1).named())], axis=1)
    names = ["item_id", "target_name", "window_origin"]
    scores = per_window.melt(names, var_name="metric", value_name="value")
    yield "scores", scores.dropna(subset="value").reset_index(drop=True)

    total = sums.pooled().named()
    yield (
        "summary",
        pd.DataFrame({"metric": METRICS, "value": [float(total[name]) for name in METRICS]}),
    )

    by_step = pd.DataFrame({name: values for name, values in sums.pooled(0).named().items() if name in METRICS})
    by_step.insert(0, "step", np.arange(1, job.horizon + 1))
    yield "steps", by_step.melt("step", var_name="metric", value_name="value")


class _Tables:
    """Parquet files that grow part by part."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack, self._writers = ExitStack(), dict[str, pq.ParquetWriter]()

    def __enter__(self) -> Self:
        return self

    def append(self, name: str, frame: pd.DataFrame) -> None:
        """Add rows to `<name>.parquet`."""
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if name not in self._writers:
            writer = pq.ParquetWriter(self.folder / f"{name}.parquet", table.schema)
            self._writers[name] = self._stack.enter_context(writer)
        self._writers[name].write_table(table)

    def __exit__(self, *error: object) -> None:
        self._stack.close()


@task(name="backtest", task_run_name="backtest", cache_policy=NO_CACHE)
def run_backtest(job: Job, panel: PanelRef, models: Sequence[ModelRef]) -> BacktestResult:
    """Score models and baselines on the same windows."""
    with progress(job, "backtest") as report:
        return backtest_panel(job, panel, models, on_model=report)
