"""The column of time stamps of a table.

In: a `Table`. Out: `Times`. Fails with `SourceError` where no column can be read as time stamps;
the text says what was tried, or that the layout is not read yet: periods as text, split dates.
"""

import re
from dataclasses import dataclass

import pandas as pd
from pandas.api.types import is_numeric_dtype

from tasks.errors import SourceError
from tasks.inference.findings import Finding, list_names
from tasks.inference.table import Table

TIME_HINT = re.compile(r"date|time|stamp|^ds$|day|week|month|quarter|year|period|datum|zeit|hour", re.IGNORECASE)
PERIOD = re.compile(r"\d{4}[ -]?(W\d{1,2}|Q[1-4]|M\d{1,2})", re.IGNORECASE)
ZONE = re.compile(r".{10,}(Z|[+-]\d{2}:?\d{2})")
FORMATS = [  # day first and month first may both fit; then it is a guess
    f"{date}{clock}"
    for clock in ["", " %H:%M", " %H:%M:%S"]
    for date in [
        "%d.%m.%Y",
        "%m/%d/%Y",
        "%d/%m/%Y",
        "%d-%m-%Y",
        "%m-%d-%Y",
        "%Y/%m/%d",
        "%d %b %Y",
        "%d-%b-%Y",
    ]
] + ["%Y %b", "%b %Y"]
YEAR_HINT = re.compile(r"year|date|time|period", re.IGNORECASE)
DATE_PARTS = {"year", "quarter", "month", "week", "day", "hour"}
READABLE = 0.95  # share of a column's values that must be time stamps; the first bad one is then named
PROBES = 500  # values that a column is judged by before all are read
YEARS = (1000, 2200)
COMPACT_DAYS = (19_000_101, 22_001_231)  # 20121002
WIDE = 20  # numeric columns without a time column that look like a wide table


@dataclass(frozen=True)
class Times:
    """The column of time stamps, read."""

    column: str
    stamps: pd.Series
    findings: list[Finding]


def find_times(table: Table) -> Times:
    """Find and read the column of time stamps.

    Raises:
        SourceError: there is none, some cannot be read, or they name a time zone.
    """
    formats = {name: _format_of(table.frame[name], name) for name in table.frame.columns}
    candidates = [name for name, known in formats.items() if known is not None]
    whole = [name for name in candidates if not _is_part(name, table.frame)]
    if not whole:
        raise _no_time_column(table)
    column = min(
        whole,
        key=lambda name: (is_numeric_dtype(table.frame[name]), not TIME_HINT.search(name)),
    )
    fitting = formats[column] or []
    times = _parse_all(table, column, fitting[0])
    return Times(column, times, _explain(column, times, whole, fitting, table))


def _format_of(column: pd.Series, name: str) -> list[str] | None:
    """Formats that fit a column, best first, "" for ISO 8601; None: it holds no time stamps."""
    known = column[column.notna() & (column != "")]
    if known.empty or pd.api.types.is_float_dtype(known):
        return None
    probes = known.iloc[:: max(1, len(known) // PROBES)].astype(str).str.strip()
    if is_numeric_dtype(known):
        is_year = bool(YEAR_HINT.search(name)) and known.between(*YEARS).all()
        is_day = known.between(*COMPACT_DAYS).all() and _share_read(probes, "%Y%m%d") == 1
        return [""] if is_year or is_day else None
    if PERIOD.fullmatch(probes.iloc[0]) or not any(sign.isdigit() for sign in probes.iloc[0]):
        return None
    shares = {known_format: _share_read(probes, known_format) for known_format in ["", *FORMATS]}
    best = max(shares.values())
    return [each for each in shares if shares[each] == best] if best >= READABLE else None


def _share_read(texts: pd.Series, known_format: str) -> float:
    """Share of texts that a format reads."""
    stamps = pd.to_datetime(texts, format=known_format or "ISO8601", utc=True, errors="coerce")
    return float(stamps.notna().mean())


def _is_part(name: str, frame: pd.DataFrame) -> bool:
    """Whether a year column is one part of a date that month (and day) columns complete."""
    names = {other.lower() for other in frame.columns}
    return name.lower() == "year" and len(names & DATE_PARTS) > 1


def _parse_all(table: Table, column: str, known_format: str) -> pd.Series:
    """All time stamps of a column, or an error that names the first line that cannot be read."""
    texts = table.frame[column].astype(str).str.strip()
    stamps = pd.to_datetime(texts, format=known_format or "ISO8601", utc=True, errors="coerce")
    bad = stamps.isna()
    if bad.any():
        text = texts[bad].iloc[0]
        row = int(bad.to_numpy().argmax()) + 1
        raise SourceError(
            f"{table.path}, column {column!r}, row {row}: {text!r} is no readable time stamp; mend or remove it"
        )
    if ZONE.fullmatch(texts.iloc[0]):
        raise SourceError(
            f"{table.path}, column {column!r}: {texts.iloc[0]!r} names a time zone; write all "
            "time stamps in one zone (UTC, say) without naming it"
        )
    return stamps.dt.tz_localize(None)


def _explain(column: str, times: pd.Series, candidates: list[str], fitting: list[str], table: Table) -> list[Finding]:
    """What was found out about the time stamps."""
    first = table.frame[column].iloc[0]
    why = f"all its values are dates ({times.min()} … {times.max()})"
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
    """Why no column can be the time stamps: a layout that is not read yet, or what was tried."""
    frame, path = table.frame, table.path
    for name in frame.select_dtypes(exclude="number"):
        text = next((text for text in frame[name] if text), "")
        if PERIOD.fullmatch(text.strip()):
            return SourceError(
                f"{path}, column {name!r}: periods as text ({text!r}) are not read yet; write "
                "the first day of each period as YYYY-MM-DD"
            )
    parts = [name for name in frame.columns if name.lower() in DATE_PARTS]
    if len(parts) > 1:
        return SourceError(
            f"{path}: dates split over columns ({', '.join(parts)}) are not read yet; join them "
            "into one column of time stamps such as 2012-10-02 09:00"
        )
    numbers = frame.select_dtypes("number").columns
    if len(numbers) >= WIDE:
        return SourceError(
            f"{path} has no time stamps and {len(numbers)} numeric columns: it looks like the "
            "wide layout with one series per row, which is not read yet; rearrange it into one row "
            "per series and time stamp"
        )
    tried = [f"{name} ({frame[name].iloc[0]})" for name in frame.columns]
    return SourceError(
        f"{path} has no column of time stamps; tried {list_names(tried)}; write stamps such as 2012-10-02 09:00"
    )
