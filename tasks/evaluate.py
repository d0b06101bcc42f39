"""Score models and baselines zero-shot on public data sets: rolling windows, or the long-sequence protocol.

In: model references, the folder of the data sets, which tasks. Out: a `Score` per task and model, as each is made.
Fails with `ConfigError` for an unknown task or an option that a model does not take, with `DataError` for a data file
that is absent, with `CheckpointError` and `TrackingError` for a reference without a model, all of them before the first
forecast; with `DataError` for a data file that is not the published one when its task's turn comes. The job's own data
are scored by `tasks/backtest.py`; here no job is needed, except to say whose registry `models:/…` means.
"""

import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from moirai.errors import ConfigError, DataError
from moirai.evaluation.baselines import season_of
from moirai.evaluation.forecasters import BaselineForecaster, Forecaster, ModelForecaster, Progress
from moirai.evaluation.long_sequence import CONTEXT, LongTask, long_tasks_named, score_long, standardised
from moirai.evaluation.rolling import rolling
from moirai.evaluation.tasks import Task, tasks_named

Protocol = Literal["rolling", "lsf"]
SEASONAL_NAIVE = "seasonal_naive"  # what every score is related to
METRICS = {"rolling": ("mase", "wql"), "lsf": ("mse", "mae")}
REGISTRY = "models:/"

Measure = Callable[[Forecaster, Progress | None], tuple[dict[str, float], int]]  # scores, and how many forecasts
OnBatch = Callable[[str, str, int, int], None]  # task, model, forecasts done, forecasts in all

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """One model on one task."""

    task: str
    model: str
    values: dict[str, float]  # metric -> score
    naive: dict[str, float]  # the same of seasonal naive
    forecasts: int
    seconds: float

    @property
    def ratios(self) -> dict[str, float]:
        """Metric -> score relative to that of seasonal naive; NaN where that is 0."""
        return {name: value / self.naive[name] if self.naive[name] else math.nan for name, value in self.values.items()}


@dataclass(frozen=True)
class Evaluation:
    """What is to be scored, checked and loaded: nothing that a user can mend fails later.

    Attributes:
        protocol: how windows and metrics are defined.
        forecasters: models and baselines in the order asked for.
        tasks: of the protocol.
        data: folder of the data sets.
        context: latest steps of a history that the long-sequence protocol shows.
        stride: steps between two of its origins.
    """

    protocol: Protocol
    forecasters: list[Forecaster]
    tasks: list[Task] | list[LongTask]
    data: Path
    context: int = CONTEXT
    stride: int = 1

    def scores(self, on_batch: OnBatch) -> Iterator[Score]:
        """Task by task and model by model."""
        for task in self.tasks:
            measure = self._rolling(task) if isinstance(task, Task) else self._long(task)
            naive, forecasts = measure(BaselineForecaster(SEASONAL_NAIVE), None)
            for one in self.forecasters:
                clock = time.monotonic()
                values, _ = measure(one, partial(on_batch, task.name, one.name))
                yield Score(task.name, one.name, values, naive, forecasts, time.monotonic() - clock)

    def _rolling(self, task: Task) -> Measure:
        windows = rolling(task, task.data.load(self.data))

        def measure(one: Forecaster, on_batch: Progress | None) -> tuple[dict[str, float], int]:
            sums = windows.score(one, on_batch)
            return {"mase": float(sums.mase), "wql": float(sums.wql)}, len(windows.contexts)

        return measure

    def _long(self, task: LongTask) -> Measure:
        values = standardised(task, task.data.load(self.data))

        def measure(one: Forecaster, on_batch: Progress | None) -> tuple[dict[str, float], int]:
            made = score_long(task, values, one, context=self.context, stride=self.stride, on_batch=on_batch)
            return {"mse": made.mse, "mae": made.mae}, made.windows * len(values)

        return measure


def prepare(
    models: Sequence[str],
    data: Path,
    *,
    protocol: Protocol = "rolling",
    tasks: Sequence[str] = (),
    job_file: Path | None = None,
    stride: int = 1,
    **options: Any,
) -> Evaluation:
    """Check everything that was asked for and load the models.

    Args:
        models: references, and `naive`, `seasonal_naive` or `seasonal_naive:N`; the same one twice counts once.
        data: folder of the data sets.
        protocol: `rolling`, the tasks of `moirai/evaluation/tasks.py`, or `lsf`.
        tasks: names; none: all of the protocol.
        job_file: the job whose registry `models:/…` means.
        stride: steps between two origins of `lsf`.
        options: of `MoiraiForecast`.

    Raises:
        ConfigError, DataError, CheckpointError, TrackingError, JobError: see the module's docstring.
    """
    chosen = tasks_named(tasks) if protocol == "rolling" else long_tasks_named(tasks)
    if protocol == "rolling" and stride != 1:
        raise ConfigError("stride is for the lsf protocol; rolling windows lie back to back")
    if stride < 1:
        raise ConfigError(f"stride must be 1 or more steps, not {stride}")
    _check_files(chosen, data)
    forecasters = [_forecaster(reference, job_file, options) for reference in dict.fromkeys(models)]
    context = options.get("context_length", CONTEXT)
    return Evaluation(protocol, forecasters, chosen, data, context=context, stride=stride)


def _check_files(tasks: Sequence[Task | LongTask], data: Path) -> None:
    """Every file of every task, before the work."""
    if not data.is_dir():
        raise DataError(f"data folder {data} does not exist; name the folder that holds the data sets")
    absent = {task.name: files for task in tasks if (files := task.data.absent(data))}
    if absent:
        name, (file, *_) = next(iter(absent.items()))
        there = ",".join(task.name for task in tasks if task.name not in absent)
        mend = f"choose among the tasks whose files are there: --tasks {there}" if there else "see docs/evaluation.md"
        raise DataError(f"task {name} needs {file}, which does not exist; put the published file there, or {mend}")


def _forecaster(reference: str, job_file: Path | None, options: dict[str, Any]) -> Forecaster:
    """A baseline by its name, or the model behind a reference."""
    if re.fullmatch(r"naive|seasonal_naive(:.*)?", reference):
        season_of(reference, 1)  # refuses a season that is none
        return BaselineForecaster(reference)
    from moirai import MoiraiForecast  # noqa: PLC0415 - torch waits until needed
    from moirai.forecasting.covariates import CovariateEncoding  # noqa: PLC0415 - see above

    folder = _folder(reference, job_file)
    if CovariateEncoding.read(folder) is not None:
        logger.warning("%s was fine-tuned with covariates; these tasks have none, it forecasts without", reference)
    try:
        return ModelForecaster(reference, MoiraiForecast.from_pretrained(folder, **options))
    except ConfigError as error:
        raise ConfigError(f"model {reference}: {error}") from error


def _folder(reference: str, job_file: Path | None) -> Path:
    """Where the checkpoint behind a reference lies."""
    if reference.startswith(REGISTRY):
        from tasks.job import load_job  # noqa: PLC0415 - only the registry needs a job
        from tasks.model_reference import resolve_model  # noqa: PLC0415 - brings Prefect and MLflow

        if job_file is None:
            raise ConfigError(f"model {reference} lies in the registry of a job; name its job file with --job")
        return resolve_model(load_job(job_file), reference).folder
    from moirai import hub  # noqa: PLC0415 - brings torch

    return hub.resolve(reference).folder
