"""Time zones: moments with and without one -> time of one zone, which is then no longer named.

In: moments as read. Out: datetime64[ns] in `source.to_timezone`, or as they stand where that is null. Fails with
`SourceError` where moments with and without zone are mixed, where a zone must be named, and where clocks go back or
forward and the job does not say what that hour means. A `to_timezone` with daylight saving has an hour twice as well:
where two moments of one chunk become one it is refused; further apart they show as repeated time stamps of a series.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.errors import SourceError
from tasks.job import Source

MEND = "name in source.to_timezone the zone that time is to be kept in, such as UTC"


@dataclass(frozen=True)
class Moments:
    """Time stamps of some rows."""

    stamps: np.ndarray
    """datetime64[ns]: in UTC where the time stamp named a zone, otherwise as it stands."""
    is_zoned: np.ndarray
    """Whether the time stamp named its zone."""


def to_one_zone(moments: Moments, source: Source, where: Callable[[int], str], series: np.ndarray) -> np.ndarray:
    """Bring time stamps into the zone that the job keeps time in.

    Args:
        moments: one per row.
        source: which zone time stamps without one are in, and which zone is wanted.
        where: words for the time stamp at a position, for errors.
        series: number of each row's series; `ambiguous: order` looks at each by itself, within these rows.

    Returns:
        datetime64[ns] without zone.

    Raises:
        SourceError: the job does not say enough to be sure of the time.
    """
    is_zoned = moments.is_zoned
    _check_told(is_zoned, source, where)
    if source.to_timezone is None:
        return moments.stamps
    utc = moments.stamps.copy()
    places = np.flatnonzero(~is_zoned)
    if len(places):
        utc[places] = _localise(utc[places], source, lambda one: where(int(places[one])), series[places])
    kept = pd.DatetimeIndex(utc).tz_localize("UTC").tz_convert(source.to_timezone).tz_localize(None).to_numpy()
    _check_distinct(utc, kept, source, where)
    return kept


def _check_told(is_zoned: np.ndarray, source: Source, where: Callable[[int], str]) -> None:
    """Time stamps with zone need `to_timezone`; beside them or with it, those without need `timezone`."""
    if source.timezone is not None or not len(is_zoned):
        return
    if is_zoned.any() and not is_zoned.all():
        differs = int(np.argmax(is_zoned != is_zoned[0]))
        what = "has no time zone, those before it have one" if is_zoned[0] else "has a time zone, those before it none"
        mend = "set source.timezone for those without one, and source.to_timezone, such as UTC"
        raise SourceError(f"{where(differs)} {what}; write all with or all without, or {mend}")
    if is_zoned[0] and source.to_timezone is None:
        raise SourceError(f"{where(0)} has a time zone; {MEND}")
    if not is_zoned[0] and source.to_timezone is not None:
        mend = "set source.timezone to the zone it is in, or remove source.to_timezone"
        raise SourceError(f"{where(0)} has no time zone to be taken to {source.to_timezone}; {mend}")


def _localise(stamps: np.ndarray, source: Source, where: Callable[[int], str], series: np.ndarray) -> np.ndarray:
    """Time stamps of `source.timezone` in UTC."""
    local, zone = pd.DatetimeIndex(stamps), source.timezone
    if source.nonexistent == "error":
        exists = local.tz_localize(zone, ambiguous=np.ones(len(local), dtype=bool), nonexistent="NaT")
        if exists.hasnans:
            mend = "mend it, or set source.nonexistent to shift"
            raise SourceError(
                f"{where(int(np.argmax(exists.isna())))} does not exist in {zone}: clocks go forward; {mend}"
            )
    is_twice = np.asarray(local.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward").isna())
    is_first = np.full(len(local), source.ambiguous == "first")
    if is_twice.any() and source.ambiguous == "error":
        mend = "set source.ambiguous to first, second or order"
        raise SourceError(f"{where(int(np.argmax(is_twice)))} is there twice in {zone}: clocks go back; {mend}")
    if is_twice.any() and source.ambiguous == "order":
        is_first[is_twice] = _first_by_order(stamps, is_twice, source, where, series)
    placed = local.tz_localize(zone, ambiguous=is_first, nonexistent="shift_forward")
    return placed.tz_convert("UTC").tz_localize(None).to_numpy()


def _first_by_order(
    stamps: np.ndarray, is_twice: np.ndarray, source: Source, where: Callable[[int], str], series: np.ndarray
) -> np.ndarray:
    """Which time stamps of a doubled hour are its first pass: those before time jumps back, series by series.

    Rows that run backwards in time are read backwards.
    """
    rows = pd.DataFrame({"series": series, "stamp": stamps})
    ends = rows.groupby("series")["stamp"].transform("last") < rows.groupby("series")["stamp"].transform("first")
    rows = rows.assign(order=np.where(ends, -1, 1) * np.arange(len(rows)))[is_twice]
    rows = rows.assign(day=rows["stamp"].dt.floor("D")).sort_values(["series", "order"])
    passes = (rows.groupby(["series", "day"])["stamp"].diff() <= pd.Timedelta(0)).groupby([rows["series"], rows["day"]])
    jumps = passes.transform("sum")
    if (jumps != 1).any():
        first = jumps[jumps != 1].index.min()
        why = (
            f"is there twice in {source.timezone}, but time jumps back {jumps[first]} times, not once, in the order of "
        )
        why += "the rows; set source.ambiguous to first or second"
        raise SourceError(f"{where(int(first))} {why}")
    return (passes.cumsum() == 0).sort_index().to_numpy()


def _check_distinct(utc: np.ndarray, kept: np.ndarray, source: Source, where: Callable[[int], str]) -> None:
    """No two moments may become one: an hour that clocks going back repeat."""
    if source.to_timezone == "UTC":
        return
    pairs = pd.DataFrame({"utc": utc, "kept": kept}).drop_duplicates()
    merged = pairs.index[pairs.duplicated("kept")]
    if len(merged):
        text = f"{where(int(merged[0]))} and another moment are both {pd.Timestamp(kept[merged[0]])}"
        raise SourceError(f"{text} in {source.to_timezone}, where clocks go back; set source.to_timezone to UTC")
