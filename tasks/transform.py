"""Transform: raw panel -> clean panel on the regular grid; everything changed is counted.

In: a job, a raw panel and the series in quarantine. Out: a clean panel (one row per grid point from
each series' first to its last row with an observed target, sorted, float64, gaps NaN; beside it the covariates known
for the horizon behind) and a `Change` for every kind of mend. The order is: quarantine, infinite values, values out of
range, time stamps off the grid, repeated time stamps, unobserved ends, grid. Fails with `ValidationError` when a defect
turns up whose policy is `error`, when nothing is left, or when the grid would be out of all proportion to the rows.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from tasks.errors import ValidationError
from tasks.grid import Grid
from tasks.job import Job
from tasks.mends import drop_quarantined, fill_grid, points_per_series, settle, split_ends
from tasks.panel import PanelRef, read_beside, read_panel, write_panel
from tasks.quality import Change

MOST_POINTS = 100_000_000  # of a grid; more than the memory of most machines holds
SPARSEST = 20  # grid points per row that such a large grid may have

logger = logging.getLogger(__name__)


class TransformResult(BaseModel):
    """The clean panel and what was done to get there."""

    model_config = ConfigDict(frozen=True)

    panel: PanelRef
    changes: list[Change]


class Cleaned(NamedTuple):
    """The frame of a clean panel, the changes, and the known covariates behind the last target of each series."""

    frame: pd.DataFrame
    changes: list[Change]
    future: pd.DataFrame | None


def transform_panel(job: Job, raw: PanelRef, quarantined: Sequence[str]) -> TransformResult:
    """Bring a raw panel onto the regular grid of the job and keep the result in the workspace.

    Args:
        job: frequency, plausible ranges and one policy per defect.
        raw: the raw panel.
        quarantined: item ids that are left out.

    Returns:
        Reference to `<workspace>/panels/clean-<digest>.parquet`, and the changes; a kind of mend
        that was not needed is not listed. Names behind codes, static columns of the series that are left, and the parts
        of the source go along.

    Raises:
        ValidationError: a defect whose policy is `error` turned up, no observed row is left, or a stray time stamp
            makes a grid that no memory holds.
    """
    frame, changes, future = clean_frame(read_panel(raw), job, quarantined)
    static = read_beside(raw.static_path)
    if static is not None:
        static = static[static["item_id"].isin(frame["item_id"].unique())].reset_index(drop=True)
    folder = job.workspace_path / "panels"
    panel = write_panel(frame, folder, stage="clean", levels=raw.levels, parts=raw.parts, future=future, static=static)
    for change in changes:
        logger.info("%s: %s", change.rule, change.message)
    return TransformResult(panel=panel, changes=changes)


def clean_frame(frame: pd.DataFrame, job: Job, quarantined: Sequence[str]) -> Cleaned:
    """The frames of a clean panel and the changes: see `transform_panel`, which adds the files."""
    grid = Grid.covering(job.frequency, frame["timestamp"])
    kept, changes = drop_quarantined(frame, quarantined, job.columns.categorical)
    kept, mended = settle(kept, job, grid)
    check_policies(job, mended)
    kept, future, cut = split_ends(kept, grid, job)
    if kept.empty:
        raise ValidationError(
            f"job {job.name!r}: no observed row is left after quarantine ({len(quarantined)} "
            f"series) and cleaning; see the validation report"
        )
    check_size(kept, grid, job)
    clean, added = fill_grid(kept, grid)
    return Cleaned(clean, [*changes, *mended, *cut, *added], future)


def check_policies(job: Job, changes: Sequence[Change]) -> None:
    """Refuse mends whose policy is `error`; validation has normally stopped the run before."""
    for change in changes:
        if getattr(job.transform, change.rule, None) == "error":
            raise ValidationError(
                f"job {job.name!r}: transform.{change.rule} is error, and {change.message}; "
                f"mend the source or choose another policy"
            )


def check_size(frame: pd.DataFrame, grid: Grid, job: Job) -> None:
    """Refuse a grid that a wrong frequency or a stray time stamp (2202 for 2022) makes too large for any memory."""
    points = int(points_per_series(frame, grid).sum())
    if points > max(MOST_POINTS, SPARSEST * len(frame)):
        raise ValidationError(
            f"job {job.name!r}: {len(frame):,} rows from {frame['timestamp'].min()} to {frame['timestamp'].max()} have "
            f"{points:,} points on the {job.frequency} grid; is the frequency right, and every year in the source?"
        )


@task(task_run_name="transform", cache_policy=NO_CACHE)
def transform(job: Job, raw: PanelRef, quarantined: Sequence[str]) -> TransformResult:
    """Bring a raw panel onto the grid: see `transform_panel`."""
    return transform_panel(job, raw, quarantined)
