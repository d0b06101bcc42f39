"""One row per series: what validation judges a series by.

In: rows of which each series has at most one per grid point, and the grid. Out: a frame, one row
per item and target, with the columns that `PROFILE` describes; expectations of a job's own suite may name them.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tasks.grid import Grid, series_numbers
from tasks.validation.steadiness import COLUMNS, steadiness

HOUR = pd.Timedelta("1h")

PROFILE = {
    "item_id": "the series, as the job's item_id column or columns name it",
    "target": "name of the target; each target of an item is a series of its own",
    "first": "time stamp of the first observation",
    "last": "time stamp of the last observation",
    "observed": "steps that are observed, once the rows are mended",
    "steps": "steps from the first to the last observation, both included",
    "missing": "those of them that are not observed",
    "missing_share": "the same as a share, 0 to 1",
    "gaps": "stretches of missing steps",
    "longest_gap": "missing steps in a row, at most",
    "gap_after": "time stamp of the observation before that gap",
    "gap_before": "time stamp of the observation after that gap",
    "starts_late": "steps from the earliest first observation of all series of the target to its own",
    "ends_early": "steps from its last observation to the latest of all series of the target",
    "spread": "largest minus smallest value",
    "level_before": "median of the last stretch but one; a stretch is horizon or season, whichever is longer",
    "level_last": "median of the last stretch",
    "level_change": "distance of the two, in multiples of the usual change from one stretch to the next",
    "scale_before": "standard deviation of a stretch, the median of those before the last one",
    "scale_last": "standard deviation of the last stretch",
    "scale_change": "the larger of the two as a multiple of the other",
    "age_hours": "hours from the last observation to the moment the run stands at",
}


def profile_series(
    frame: pd.DataFrame, grid: Grid, targets: Sequence[str], now: pd.Timestamp, stretch: int
) -> pd.DataFrame:
    """Describe every series of a panel.

    Args:
        frame: sorted by item_id and timestamp, time stamps on the grid, none repeated.
        grid: counts the steps.
        targets: columns that are forecast; each is a series of its own.
        now: moment that the age is counted from.
        stretch: observed values whose level and scale are compared with those before.

    Returns:
        One row per item and target, the columns of `PROFILE`. Without any observation all but the counts are missing;
        with few of them level and scale are.
    """
    numbers, steps = series_numbers(frame), grid.steps(frame["timestamp"])
    items = pd.Index(frame["item_id"].to_numpy()[np.flatnonzero(np.diff(numbers, prepend=-1))])
    parts = [_profile_target(frame[name], numbers, steps, len(items), stretch) for name in targets]
    profile = pd.concat([part.assign(item_id=items, target=name) for part, name in zip(parts, targets, strict=True)])
    for name in ("first", "last", "gap_after", "gap_before"):
        profile[name] = _stamps(profile[name], grid)
    profile["age_hours"] = (now - profile["last"]) / HOUR
    return profile[list(PROFILE)].reset_index(drop=True)


def _profile_target(
    values: pd.Series, numbers: np.ndarray, steps: np.ndarray, items: int, stretch: int
) -> pd.DataFrame:
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
    profile["gaps"] = (gaps > 0).groupby(seen["item"]).sum()
    profile["longest_gap"] = gap
    profile["gap_after"] = (before - gap - 1).where(gap > 0)
    profile["gap_before"] = before.where(gap > 0)
    profile["starts_late"] = profile["first"] - profile["first"].min()
    profile["ends_early"] = profile["last"].max() - profile["last"]
    profile["spread"] = by_item["value"].max() - by_item["value"].min()
    whole = profile.reindex(range(items))
    whole[COLUMNS] = steadiness(seen["value"].to_numpy(), seen["item"].to_numpy(), items, stretch)
    counts = ["observed", "steps", "missing", "gaps", "longest_gap", "starts_late", "ends_early"]
    return whole.assign(**{name: whole[name].fillna(0).astype(np.int64) for name in counts})


def _stamps(steps: pd.Series, grid: Grid) -> np.ndarray:
    """Time stamps of steps of which some are missing."""
    is_known = steps.notna().to_numpy()
    stamps = np.full(len(steps), np.datetime64("NaT"), dtype="datetime64[ns]")
    stamps[is_known] = grid.stamps(steps.to_numpy()[is_known].astype(np.int64))
    return stamps
