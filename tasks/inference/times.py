"""The time stamps of a table: in one column, in two (date and time of day), or split into parts; with or without zone.

In: a `Table`. Out: `Times`, read just as ingest will read them. Fails with `SourceError` where no column holds time
stamps, or one of them cannot be read.
"""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_float_dtype, is_numeric_dtype

from tasks.errors import SourceError
from tasks.inference.dates import CLOCK, HALF_READABLE, READABLE, ZONE, fitting_formats, share_read
from tasks.inference.findings import Finding, list_names
from tasks.inference.table import Table
from tasks.job import Columns, Source
from tasks.sources.periods import BOUNDS, PERIOD
from tasks.sources.stamps import read_stamps

TIME_HINT = re.compile(r"date|time|stamp|^ds$|day|week|month|quarter|year|period|datum|zeit|hour", re.IGNORECASE)
YEAR_HINT = re.compile(r"year|date|time|period", re.IGNORECASE)
DAYS = ["month", "week", "quarter"]  # parts that say which time of the year, the best one first
CLOCKS = ["hour", "minute", "second"]
PROBES = 500  # values that a column is judged by before all are read
YEARS = (1678, 2200)
COMPACT_DAYS = (19_000_101, 22_001_231)  # 20121002
COMPACT = "%Y%m%d"


@dataclass(frozen=True)
class Times:
    """The time stamps of a table, read."""

    columns: list[str]
    """Columns they are made of."""
    stamps: pd.Series
    findings: list[Finding]


def has_times(table: Table) -> bool:
    """Whether a table has a column of time stamps, or columns of their parts."""
    return bool(_candidates(table)) or _parts(table) is not None


def find_times(table: Table) -> Times:
    """Find and read the time stamps.

    Raises:
        SourceError: there are none, or some cannot be read.
    """
    parts, candidates = _parts(table), _candidates(table)
    if parts is not None:  # a year is then no time stamp of its own
        candidates.pop(parts["year"], None)
    if not candidates:
        if parts is None:
            raise _no_time_column(table)
        stamps = _read(table, parts, {})
        why = f"{', '.join(parts)} stand in columns of their own ({stamps.min()} … {stamps.max()})"
        return Times(list(parts.values()), stamps, [Finding("columns.timestamp", parts, "sure", why)])
    column = min(candidates, key=lambda name: (is_numeric_dtype(table.frame[name]), not TIME_HINT.search(name)))
    formats = candidates[column]
    clock = _clock_beside(table, column, formats[0])
    if clock is not None:
        return _date_and_clock(table, column, clock, formats)
    zone = _find_zone(table, column)
    settings = {"timestamp_format": formats[0] or None, **({"to_timezone": zone.value} if zone else {})}
    stamps = _read(table, column, settings)
    findings = _explain(column, stamps, list(candidates), formats, table)
    return Times([column], stamps, findings + ([zone] if zone else []))


def _candidates(table: Table) -> dict[str, list[str]]:
    """Columns of time stamps and the formats that fit each, best first."""
    for least in (READABLE, HALF_READABLE):
        formats = {name: _formats_of(table.frame[name], name, table, least) for name in table.frame.columns}
        fitting = {name: some for name, some in formats.items() if some}
        if fitting:
            return fitting
    return {}


def _formats_of(column: pd.Series, name: str, table: Table, least: float) -> list[str] | None:
    """Formats that fit a column, "" for ISO 8601, typed values and periods; None: it holds no time stamps."""
    if is_datetime64_any_dtype(column):
        return [""]
    known = column[column.notna() & (column != "")]
    if known.empty or is_float_dtype(known):
        return None
    probes = known.iloc[:: max(1, len(known) // PROBES)].astype(str).str.strip()
    if is_numeric_dtype(known):
        if YEAR_HINT.search(name) and known.between(*YEARS).all():
            return [""]
        is_day = known.between(*COMPACT_DAYS).all() and share_read(probes, COMPACT) == 1
        return [COMPACT if table.is_typed else ""] if is_day else None
    return fitting_formats(probes, least)


def _parts(table: Table) -> dict[str, str] | None:
    """Columns named like parts of a date, of which there must be a year and something finer."""
    named = {name.lower(): name for name in table.frame.columns if _is_part(table.frame[name], name.lower())}
    season = next((part for part in DAYS if part in named), None)
    if "year" not in named or season is None:
        return None
    days = ["day"] if "day" in named and season != "quarter" else []
    clock = CLOCKS if days else []
    return {part: named[part] for part in ["year", season, *days, *clock] if part in named}


def _is_part(column: pd.Series, part: str) -> bool:
    """Whether most cells may be a part of a date."""
    if part not in BOUNDS or is_datetime64_any_dtype(column):
        return False
    numbers = pd.to_numeric(column, errors="coerce")
    return bool(((numbers % 1 == 0) & numbers.between(*BOUNDS[part])).mean() >= HALF_READABLE)


def _clock_beside(table: Table, column: str, stamp_format: str) -> str | None:
    """A column with the time of day, where the one with the time stamps holds nothing but the day."""
    probes = table.frame[column].iloc[:: max(1, len(table.frame) // PROBES)]
    if column not in table.texts or "%H" in stamp_format or probes.str.contains(":").any():
        return None
    clocks = [name for name in table.texts if table.frame[name].str.strip().str.fullmatch(CLOCK).mean() >= READABLE]
    return clocks[0] if clocks else None


def _date_and_clock(table: Table, column: str, clock: str, formats: list[str]) -> Times:
    behind = " %H:%M:%S" if table.frame[clock].iloc[0].count(":") > 1 else " %H:%M"
    formats = [f"{each}{behind}" if each else "" for each in formats]
    stamps = _read(table, [column, clock], {"timestamp_format": formats[0] or None})
    found = _explain(column, stamps, [column], formats, table)
    why = f"{column!r} holds the day, {clock!r} the time of day ({stamps.min()} … {stamps.max()})"
    return Times([column, clock], stamps, [Finding("columns.timestamp", [column, clock], "sure", why), *found[1:]])


def _find_zone(table: Table, column: str) -> Finding | None:
    """The zone that time is to be kept in, where time stamps name one."""
    values = table.frame[column]
    setting = "source.to_timezone"
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        is_daily = bool((values.dropna() == values.dropna().dt.normalize()).all())
        if is_daily and str(values.dt.tz) != "UTC":
            why = f"the column is in {values.dt.tz}, and all its time stamps are midnight there: days stay whole"
            return Finding(setting, str(values.dt.tz), "likely", why)
        return Finding(setting, "UTC", "likely", "the column names its time zone; UTC has no daylight saving")
    if column not in table.texts:
        return None
    first = values.iloc[0].strip()
    named = ZONE.fullmatch(first)
    if named is None or re.fullmatch(PERIOD, first) or CLOCK.search(first) is None:
        return None
    why = f"time stamps name their zone ({first}); UTC has no daylight saving"
    if values.str.contains(r"[T ]00:00(?::00)?(?:\.0+)?\s?[+-]").all():
        why += "; they are midnight where they come from, so choose that zone to keep days whole"
        return Finding(setting, "UTC", "guess", why)
    return Finding(setting, "UTC", "likely", why)


def _read(table: Table, timestamp: str | list[str] | dict[str, str], settings: dict[str, Any]) -> pd.Series:
    """All time stamps, as ingest reads them; the error names the first row that cannot be read."""
    columns = Columns.model_validate({"timestamp": timestamp, "target": ["\0"]})
    frame = table.frame[columns.timestamp_columns]
    if not table.is_typed:
        frame = frame.astype(str)
    rows = frame.set_index(pd.RangeIndex(1, len(frame) + 1))
    stamps = read_stamps(rows, columns, Source.model_validate({"path": table.name, **settings}), table.place)
    return pd.Series(stamps, index=table.frame.index)


def _explain(column: str, times: pd.Series, candidates: list[str], fitting: list[str], table: Table) -> list[Finding]:
    """What was found out about the time stamps."""
    first = table.frame[column].iloc[0]
    is_period = isinstance(first, str) and re.fullmatch(PERIOD, first.strip()) is not None
    kind = f"periods such as {first}, which stand for their first day" if is_period else "dates"
    why = f"all its values are {kind} ({times.min()} … {times.max()})"
    others = [name for name in candidates if name != column]
    if others:
        why += f"; so are those of {list_names(others)}"
    findings = [Finding("columns.timestamp", column, "likely" if others else "sure", why)]
    if fitting[0]:
        also = f"; {list_names(fitting[1:])} would fit as well" if fitting[1:] else ""
        why = f"{first} fits it, as do all others{also}"
        findings.append(Finding("source.timestamp_format", fitting[0], "guess" if also else "sure", why))
    return findings


def _no_time_column(table: Table) -> SourceError:
    """What was tried."""
    frame = table.frame
    tried = [f"{name} ({frame[name].iloc[0]})" for name in frame.columns]
    mend = "write stamps such as 2012-10-02 09:00"
    return SourceError(f"{table.name} has no column of time stamps; tried {list_names(tried)}; {mend}")
