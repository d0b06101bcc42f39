"""The long-sequence (LSF) protocol on ETT: every origin of the test months, squared and absolute error of the median.

In: a wide frame of one of the two ETT files, a forecaster. Out: MSE and MAE on standardised values. Fails with
`DataError` where the frame is shorter than the protocol's months, with `ConfigError` for an unknown name or a stride
below 1.

The first 12 months (of 30 days) train, the next 4 validate, the next 4 test; what remains is unused. Every column is
standardised with mean and population standard deviation of its training months. The origin moves by one step, from the
first step of the test months to the last whose horizon they hold. Errors are averaged over windows, steps and columns,
missing values left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from moirai.errors import ConfigError, DataError
from moirai.evaluation import public_data as data
from moirai.evaluation.forecasters import Forecaster, Progress, Question
from moirai.evaluation.metrics import MEDIAN
from moirai.evaluation.public_data import DataSet
from moirai.evaluation.tasks import chosen

TRAIN_DAYS, VALIDATION_DAYS, TEST_DAYS = 360, 120, 120
HORIZONS = (96, 192, 336, 720)  # steps
CONTEXT = 2048  # latest steps that baselines see; models see what their own context holds of them
WINDOWS_AT_ONCE = 256  # keeps 80,000 forecasts of 720 steps out of memory


@dataclass(frozen=True)
class LongTask:
    """One horizon on one of the files."""

    name: str
    data: DataSet
    freq: str
    horizon: int  # steps
    season: int  # steps in a day

    @property
    def spans(self) -> tuple[int, int]:
        """First and one past the last step of the test months."""
        start = (TRAIN_DAYS + VALIDATION_DAYS) * self.season
        return start, start + TEST_DAYS * self.season

    def origins(self, stride: int = 1) -> Int[np.ndarray, " window"]:
        """First step of every window; every `stride`-th of them."""
        if stride < 1:
            raise ConfigError(f"stride must be 1 or more steps, not {stride}")
        start, end = self.spans
        return np.arange(start, end - self.horizon + 1, stride)


LONG_TASKS = tuple(
    LongTask(f"{name}-{horizon}", files, freq, horizon, season)
    for name, files, freq, season in (
        ("ETTh1", data.ETT_HOURLY, "h", 24),
        ("ETTm1", data.ETT_QUARTER_HOURLY, "15min", 96),
    )
    for horizon in HORIZONS
)


@dataclass(frozen=True)
class Errors:
    """Errors on standardised values."""

    mse: float
    mae: float
    windows: int


def long_tasks_named(names: Sequence[str]) -> list[LongTask]:
    """The tasks of these names, in the order of `LONG_TASKS`; all for no name.

    Raises:
        ConfigError: there is no such task.
    """
    return chosen(LONG_TASKS, names, kind="LSF task")


def standardised(task: LongTask, frame: pd.DataFrame) -> Float[np.ndarray, "series time"]:
    """The columns up to the end of the test months, standardised by the training months.

    Raises:
        DataError: the frame is too short, or a column stands still throughout the training months.
    """
    _, end = task.spans
    if len(frame) < end:
        raise DataError(
            f"{task.name} needs {end} rows, {task.data.files[0]} has {len(frame)}; fetch the published file"
        )
    values = frame.to_numpy(dtype=np.float64)[:end].T
    train = values[:, : TRAIN_DAYS * task.season]
    mean, deviation = np.nanmean(train, axis=1), np.nanstd(train, axis=1)
    if not (deviation > 0).all():
        column = frame.columns[int(np.argmin(deviation > 0))]
        raise DataError(f"{task.data.files[0]}: column {column!r} is constant in the training months; leave it out")
    return (values - mean[:, None]) / deviation[:, None]


def score_long(
    task: LongTask,
    values: Float[np.ndarray, "series time"],
    forecaster: Forecaster,
    *,
    context: int = CONTEXT,
    stride: int = 1,
    on_batch: Progress | None = None,
) -> Errors:
    """Errors of the median over all windows, steps and columns.

    Args:
        task: horizon and test months.
        values: what `standardised` made.
        forecaster: forecasts each column on its own.
        context: latest steps before each origin that are shown.
        stride: steps between two origins; 1 is the protocol, more thins it out.
        on_batch: called with the forecasts done and in all.
    """
    starts = task.origins(stride)
    context = min(context, int(starts[0]))
    windows = np.lib.stride_tricks.sliding_window_view(values, context + task.horizon, axis=1)  # a view: no copies
    question = Question(horizon=task.horizon, levels=(MEDIAN,), freq=task.freq, season=task.season)
    squared = absolute = count = 0.0
    total = len(values) * len(starts)
    for first in range(0, len(starts), WINDOWS_AT_ONCE):
        chosen = windows[:, starts[first : first + WINDOWS_AT_ONCE] - context]
        rows = chosen.reshape(-1, context + task.horizon)
        done = len(values) * first
        report = None if on_batch is None else partial(_shifted, on_batch, done, total)
        median = forecaster.quantiles(list(rows[:, :context]), question, report)[:, 0]
        error = rows[:, context:] - median
        squared += float(np.nansum(error**2))
        absolute += float(np.nansum(np.abs(error)))
        count += float(np.isfinite(error).sum())
    return Errors(squared / count, absolute / count, len(starts))


def _shifted(on_batch: Progress, before: int, total: int, done: int, _: int) -> None:
    """Report the forecasts of one block as part of all."""
    on_batch(before + done, total)
