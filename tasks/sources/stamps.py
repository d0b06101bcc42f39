"""Time stamps: text, typed or split over columns -> datetime64[ns] without zone, strictly.

In: the rows of a chunk, and how the job says time is written. Out: one time stamp per row, in `source.to_timezone`
where that is set. Fails with `SourceError`, which names column, line or row and text of the first one that cannot be
used, and the mend. Nothing is guessed: no day is taken for a month, no zone assumed, no number for seconds since 1970.
"""

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

from tasks.errors import SourceError
from tasks.job import Columns, Source
from tasks.sources.chunk import Place, shown
from tasks.sources.periods import BOUNDS, YEARS, assemble_parts, is_period, read_periods
from tasks.sources.zones import Moments, to_one_zone

MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none"})  # lower case
RELATIVE = frozenset({"now", "today"})  # pandas reads these as the clock
DATE_LENGTH = len("2012-10-02")  # a sign behind the date is that of a time zone
TYPED_DATES = frozenset({"date", "datetime", "datetime64"})  # as pandas calls columns of such objects

Where = Callable[[int], str]


def read_stamps(frame: pd.DataFrame, columns: Columns, source: Source, place: Place) -> np.ndarray:
    """Read the time stamp of each row.

    Args:
        frame: the columns of the time stamps, as text or typed (dates, date times with or without zone, years as whole
            numbers); for `source.ambiguous` order also those that tell series apart. The index counts lines or rows.
        columns: which columns the time stamps are made of.
        source: how time is written, and which zone it is in.
        place: the file or query, for errors.

    Returns:
        datetime64[ns], one per row.

    Raises:
        SourceError: a time stamp is missing, cannot be read, or needs a zone to be named or may not have one.
    """
    parts = parts_of(columns)
    if parts is not None:
        return _from_parts(frame, parts, columns, source, place)
    label, values = _one_column(frame, columns.timestamp_columns)
    if values.empty:
        return np.empty(0, dtype="datetime64[ns]")

    def where(position: int) -> str:
        return f"{place.at(label, frame.index[position])}: {shown(values.iloc[position])}"

    return to_one_zone(_read_column(values, source.timestamp_format, where), source, where, _series(frame, columns))


def parts_of(columns: Columns) -> dict[str, str] | None:
    """Parts of a date and the column of each; None: the time stamps are whole, or texts to be joined."""
    if isinstance(columns.timestamp, dict):
        return {str(part): name for part, name in columns.timestamp.items()}
    if isinstance(columns.timestamp, list) and all(name.lower() in BOUNDS for name in columns.timestamp):
        return {name.lower(): name for name in columns.timestamp}
    return None


def _one_column(frame: pd.DataFrame, names: list[str]) -> tuple[str, pd.Series]:
    """The time stamps as one column and its name; several columns are joined by a space, a missing one by nothing."""
    if len(names) == 1:
        return names[0], frame[names[0]]
    texts = [_texts(frame[name]).str.strip() for name in names]
    is_missing = np.logical_or.reduce([each.str.lower().isin(MISSING).to_numpy() for each in texts])
    joined = texts[0].str.cat(texts[1:], sep=" ")
    return ", ".join(names), joined.mask(pd.Series(is_missing, index=frame.index), "")


def _read_column(values: pd.Series, stamp_format: str | None, where: Where) -> Moments:
    """Moments of one column, whatever its type."""
    if is_datetime64_any_dtype(values):
        return _from_typed(values, where)
    if is_bool_dtype(values):
        raise SourceError(f"{where(0)} is no time stamp")
    if is_numeric_dtype(values):
        return _from_numbers(values, stamp_format, where)
    is_typed = infer_dtype(values, skipna=True) in TYPED_DATES  # their texts are ISO 8601, whatever the format
    return _from_texts(_texts(values).str.strip(), None if is_typed else stamp_format, where)


def _from_typed(values: pd.Series, where: Where) -> Moments:
    _refuse_missing(values.isna(), where)
    stamps = pd.DatetimeIndex(values)
    is_zoned = np.full(len(stamps), stamps.tz is not None)
    plain = stamps if stamps.tz is None else stamps.tz_convert("UTC").tz_localize(None)
    try:
        return Moments(plain.as_unit("ns").to_numpy(), is_zoned)
    except pd.errors.OutOfBoundsDatetime as error:
        years = plain.year
        bad = int(np.argmax((years < YEARS[0]) | (years > YEARS[1])))
        raise SourceError(f"{where(bad)} is outside the years {YEARS[0]} to {YEARS[1]}") from error


def _from_numbers(values: pd.Series, stamp_format: str | None, where: Where) -> Moments:
    """Whole numbers are years, or digits that a format explains."""
    _refuse_missing(values.isna(), where)
    numbers = values.to_numpy(dtype=np.float64)
    is_whole = numbers == np.floor(numbers)
    if stamp_format is not None and is_whole.all():
        return _from_texts(pd.Series(numbers.astype(np.int64)).astype(str), stamp_format, where)
    is_year = is_whole & (numbers >= YEARS[0]) & (numbers <= YEARS[1])
    if not is_year.all():
        mend = "set source.timestamp_format for dates written as numbers (%Y%m%d); turn numbers since 1970 into dates"
        raise SourceError(f"{where(int(np.argmin(is_year)))} is no time stamp and no year; {mend}")
    return Moments(assemble_parts({"year": numbers.astype(np.int64)}), np.zeros(len(numbers), dtype=bool))


def _from_texts(texts: pd.Series, stamp_format: str | None, where: Where) -> Moments:
    """Read texts, each distinct one once: the series of a panel share their time stamps."""
    codes, distinct = pd.factorize(texts.to_numpy(dtype=object))
    known = pd.Series(distinct, dtype=object)
    lower = known.str.lower()
    is_missing, is_relative = lower.isin(MISSING).to_numpy(), lower.isin(RELATIVE).to_numpy()
    is_zoned, reads = np.zeros(len(known), dtype=bool), "write ISO 8601, such as 2012-10-02 09:00, or set "
    reads += "source.timestamp_format"
    if stamp_format is not None:
        is_zoned[:] = "%z" in stamp_format.lower()
        reads = f"source.timestamp_format is {stamp_format!r}"
    elif is_period(known).iloc[0]:
        reads = f"all must be periods that exist, of one kind with the first one, {known.iloc[0]!r}"
    else:
        behind = lower.str[DATE_LENGTH:]
        is_zoned = (behind.str.contains(r"[+-]", regex=True) | lower.str.endswith("z")).to_numpy(dtype=bool)
    stamps = _parse(known, stamp_format)
    bad = is_missing | is_relative | np.isnat(stamps)
    if bad.any():
        first = int(np.argmax(bad))  # distinct texts stand in the order of their first rows
        why = "is no time stamp; every row needs one" if is_missing[first] else "is no time stamp"
        why += "" if is_missing[first] or is_relative[first] else f" that can be read; {reads}"
        raise SourceError(f"{where(int(np.argmax(codes == first)))} {why}")
    return Moments(stamps[codes], is_zoned[codes])


def _parse(texts: pd.Series, stamp_format: str | None) -> np.ndarray:
    """Stamps of distinct texts; those with a zone in UTC, those that cannot be read NaT."""
    if stamp_format is None and is_period(texts).iloc[0]:
        return read_periods(texts)
    parsed = pd.to_datetime(texts, format=stamp_format or "ISO8601", utc=True, errors="coerce")
    return parsed.dt.tz_localize(None).dt.as_unit("ns").to_numpy()


def _from_parts(
    frame: pd.DataFrame, parts: dict[str, str], columns: Columns, source: Source, place: Place
) -> np.ndarray:
    """Time stamps whose year, month, ... stand in columns of their own."""
    _check_parts(parts, source, place)
    numbers = {part: _whole_numbers(frame[name], part, place) for part, name in parts.items()}
    stamps = assemble_parts(numbers)

    def where(position: int) -> str:
        told = ", ".join(f"{part} {numbers[part][position]}" for part in BOUNDS if part in numbers)
        return f"{place.at(', '.join(parts.values()), frame.index[position])}: {told}"

    bad = np.isnat(stamps)
    if bad.any():
        raise SourceError(f"{where(int(np.argmax(bad)))} is no date; mend it or remove the row")
    moments = Moments(stamps, np.zeros(len(stamps), dtype=bool))
    return to_one_zone(moments, source, where, _series(frame, columns))


def _check_parts(parts: dict[str, str], source: Source, place: Place) -> None:
    """The parts say which day is meant, and no format."""
    months = [part for part in ("quarter", "month", "week") if part in parts]
    problem = None
    if "year" not in parts:
        problem = f"has no year among {', '.join(parts)}; name its column"
    elif len(months) > 1:
        problem = f"names {' and '.join(months)}, which exclude each other; name one of them"
    elif "day" in parts and months not in (["month"], ["week"]):
        problem = "names a day, but neither month nor week; name its column"
    elif source.timestamp_format is not None:
        problem = "names parts, for which there is no source.timestamp_format; remove that"
    if problem:
        raise SourceError(f"{place.name}: columns.timestamp {problem}")


def _whole_numbers(column: pd.Series, part: str, place: Place) -> np.ndarray:
    """One part of the dates; the first one that is no whole number within its bounds is refused."""
    numbers = pd.to_numeric(column.str.strip() if infer_dtype(column) == "string" else column, errors="coerce")
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    fewest, most = BOUNDS[part]
    is_bad = ~((values == np.floor(values)) & (values >= fewest) & (values <= most))
    if is_bad.any():
        first = int(np.argmax(is_bad))
        cell = f"{place.at(column.name, column.index[first])}: {shown(column.iloc[first])}"
        raise SourceError(f"{cell} is no {part}; write a whole number from {fewest} to {most}")
    return values.astype(np.int64)


def _texts(column: pd.Series) -> pd.Series:
    """A column as text; typed dates and times as ISO 8601, a date without time of day in its short form."""
    if infer_dtype(column, skipna=False) == "string":
        return column.astype(object)
    if is_datetime64_any_dtype(column):
        is_midnight = bool((column.dt.normalize() == column)[column.notna()].all())
        column = column.dt.date if is_midnight else column
    return column.astype(object).map(_text).astype(object)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or value is pd.NaT or value != value:  # noqa: PLR0124 - NaN differs from itself
        return ""
    return value.isoformat() if isinstance(value, date) else str(value)  # date times are dates, too


def _refuse_missing(is_missing: pd.Series, where: Where) -> None:
    if is_missing.any():
        raise SourceError(f"{where(int(np.argmax(is_missing)))} is no time stamp; every row needs one")


def _series(frame: pd.DataFrame, columns: Columns) -> np.ndarray:
    """Number of each row's series, as far as columns of the source tell them apart."""
    names = [name for name in columns.item_columns if name in frame.columns]
    if not names:
        return np.zeros(len(frame), dtype=np.int64)
    return frame.groupby(names, sort=False, observed=True, dropna=False).ngroup().to_numpy()
