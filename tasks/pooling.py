"""Scores of groups of backtest windows: by window number, and by segment of the series.

In: a backtest's `scores` (see docs/architecture.md), which hold the sums that pool exactly, and the static columns of
the series. Out: small frames and records. A score of nothing is NaN. `segments` fails with `FileNotFoundError` when the
folder holds no backtest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.verdict import SERIES, WINDOW, read_backtest

METRICS = ["wql", "mase"]
SUMS = ["quantile_loss_sum", "abs_target_sum", "scaled_error_sum", "observed"]
MOST_VALUES = 12  # of a static column that still makes segments
UNKNOWN = "(missing)"  # segment of the series whose static value is missing


@dataclass(frozen=True)
class Segments:
    """Scores per value of one static column; no rows where it has too many values, or only one."""

    column: str
    values: int
    rows: list[dict[str, Any]]  # value, series, windows, scores[model][metric] (None: no score), best[metric]


def pooled_scores(scores: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """WQL and MASE of groups of windows.

    Args:
        scores: a backtest's `scores`, with the columns of `by`.
        by: columns that make the groups.

    Returns:
        One row per group: the columns of `by`, `wql`, `mase` and `windows`.
    """
    sums = scores[scores["metric"].isin(SUMS)]
    keys = list(dict.fromkeys(["model_name", *WINDOW, *by]))
    wide = sums.pivot_table(index=keys, columns="metric", values="value", aggfunc="first").reindex(columns=SUMS)
    wide["scaled"] = wide["observed"].where(wide["scaled_error_sum"].notna())  # windows without a scale have no MASE
    wide["windows"] = 1
    pooled = wide.groupby(level=list(by), sort=True).sum()
    found = {
        "wql": _quotient(pooled["quantile_loss_sum"], pooled["abs_target_sum"]),
        "mase": _quotient(pooled["scaled_error_sum"], pooled["scaled"]),
        "windows": pooled["windows"],
    }
    return pd.DataFrame(found).reset_index()


def _quotient(above: pd.Series, below: pd.Series) -> pd.Series:
    return above / below.where(below > 0)


def scores_by_window(scores: pd.DataFrame) -> pd.DataFrame:
    """WQL and MASE per model and number of the window, 1 being the oldest of each series, pooled over the series."""
    number = scores.groupby(SERIES)["window_origin"].rank("dense").astype(int)
    return pooled_scores(scores.assign(window=number), ["model_name", "window"])


def segments(folder: str | Path, static: pd.DataFrame, models: Sequence[str]) -> list[Segments]:
    """Scores per value of each static column.

    Args:
        folder: the backtest's folder.
        static: item_id and the static columns, one row per series.
        models: whose scores are wanted, by their names in `tasks/verdict.py`.
    """
    scores = read_backtest(folder, "scores", filters=[("metric", "in", SUMS)])
    scores = scores[scores["model_name"].isin(list(models))]
    scored = static[static["item_id"].isin(scores["item_id"].unique())].reset_index(drop=True)
    return [_segments(scores, scored, str(column), models) for column in static.columns.drop("item_id")]


def segment_rows(found: Sequence[Segments]) -> list[dict[str, Any]]:
    """The segments as one flat table, a row per column, value and model."""
    return [
        {
            "column": one.column,
            "value": row["value"],
            "series": row["series"],
            "windows": row["windows"],
            "model": model,
        }
        | scores
        for one in found
        for row in one.rows
        for model, scores in row["scores"].items()
    ]


def _segments(scores: pd.DataFrame, static: pd.DataFrame, column: str, models: Sequence[str]) -> Segments:
    distinct = static[column].drop_duplicates()
    numbers = pd.to_numeric(distinct, errors="coerce")
    is_numeric = bool((numbers.notna() | distinct.isna()).all())  # sources tell numbers as text, too
    order = (numbers if is_numeric else distinct).sort_values().index  # missing comes last
    names = [segment_name(value) for value in distinct.loc[order]]
    if not 1 < len(names) <= MOST_VALUES:
        return Segments(column, len(names), [])
    owner = pd.Series([segment_name(value) for value in static[column]], index=static["item_id"])
    grouped = scores.assign(segment=scores["item_id"].map(owner))
    pooled = pooled_scores(grouped, ["segment", "model_name"]).set_index(["segment", "model_name"])
    rows = []
    for name in names:
        mine = pooled.loc[name].reindex(list(models))
        found = {model: {metric: _finite(mine.loc[model, metric]) for metric in METRICS} for model in models}
        row = {"value": name, "series": int((owner == name).sum()), "windows": int(mine["windows"].max())}
        rows.append(row | {"scores": found, "best": {metric: _best(found, metric) for metric in METRICS}})
    return Segments(column, len(names), rows)


def _best(found: dict[str, dict[str, float | None]], metric: str) -> set[str]:
    """Models with the lowest score, to three digits; nobody where there is no one to compare with."""
    losses = {model: round(loss, 3) for model, one in found.items() if (loss := one[metric]) is not None}
    return {model for model, loss in losses.items() if loss == min(losses.values())} if len(losses) > 1 else set()


def segment_name(value: Any) -> str:
    """What a value of a static column is called."""
    if pd.isna(value):
        return UNKNOWN
    return f"{value:g}" if isinstance(value, float) else str(value)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
