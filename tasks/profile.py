"""One row per series: what validation judges a series by.

In: rows of which each series has at most one per grid point, and the grid. Out: a frame, one row
per item and target.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.grid import Grid, series_numbers

HOUR = pd.Timedelta("1h")


def profile_series(frame: pd.DataFrame, grid: Grid, targets: Sequence[str], now: pd.Timestamp) -> pd.DataFrame:
    """Describe every series of a panel.

    Args:
        frame: sorted by item_id and timestamp, time stamps on the grid, none repeated.
        grid: counts the steps.
        targets: columns that are forecast; each is a series of its own.
        now: moment that the age is counted from.

    Returns:
        One row per item and target: item_id, target; first and last observation; steps from one to
        the other, how many of them are observed and missing, missing_share; longest_gap (missing
        steps in a row) with gap_after and gap_before, the observations around it; spread (largest
        minus smallest value); age_hours of the last observation. Without any observation all but
        the counts are missing.
    """
    numbers, steps = series_numbers(frame), grid.steps(frame["timestamp"])
    items = pd.Index(frame["item_id"].to_numpy()[np.flatnonzero(np.diff(numbers, prepend=-1))])
    parts = [_profile_target(frame[name], numbers, steps, len(items)) for name in targets]
    profile = pd.concat([part.assign(item_id=items, target=name) for part, name in zip(parts, targets, strict=True)])
    for name in ("first", "last", "gap_after", "gap_before"):
        profile[name] = _stamps(profile[name], grid)
    profile["age_hours"] = (now - profile["last"]) / HOUR
    names = ["item_id", "target"]
    return profile[[*names, *profile.columns.drop(names)]].reset_index(drop=True)


def _profile_target(values: pd.Series, numbers: np.ndarray, steps: np.ndarray, items: int) -> pd.DataFrame:
    """The profile of one target, one row per item; moments are still steps of the grid."""
    is_seen = values.notna().to_numpy()
    seen = pd.DataFrame({"item": numbers, "step": steps, "value": values.to_numpy()})[is_seen]
    by_item = seen.groupby("item")
    gaps = (by_item["step"].diff().fillna(1) - 1).rename("gap")
    widest = gaps.groupby(seen["item"]).idxmax()
    before = seen["step"].loc[widest].set_axis(widest.index)
    gap = gaps.loc[widest].set_axis(widest.index)
    profile = by_item["step"].agg(["min", "max", "size"]).set_axis(["first", "last", "observed"], axis=1)
    profile["steps"] = profile["last"] - profile["first"] + 1
    profile["missing"] = profile["steps"] - profile["observed"]
    profile["missing_share"] = profile["missing"] / profile["steps"]
    profile["longest_gap"] = gap
    profile["gap_after"] = (before - gap - 1).where(gap > 0)
    profile["gap_before"] = before.where(gap > 0)
    profile["spread"] = by_item["value"].max() - by_item["value"].min()
    whole = profile.reindex(range(items))
    counts = ["observed", "steps", "missing", "longest_gap"]
    return whole.assign(**{name: whole[name].fillna(0).astype(np.int64) for name in counts})


def _stamps(steps: pd.Series, grid: Grid) -> np.ndarray:
    """Time stamps of steps of which some are missing."""
    is_known = steps.notna().to_numpy()
    stamps = np.full(len(steps), np.datetime64("NaT"), dtype="datetime64[ns]")
    stamps[is_known] = grid.stamps(steps.to_numpy()[is_known].astype(np.int64))
    return stamps
