"""The mends of the transform, one function each: a frame in, a frame and what changed out.

In: the frame of a raw panel, sorted, or what an earlier mend left of it. Out: the mended frame and a `Change` for each
kind of defect that was there. A change says how the sum of the observed values of each numeric column differs for it,
so that the sums of the source and those of the clean panel can be reconciled. Nothing here fails; policies of `error`
are refused by `tasks/transform.py`.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tasks.grid import Grid, differs_from_first, first_of_stamp, series_numbers
from tasks.job import Job, Range
from tasks.panel import value_columns
from tasks.quality import Change

REPEATS = {
    "keep_first": "the first row of each was kept",
    "keep_last": "the last row of each was kept",
    "mean": "their values were averaged",
    "sum": "their values were added up",
}
ROUNDING = 1e-12  # difference of two sums, as a share of what was added up, that is none

Mended = tuple[pd.DataFrame, list[Change]]


def settle(frame: pd.DataFrame, job: Job, grid: Grid) -> Mended:
    """Apply the policies for ranges, grid and repeats; at most one row per grid point is left.

    A policy of `error` mends like its mildest neighbour (set_missing, floor, keep_first), so that
    validation can profile what it is about to refuse.
    """
    policies, names = job.transform, job.columns.categorical
    ranges = {} if policies.out_of_range == "keep" else job.validation.ranges
    finite, changes = set_infinite_missing(frame)
    in_range, out = set_out_of_range_missing(finite, ranges)
    on_grid, moved = floor_to_grid(in_range, grid)
    keep = "keep_first" if policies.duplicates == "error" else policies.duplicates
    single, dropped = merge_repeats(on_grid, keep, names)
    return single, [*changes, *out, *moved, *dropped]


def drop_quarantined(frame: pd.DataFrame, quarantined: Sequence[str], names: Collection[str] = ()) -> Mended:
    """Leave out the rows of the named series; `names` are the columns that hold codes of names."""
    if not quarantined:
        return frame, []
    is_out = frame["item_id"].isin(list(quarantined)).to_numpy()
    if not is_out.any():
        return frame, []
    message = f"rows left out with {len(set(quarantined)):,} series in quarantine: {is_out.sum():,}"
    difference = without(frame, is_out, names)
    return frame[~is_out], [make_change("quarantine", None, is_out.sum(), message, difference)]


def set_infinite_missing(frame: pd.DataFrame) -> Mended:
    """Set infinite values to missing; no sum has them, so none differs. Validation stops here unless told otherwise."""
    mended, changes = frame.copy(deep=False), []
    for name in value_columns(frame):
        values = frame[name].to_numpy(dtype=np.float64)
        is_infinite = np.isinf(values)
        if is_infinite.any():
            message = f"infinite values of {name}, set missing: {is_infinite.sum():,}"
            changes.append(make_change("infinite", name, is_infinite.sum(), message))
            mended[name] = np.where(is_infinite, np.nan, values)
    return mended, changes


def set_out_of_range_missing(frame: pd.DataFrame, ranges: dict[str, Range]) -> Mended:
    """Set values outside the plausible ranges to missing; bounds are plausible."""
    mended, changes = frame.copy(deep=False), []
    for name, bounds in ranges.items():
        values = frame[name].to_numpy(dtype=np.float64)
        low = -np.inf if bounds.min is None else bounds.min
        high = np.inf if bounds.max is None else bounds.max
        is_out = (values < low) | (values > high)
        if is_out.any():
            some = ", ".join(f"{value:g}" for value in np.unique(values[is_out])[:3])
            message = f"values of {name} not {in_words(bounds)}, set missing: {is_out.sum():,} ({some})"
            difference = without(frame[[name]], is_out)
            changes.append(make_change("out_of_range", name, is_out.sum(), message, difference))
            mended[name] = np.where(is_out, np.nan, values)
    return mended, changes


def in_words(bounds: Range) -> str:
    """Bounds as a person says them: `between 200 and 330`, `at least 0`."""
    if bounds.min is None or bounds.max is None:
        return f"at most {bounds.max:g}" if bounds.min is None else f"at least {bounds.min:g}"
    return f"between {bounds.min:g} and {bounds.max:g}"


def floor_to_grid(frame: pd.DataFrame, grid: Grid) -> Mended:
    """Move time stamps between two grid points down to the grid."""
    floored = grid.floor(frame["timestamp"])
    is_off = floored != frame["timestamp"].to_numpy()
    if not is_off.any():
        return frame, []
    first = frame["timestamp"].to_numpy()[is_off][0]
    message = f"time stamps moved down to the grid: {is_off.sum():,} (first: {pd.Timestamp(first)})"
    mended = frame.copy(deep=False)
    mended["timestamp"] = floored
    return mended, [make_change("off_grid", None, is_off.sum(), message)]


def merge_repeats(frame: pd.DataFrame, policy: str, names: Collection[str] = ()) -> Mended:
    """Make one row of several with one series and time stamp.

    Args:
        frame: sorted by item_id and timestamp, in source order where these are equal.
        policy: keep_first or keep_last (whole rows), mean or sum (of the observed values of a column).
        names: columns that hold codes of names, which have neither: they take that of the first row.

    Returns:
        The frame with single rows, and the change.
    """
    first = first_of_stamp(frame)
    starts = np.flatnonzero(first == np.arange(len(frame)))
    dropped = len(frame) - len(starts)
    if dropped == 0:
        return frame, []
    differs = differs_from_first(frame, value_columns(frame))
    conflicts = int(differs.any(axis=1).sum())
    message = f"rows that repeat an earlier time stamp: {dropped:,}; {REPEATS[policy]}"
    if conflicts:
        where = [f"{name} in {count:,}" for name, count in differs.sum().items() if count]
        message += f"; contradicting the first row: {conflicts:,} ({', '.join(where)})"
    ends = np.append(starts[1:], len(frame)) - 1
    merged = frame.take(ends if policy == "keep_last" else starts)
    numeric = [name for name in value_columns(frame) if name not in names]
    if policy in {"mean", "sum"}:
        for name in numeric:
            merged[name] = _pooled(frame[name], starts, policy)
    is_repeated = ends > starts
    before, after = frame[np.repeat(is_repeated, ends - starts + 1)], merged[is_repeated]
    difference = _differences(before[numeric], after[numeric])
    return merged, [make_change("duplicates", None, dropped, message, difference)]


def split_ends(frame: pd.DataFrame, grid: Grid, job: Job) -> tuple[pd.DataFrame, pd.DataFrame | None, list[Change]]:
    """Cut each series at its first and its last observed target.

    Returns:
        The rows from the first to the last observed target of each series; the known covariates of the `horizon` steps
        behind it, None for a job without such columns; and what became of the other rows.
    """
    series, rows = series_numbers(frame), np.arange(len(frame))
    seen = np.flatnonzero(frame[job.columns.target].notna().any(axis=1).to_numpy())
    first = np.full(series[-1] + 1 if len(series) else 0, len(frame))
    last = np.full_like(first, -1)
    np.minimum.at(first, series[seen], seen)
    np.maximum.at(last, series[seen], seen)
    is_inside = (rows >= first[series]) & (rows <= last[series])
    is_ahead = np.zeros(len(frame), dtype=bool)
    if job.columns.known and len(frame):
        steps = grid.steps(frame["timestamp"])
        is_ahead = (rows > last[series]) & (last[series] >= 0) & (steps - steps[last[series]] <= job.horizon)
    names = job.columns.categorical
    future = frame.loc[is_ahead, ["item_id", "timestamp", *job.columns.known]].reset_index(drop=True)
    changes = []
    if count := int(is_ahead.sum()):
        message = f"rows behind the last observed target, kept as covariates known for the horizon: {count:,}"
        changes.append(make_change("horizon", None, count, message, without(frame, is_ahead, names)))
    is_dropped = ~is_inside & ~is_ahead
    if count := int(is_dropped.sum()):
        message = f"rows before the first or after the last observed target, left out: {count:,}"
        changes.append(make_change("unobserved_ends", None, count, message, without(frame, is_dropped, names)))
    inside = frame if is_inside.all() else frame[is_inside]
    return inside, future if job.columns.known else None, changes


def fill_grid(frame: pd.DataFrame, grid: Grid) -> Mended:
    """One row per grid point of each series, new ones missing; rows must lie on distinct points."""
    series, steps = series_numbers(frame), grid.steps(frame["timestamp"])
    starts = np.flatnonzero(np.append(True, series[1:] != series[:-1]))
    lengths = points_per_series(frame, grid)
    offsets = np.cumsum(lengths) - lengths
    total = int(lengths.sum())
    clean = {
        "item_id": np.repeat(frame["item_id"].to_numpy()[starts], lengths),
        "timestamp": grid.stamps(np.arange(total) + np.repeat(steps[starts] - offsets, lengths)),
    }
    places = offsets[series] + steps - steps[starts][series]
    for name in value_columns(frame):
        clean[name] = np.full(total, np.nan)
        clean[name][places] = frame[name].to_numpy(dtype=np.float64)
    added = total - len(frame)
    message = f"grid points without a row, added as missing: {added:,} of {total:,}"
    return pd.DataFrame(clean, copy=False), [make_change("grid", None, added, message)] if added else []


def points_per_series(frame: pd.DataFrame, grid: Grid) -> np.ndarray:
    """How many grid points each series reaches over."""
    series, steps = series_numbers(frame), grid.steps(frame["timestamp"])
    starts = np.flatnonzero(np.append(True, series[1:] != series[:-1]))
    lengths: np.ndarray = steps[np.append(starts[1:], len(frame)) - 1] - steps[starts] + 1
    return lengths


def without(frame: pd.DataFrame, is_out: np.ndarray, names: Collection[str] = ()) -> dict[str, float]:
    """What the sums of the numeric columns change by when some rows go; only those that change."""
    numeric = [name for name in value_columns(frame) if name not in names]
    lost = {name: -_sum_and_size(frame[name].to_numpy(dtype=np.float64)[is_out])[0] for name in numeric}
    return {name: value for name, value in lost.items() if value}


def make_change(
    rule: str, column: str | None, count: Any, message: str, difference: dict[str, float] | None = None
) -> Change:
    """The record of one kind of mend."""
    return Change(rule=rule, column=column, count=int(count), message=message, difference=difference or {})


def _pooled(column: pd.Series, starts: np.ndarray, policy: str) -> np.ndarray:
    """Sum or mean of the observed values of each group; NaN where there is none."""
    values = column.to_numpy(dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # values near the largest number there is
        sums = np.add.reduceat(np.nan_to_num(values), starts)
    counts = np.add.reduceat(~np.isnan(values), starts, dtype=np.int64)
    divisors = counts if policy == "mean" else np.ones_like(counts)
    return np.divide(sums, divisors, out=np.full(len(starts), np.nan), where=counts > 0)


def _differences(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, float]:
    """What the sums of the columns change by from one frame to another; rounding is no change."""
    found = {}
    for name in before.columns:
        was, size = _sum_and_size(before[name].to_numpy(dtype=np.float64))
        value = _sum_and_size(after[name].to_numpy(dtype=np.float64))[0] - was
        if abs(value) > ROUNDING * size:
            found[name] = value
    return found


def _sum_and_size(values: np.ndarray) -> tuple[float, float]:
    """The sum of the observed values and that of their sizes; infinite values are none."""
    values = values[np.isfinite(values)]
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values.sum()), float(np.abs(values).sum())
