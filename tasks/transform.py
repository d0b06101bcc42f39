"""Transform: raw panel -> clean panel on the regular grid; everything changed is counted.

In: a job, a raw panel and the series in quarantine. Out: a clean panel (one row per grid point from
each series' first to its last row with an observed target, sorted, float64, gaps NaN) and a
`Change` for every kind of mend. The order is: quarantine, values out of range, time stamps off the
grid, repeated time stamps, unobserved ends, grid. Fails with `ValidationError` when a defect turns
up whose policy is `error`, or when nothing is left.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from tasks.errors import ValidationError
from tasks.grid import Grid, differs_from_first, first_of_stamp, series_numbers
from tasks.job import Job, Range
from tasks.panel import PanelRef, read_panel, value_columns, write_panel
from tasks.quality import Change

REPEATS = {
    "keep_first": "the first row of each was kept",
    "keep_last": "the last row of each was kept",
    "mean": "their values were averaged",
}

logger = logging.getLogger(__name__)

Mended = tuple[pd.DataFrame, list[Change]]


class TransformResult(BaseModel):
    """The clean panel and what was done to get there."""

    model_config = ConfigDict(frozen=True)

    panel: PanelRef
    changes: list[Change]


def transform_panel(job: Job, raw: PanelRef, quarantined: Sequence[str]) -> TransformResult:
    """Bring a raw panel onto the regular grid of the job and keep the result in the workspace.

    Args:
        job: frequency, plausible ranges and one policy per defect.
        raw: the raw panel.
        quarantined: item ids that are left out.

    Returns:
        Reference to `<workspace>/panels/clean-<digest>.parquet`, and the changes; a kind of mend
        that was not needed is not listed.

    Raises:
        ValidationError: a defect whose policy is `error` turned up, or no observed row is left.
    """
    frame, changes = clean_frame(read_panel(raw), job, quarantined)
    panel = write_panel(frame, job.workspace_path / "panels", stage="clean")
    for change in changes:
        logger.info("%s: %s", change.rule, change.message)
    return TransformResult(panel=panel, changes=changes)


def clean_frame(frame: pd.DataFrame, job: Job, quarantined: Sequence[str]) -> Mended:
    """The frame of a clean panel and the changes: see `transform_panel`, which adds the files."""
    grid = Grid.covering(job.frequency, frame["timestamp"])
    kept, changes = drop_quarantined(frame, quarantined)
    kept, mended = settle(kept, job, grid)
    check_policies(job, mended)
    kept, trimmed = trim_ends(kept, job.columns.target)
    if kept.empty:
        raise ValidationError(
            f"job {job.name!r}: no observed row is left after quarantine ({len(quarantined)} "
            f"series) and cleaning; see the validation report"
        )
    clean, added = fill_grid(kept, grid)
    return clean, [*changes, *mended, *trimmed, *added]


def drop_quarantined(frame: pd.DataFrame, quarantined: Sequence[str]) -> Mended:
    """Leave out the rows of the named series."""
    is_out = frame["item_id"].isin(list(quarantined)).to_numpy()
    if not is_out.any():
        return frame, []
    message = f"rows left out with {len(set(quarantined)):,} series in quarantine: {is_out.sum():,}"
    return frame[~is_out], [_change("quarantine", None, is_out.sum(), message)]


def settle(frame: pd.DataFrame, job: Job, grid: Grid) -> Mended:
    """Apply the policies for ranges, grid and repeats; at most one row per grid point is left.

    A policy of `error` mends like its mildest neighbour (set_missing, floor, keep_first), so that
    validation can profile what it is about to refuse; `check_policies` is what refuses.
    """
    policies = job.transform
    ranges = {} if policies.out_of_range == "keep" else job.validation.ranges
    in_range, changes = set_out_of_range_missing(frame, ranges)
    on_grid, moved = floor_to_grid(in_range, grid)
    keep = "keep_first" if policies.duplicates == "error" else policies.duplicates
    single, dropped = merge_repeats(on_grid, keep)
    return single, [*changes, *moved, *dropped]


def check_policies(job: Job, changes: Sequence[Change]) -> None:
    """Refuse mends whose policy is `error`; validation has normally stopped the run before."""
    for change in changes:
        if getattr(job.transform, change.rule) == "error":
            raise ValidationError(
                f"job {job.name!r}: transform.{change.rule} is error, and {change.message}; "
                f"mend the source or choose another policy"
            )


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
            changes.append(_change("out_of_range", name, is_out.sum(), message))
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
    change = _change("off_grid", None, is_off.sum(), message)
    return frame.assign(timestamp=floored), [change]


def merge_repeats(frame: pd.DataFrame, policy: str) -> Mended:
    """Make one row of several with one series and time stamp.

    Args:
        frame: sorted by item_id and timestamp, in source order where these are equal.
        policy: keep_first or keep_last (whole rows), or mean (of the observed values of a column).

    Returns:
        The frame with single rows, and the change.
    """
    first = first_of_stamp(frame)
    starts = np.flatnonzero(first == np.arange(len(frame)))
    dropped = len(frame) - len(starts)
    if dropped == 0:
        return frame, []
    names = value_columns(frame)
    differs = differs_from_first(frame, names)
    conflicts = int(differs.any(axis=1).sum())
    message = f"rows that repeat an earlier time stamp: {dropped:,}; {REPEATS[policy]}"
    if conflicts:
        where = [f"{name} in {count:,}" for name, count in differs.sum().items() if count]
        message += f"; contradicting the first row: {conflicts:,} ({', '.join(where)})"
    if policy == "keep_last":
        ends = np.append(starts[1:], len(frame)) - 1
        merged = frame.iloc[ends]
    else:
        merged = frame.iloc[starts]
    if policy == "mean":
        merged = merged.assign(**{name: _means(frame[name], starts) for name in names})
    return merged, [_change("duplicates", None, dropped, message)]


def _means(column: pd.Series, starts: np.ndarray) -> np.ndarray:
    """Mean of the observed values of each group; NaN where there is none."""
    values = column.to_numpy(dtype=np.float64)
    sums = np.add.reduceat(np.nan_to_num(values), starts)
    counts = np.add.reduceat(~np.isnan(values), starts, dtype=np.int64)
    return np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0)


def trim_ends(frame: pd.DataFrame, targets: Sequence[str]) -> Mended:
    """Drop the rows of each series before the first and after the last with an observed target."""
    series, rows = series_numbers(frame), np.arange(len(frame))
    seen = np.flatnonzero(frame[list(targets)].notna().any(axis=1).to_numpy())
    first = np.full(series[-1] + 1 if len(series) else 0, len(frame))
    last = np.full_like(first, -1)
    np.minimum.at(first, series[seen], seen)
    np.maximum.at(last, series[seen], seen)
    is_inside = (rows >= first[series]) & (rows <= last[series])
    dropped = len(frame) - int(is_inside.sum())
    if dropped == 0:
        return frame, []
    message = f"rows before the first or after the last observed target, left out: {dropped:,}"
    return frame[is_inside], [_change("unobserved_ends", None, dropped, message)]


def fill_grid(frame: pd.DataFrame, grid: Grid) -> Mended:
    """One row per grid point of each series, new ones missing; rows must lie on distinct points."""
    series, steps = series_numbers(frame), grid.steps(frame["timestamp"])
    starts = np.flatnonzero(np.append(True, series[1:] != series[:-1]))
    ends = np.append(starts[1:], len(frame)) - 1
    lengths = steps[ends] - steps[starts] + 1
    offsets = np.cumsum(lengths) - lengths
    places = offsets[series] + steps - steps[starts][series]
    total = int(lengths.sum())
    clean = {
        "item_id": np.repeat(frame["item_id"].to_numpy()[starts], lengths),
        "timestamp": grid.stamps(np.arange(total) + np.repeat(steps[starts] - offsets, lengths)),
    }
    for name in value_columns(frame):
        clean[name] = np.full(total, np.nan)
        clean[name][places] = frame[name].to_numpy(dtype=np.float64)
    added = total - len(frame)
    message = f"grid points without a row, added as missing: {added:,} of {total:,}"
    return pd.DataFrame(clean), [_change("grid", None, added, message)] if added else []


def _change(rule: str, column: str | None, count: Any, message: str) -> Change:
    return Change(rule=rule, column=column, count=int(count), message=message)


@task(cache_policy=NO_CACHE)
def transform(job: Job, raw: PanelRef, quarantined: Sequence[str]) -> TransformResult:
    """Bring a raw panel onto the grid: see `transform_panel`."""
    return transform_panel(job, raw, quarantined)
