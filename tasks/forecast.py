"""Forecast: the latest values of every series of a clean panel -> a forecast frame on disk.

In: a job, a clean panel, a resolved model. Out: a Parquet file with the forecast frame of docs/architecture.md plus
`model_name` and `model_version`, named by its ingredients. Fails with `ConfigError` when the job asks for quantile
levels that the model was not trained on, with `JobError` when it names other covariates than the model was fine-tuned
with, and with `DataError` when a known covariate lacks a value of the horizon. The origin of a series is its own last
time stamp.
"""

import hashlib
import logging
from collections.abc import Callable

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from tasks.covariates import future_frame, model_encoding, named
from tasks.job import Job
from tasks.model_reference import ModelRef
from tasks.panel import Moment, PanelRef, read_panel, write_parquet
from tasks.progress import progress

logger = logging.getLogger(__name__)


class ForecastRef(BaseModel):
    """A forecast frame on disk."""

    model_config = ConfigDict(frozen=True)

    path: str
    rows: int
    series: int
    first_origin: Moment
    last_origin: Moment
    model: ModelRef


def forecast_panel(
    job: Job, panel: PanelRef, model: ModelRef, *, on_batch: Callable[[int, int], None] | None = None
) -> ForecastRef:
    """Forecast every target of every item, `horizon` steps from its last time stamp.

    Args:
        job: frequency, horizon, context, quantile levels.
        panel: a clean panel.
        model: what forecasts.
        on_batch: called after every batch with the number of series done and of all.
    """
    from moirai import MoiraiForecast  # noqa: PLC0415 - torch waits until needed

    def told(done: int, total: int) -> None:
        logger.info("forecast %d of %d series", done, total)
        if on_batch is not None:
            on_batch(done, total)

    encoding = model_encoding(job, model)
    forecaster = MoiraiForecast.from_pretrained(
        model.folder, prediction_length=job.horizon, context_length=job.context, **job.inference.model_dump()
    )
    forecasts = forecaster.predict_frame(
        named(read_panel(panel), panel),
        freq=job.frequency,
        target=job.columns.target,
        future=None if encoding is None else future_frame(panel, encoding),
        encoding=encoding,
        levels=job.quantiles,
        on_batch=told,
    )
    forecasts["model_name"], forecasts["model_version"] = model.name, model.version
    return _write(job, panel, model, forecasts)


def _write(job: Job, panel: PanelRef, model: ModelRef, forecasts: pd.DataFrame) -> ForecastRef:
    settings = job.config_hash("frequency", "horizon", "context", "quantiles", "columns", "inference")
    parts = f"{panel.digest}\n{model.name}\n{model.version}\n{settings}"
    if model.encoding is not None:
        parts += f"\n{model.encoding.fingerprint}"
    name = f"{hashlib.sha256(parts.encode()).hexdigest()[:16]}.parquet"
    path = job.workspace_path / "forecasts" / name
    write_parquet(forecasts, path)
    return ForecastRef(
        path=str(path),
        rows=len(forecasts),
        series=len(forecasts[["item_id", "target_name"]].drop_duplicates()),
        first_origin=forecasts["origin"].min(),
        last_origin=forecasts["origin"].max(),
        model=model,
    )


@task(name="forecast", task_run_name="forecast with {model.name}", cache_policy=NO_CACHE)
def make_forecasts(job: Job, panel: PanelRef, model: ModelRef) -> ForecastRef:
    """Forecast the end of the panel."""
    with progress(job, "forecast") as report:
        return forecast_panel(job, panel, model, on_batch=report)
