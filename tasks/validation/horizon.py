"""Covariates known in advance: does every series have them for the horizon it will be forecast for?

In: settled rows and the grid, which reaches `horizon` steps behind the last row. Out: a `Check` per known column of the
suite `horizon.json`, and quarantine where its severity is `warning`.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd

from tasks.expectations import load_suite, run_suite
from tasks.grid import Grid, series_numbers
from tasks.job import Job
from tasks.validation.series import Judged, judge


def check_horizon(
    settled: pd.DataFrame, grid: Grid, frame: pd.DataFrame, job: Job, left_out: Collection[str]
) -> Judged:
    """Run the suite `horizon.json` on the series that will be forecast; without known columns there is nothing to do.

    Args:
        settled: the rows as the transform will mend them.
        grid: reaches to the horizon of the latest row.
        frame: the rows of the raw panel.
        job: names the known columns and the horizon.
        left_out: items that are in quarantine already; they need no covariates.
    """
    if not job.columns.known:
        return [], []
    ahead = values_ahead(settled, grid, job)
    ahead = ahead[~ahead["item_id"].isin(list(left_out))].reset_index(drop=True)
    known = [{"column": name} for name in job.columns.known]
    suite = load_suite("horizon", {"horizon": job.horizon}, {"known": known}, job.validation.severity)
    if ahead.empty or not suite["expectations"]:
        return [], []
    return judge(run_suite(suite, ahead), ahead, frame, {"horizon": job.horizon})


def values_ahead(settled: pd.DataFrame, grid: Grid, job: Job) -> pd.DataFrame:
    """What is known of the steps behind the last observed target of each item.

    Returns:
        One row per item with an observed target and known column: item_id, column, missing_ahead (steps of the horizon
        without a value), first_missing (time stamp of the first of them; NaT where there is none).
    """
    series, steps = series_numbers(settled), grid.steps(settled["timestamp"])
    starts = np.flatnonzero(np.diff(series, prepend=-1))
    is_seen = settled[job.columns.target].notna().any(axis=1).to_numpy()
    last = np.maximum.reduceat(np.where(is_seen, steps, -1), starts)
    ahead = steps - last[series]
    is_ahead = (ahead > 0) & (ahead <= job.horizon) & (last[series] >= 0)
    places = series[is_ahead], ahead[is_ahead] - 1
    has_target = last >= 0
    items = settled["item_id"].to_numpy()[starts][has_target]
    parts = []
    for name in job.columns.known:
        is_known = np.zeros((len(starts), job.horizon), dtype=bool)
        is_known[places] = settled[name].notna().to_numpy()[is_ahead]
        is_known = is_known[has_target]
        missing = job.horizon - is_known.sum(axis=1)
        first = grid.stamps(last[has_target] + 1 + is_known.argmin(axis=1))
        first_missing = np.where(missing > 0, first, np.datetime64("NaT"))
        parts.append({"item_id": items, "column": name, "missing_ahead": missing, "first_missing": first_missing})
    return pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
