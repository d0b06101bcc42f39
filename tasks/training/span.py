"""The training span: what of a panel may be trained on.

In: a job and its series. Out: the values, and the covariates, up to the first backtest origin. Fails with `DataError`
when no series is long enough for the backtest.
"""

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moirai.errors import DataError
from moirai.forecasting.covariates import CovariateEncoding
from tasks.covariates import training_covariates
from tasks.job import Job
from tasks.panel import PanelRef, TargetSeries

logger = logging.getLogger(__name__)


def training_end(job: Job, series: list[TargetSeries]) -> tuple[np.datetime64, str]:
    """The first backtest origin of all series, and whose it is: what came later in any of them is not trained on.

    One moment for all, because a model is trained on all series together: a later value of one would reach the weights
    that forecast an earlier window of another.

    Raises:
        DataError: no series is long enough for the backtest windows.
    """
    test_steps = job.backtest.windows * job.horizon
    tested = [one for one in series if len(one.values) > test_steps]
    if not tested:
        longest = max((len(one.values) for one in series), default=0)
        raise DataError(
            f"no series is longer than {job.backtest.windows} backtest windows of {job.horizon} steps (longest: "
            f"{longest}); take fewer backtest.windows or a shorter horizon"
        )
    first = min(tested, key=lambda one: one.timestamps[len(one.values) - test_steps - 1])
    return first.timestamps[len(first.values) - test_steps - 1], first.item_id


def training_span(job: Job, series: list[TargetSeries]) -> list[np.ndarray]:
    """Values of every series up to the first backtest origin of all of them."""
    end, item = training_end(job, series)
    logger.info("training ends at %s, the first backtest origin (of %s)", pd.Timestamp(end), item)
    return [one.values[one.timestamps <= end].astype(np.float32) for one in series]


@dataclass(frozen=True)
class TrainingCovariates:
    """What a training sees beside the targets."""

    encoding: CovariateEncoding
    arrays: list[np.ndarray]  # [variate, time] of every series, as long as its values


def covariate_span(
    job: Job, panel: PanelRef, series: list[TargetSeries], values: list[np.ndarray]
) -> TrainingCovariates | None:
    """The covariates of every series of a training span; None: the job has none."""
    if not job.columns.covariates:
        return None
    end, _ = training_end(job, series)
    encoding, found = training_covariates(job, panel, end)
    none = np.empty((len(encoding.variates), 0), np.float32)
    arrays = [found.get(one.item_id, none)[:, : len(cut)] for one, cut in zip(series, values, strict=True)]
    return TrainingCovariates(encoding, arrays)
