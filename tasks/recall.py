"""Recall: a clean panel as it was known at a moment in the past, by what the warehouse knows of when it learnt what.

In: a job, a clean panel of today's source up to `as_of`, and `as_of`. Out: the panel that a run would have seen then. A
value is the latest version known at that moment. One that became known only later counts as known in its first version
where nothing shows otherwise - that run was missed, so nobody looked -, but is not seen where an earlier look at the
series saw a later time stamp without it: it arrived late. A series of which nothing was known is left out where the
other series show that it was not there. Before its first run the warehouse knows nothing; then the panel stays as it
is. Values of categorical columns and covariates known in advance behind the last target are those of today's source.
Fails with `ValidationError` when nothing is left, and with `WarehouseError`.
"""

import logging
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.calendar import moment_of
from tasks.errors import ValidationError
from tasks.job import Job
from tasks.panel import KEYS, PanelRef, read_beside, read_panel, write_panel
from tasks.warehouse import open_warehouse, warehouse_url

LONG_AGO = np.iinfo(np.int64).min  # when all was known that was known at the moment; only its being first counts

logger = logging.getLogger(__name__)


class Recalled(NamedTuple):
    """A panel as it was known."""

    frame: pd.DataFrame
    """Its rows, those of each series from its first to its last observed target."""
    cut: pd.DataFrame
    """Rows of today's panel behind the last target that was known."""
    unseen: list[str]
    """Series that were not there."""
    late: int
    """Values that arrived late."""
    revised: int
    """Values that are another version than today's."""


def recall(frame: pd.DataFrame, known: pd.DataFrame, later: pd.DataFrame, targets: list[str]) -> Recalled:
    """What was known of a clean panel.

    Args:
        frame: item_id, timestamp and the columns to recall.
        known: item_id, column_name, timestamp, value: what was known at the moment.
        later: the same and known_at: the first version of everything that became known only then, `frame` included.
        targets: columns of which a series needs an observed value at both ends.
    """
    nothing = frame.iloc[:0]
    if known.empty:
        return Recalled(frame, nothing, [], 0, 0)
    columns = [name for name in frame.columns if name not in KEYS]
    unseen = _series_not_there(known, later)
    history = _looks(known, later)
    history = history[history["column_name"].isin(columns) & ~history["item_id"].isin(unseen)]
    is_late = _is_late(history)
    values = history[~is_late].set_index([*KEYS, "column_name"])["value"].unstack()  # noqa: PD010 - each key is there once
    kept = frame[~frame["item_id"].isin(unseen)].reset_index(drop=True)
    then = kept[KEYS].join(values.reindex(columns=columns), on=KEYS)[[*KEYS, *columns]].astype(kept.dtypes)
    if then[targets].isna().all(axis=None):
        return Recalled(nothing, nothing, unseen, 0, 0)
    now, was = kept[columns].to_numpy(), then[columns].to_numpy()
    is_inside, is_behind = _observed_span(then, targets)
    return Recalled(
        then[is_inside].reset_index(drop=True),
        kept[is_behind],
        unseen,
        late=int((~np.isnan(now) & np.isnan(was)).sum()),
        revised=int((~np.isnan(was) & (now != was)).sum()),
    )


def _looks(known: pd.DataFrame, later: pd.DataFrame) -> pd.DataFrame:
    """First versions of both, `first` being when each became known, in nanoseconds since 1970."""
    columns = ["item_id", "column_name", "timestamp", "value"]
    parts = [part[columns] for part in (known, later) if len(part)]
    moments = later["known_at"].to_numpy().astype("datetime64[ns]").astype(np.int64)
    return pd.concat(parts, ignore_index=True).assign(first=np.append(np.full(len(known), LONG_AGO), moments))


def _is_late(history: pd.DataFrame) -> pd.Series:
    """Whether a later time stamp of the series and column was known before the value."""
    rows = history.sort_values(["item_id", "column_name", "timestamp"], ascending=False, kind="stable")
    group = [rows["item_id"], rows["column_name"]]
    behind = rows["first"].groupby(group).cummin().groupby(group).shift(fill_value=np.iinfo(np.int64).max)
    return (behind < rows["first"]).reindex(history.index)


def _series_not_there(known: pd.DataFrame, later: pd.DataFrame) -> list[str]:
    """Series of which nothing was known though others were, at time stamps at which they had values already."""
    looks = _looks(known, later).sort_values("timestamp", kind="stable")
    is_other = looks["item_id"].isin(known["item_id"].unique())
    firsts = looks[~is_other].groupby("item_id", sort=True)[["timestamp", "first"]].first()
    others = looks[is_other]
    earliest = np.append(np.minimum.accumulate(others["first"].to_numpy()[::-1])[::-1], np.iinfo(np.int64).max)
    place = np.searchsorted(others["timestamp"].to_numpy(), firsts["timestamp"].to_numpy(), side="left")
    return [str(name) for name in firsts.index[earliest[place] < firsts["first"].to_numpy()]]


def _observed_span(frame: pd.DataFrame, targets: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Rows between the first and the last observed target of their series, and rows behind the last."""
    is_observed = frame[targets].notna().any(axis=1).astype(int)
    group = frame["item_id"]
    has_begun = is_observed.groupby(group, sort=False).cummax().to_numpy() == 1
    goes_on = is_observed[::-1].groupby(group[::-1], sort=False).cummax()[::-1].to_numpy() == 1
    return has_begun & goes_on, ~goes_on


def recall_panel(job: Job, panel: PanelRef, as_of: datetime) -> PanelRef:
    """The panel as it was known at a moment, in the workspace beside today's.

    Args:
        job: whose warehouse knows.
        panel: clean, of rows up to `as_of`, and stored: what was unknown so far is known since now.
        as_of: the moment as the data tell time.

    Returns:
        Reference to `<workspace>/panels/clean-<digest>.parquet`; the given one where nothing differs.

    Raises:
        ValidationError: nothing of the panel was known.
    """
    moment = moment_of(as_of, job.time_zone)
    with open_warehouse(warehouse_url(job)) as warehouse:
        known, later = warehouse.read_known(job.name, moment), warehouse.read_first_known(job.name, moment)
    frame, columns = read_panel(panel), job.columns.without_names(panel.values)
    was = recall(frame[[*KEYS, *columns]], known, later, job.columns.target)
    if not (len(was.cut) or was.unseen or was.late or was.revised):
        return panel
    if was.frame.empty:
        raise ValidationError(f"job {job.name!r}: of what the source holds up to {as_of} nothing was known then")
    series = f"; series not there: {', '.join(was.unseen)}" if was.unseen else ""
    logger.info("as known at %s: %d values were others, %d not there yet%s", as_of, was.revised, was.late, series)
    whole = was.frame.merge(frame[[*KEYS, *panel.levels]], on=KEYS, how="left") if panel.levels else was.frame
    static = read_beside(panel.static_path)
    left = whole["item_id"].unique()
    return write_panel(
        whole[frame.columns],
        job.workspace_path / "panels",
        stage="clean",
        levels=panel.levels,
        parts=panel.parts,
        future=_future(job, panel, frame, was),
        static=None if static is None else static[static["item_id"].isin(left)].reset_index(drop=True),
    )


def _future(job: Job, panel: PanelRef, frame: pd.DataFrame, was: Recalled) -> pd.DataFrame | None:
    """The covariates known in advance behind the last target that was known; None where the job has none."""
    future = read_beside(panel.future_path)
    if future is None:
        return None
    cut = was.cut[KEYS].merge(frame, on=KEYS)[[*KEYS, *job.columns.known]]
    whole = pd.concat([cut, future], ignore_index=True)
    whole = whole[whole["item_id"].isin(was.frame["item_id"].unique())]
    return whole.sort_values(KEYS, kind="stable").reset_index(drop=True)


@task(task_run_name="recall {as_of}", cache_policy=NO_CACHE)
def as_known(job: Job, panel: PanelRef, as_of: datetime) -> PanelRef:
    """The panel as it was known at a moment: see `recall_panel`."""
    return recall_panel(job, panel, as_of)
