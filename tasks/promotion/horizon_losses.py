"""Losses of a model in ranges of the horizon, which the sums that a backtest keeps per window do not tell apart.

In: a job, a finished backtest, one of its models, and windows. Out: a loss per declared range. Fails with
`FileNotFoundError` when the backtest's tables are gone. The forecasts are read and scored again, one model at a time.
"""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from moirai.evaluation.metrics import score
from moirai.forecasting.levels import quantile_name
from tasks.backtest import LEVELS, BacktestResult
from tasks.job import Job
from tasks.promotion.contenders import Contender
from tasks.verdict import WINDOW, read_backtest

ERRORS = ["abs_error_sum", "scaled_error_sum"]


def horizon_losses(job: Job, tested: BacktestResult, one: Contender, windows: pd.MultiIndex) -> list[float]:
    """Loss of one model over some windows per declared range of the horizon; NaN where nothing was observed.

    Args:
        job: `promotion.horizon_ranges` and the metric.
        tested: it scored the model.
        one: the model.
        windows: item_id, target_name and window_origin of those that count.
    """
    actual, quantiles = _forecasts(job, tested, one, windows)
    scale, metric = _scales(tested, one, windows), job.promotion.metric
    losses = []
    for first, last in job.promotion.horizon_ranges:
        steps = slice(first - 1, last)
        sums = score(actual[:, steps], quantiles[..., steps], levels=LEVELS, scale=scale).pooled()
        losses.append(float(getattr(sums, metric)))
    return losses


def _forecasts(
    job: Job, tested: BacktestResult, one: Contender, windows: pd.MultiIndex
) -> tuple[np.ndarray, np.ndarray]:
    """What happened, [window, step], and what was forecast, [window, quantile, step], in the order of the windows."""
    names = [quantile_name(level) for level in LEVELS]
    rows = pq.read_table(
        f"{tested.folder}/forecasts.parquet",
        columns=[*WINDOW, "step", "target", *names],
        filters=[("model_name", "==", one.name), ("model_version", "==", one.version)],
    ).to_pandas()
    rows = rows.set_index([*WINDOW, "step"]).sort_index()
    rows = rows[rows.index.droplevel("step").isin(windows)]
    shape = (len(windows), job.horizon)
    return rows["target"].to_numpy().reshape(shape), np.stack(
        [rows[name].to_numpy().reshape(shape) for name in names], 1
    )


def _scales(tested: BacktestResult, one: Contender, windows: pd.MultiIndex) -> np.ndarray:
    """Seasonal error of each window's history: the quotient of its errors before and after scaling; NaN: none."""
    scores = read_backtest(tested.folder, "scores", filters=[("metric", "in", ERRORS)])
    mine = scores[scores["model_name"] == one.label]
    wide = mine.pivot_table(index=WINDOW, columns="metric", values="value", aggfunc="first")
    found = wide.reindex(index=windows, columns=ERRORS)
    no_error = found["scaled_error_sum"] == 0  # any scale divides nothing into nothing
    return np.where(no_error, 1.0, found["abs_error_sum"] / found["scaled_error_sum"].where(~no_error))
