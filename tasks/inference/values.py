"""Which numeric columns of a table are values at all, and which of those are forecast.

In: a `Table`, its time stamps and the columns of its series. Out: `Values`, and the finding for `columns.target`. Fails
with `SourceError` where there is no column of values or a named target is none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.errors import SourceError
from tasks.inference.findings import Confidence, Finding, list_names
from tasks.inference.table import Table
from tasks.inference.times import Times

TARGET_WORDS = [  # strongest first: columns that carry the first word found are the targets
    "target", "y", "sales", "demand", "qty", "quantity", "consumption", "load", "revenue", "volume",
    "traffic", "orders", "trips", "visits", "passengers", "units", "count", "value", "price", "gdp", "pm",
]  # fmt: skip
COMPANION_WORDS = {  # describe the circumstances
    "temp", "temperature", "rain", "snow", "wind", "humidity", "pressure", "pres", "dewp", "clouds",
    "weather", "precipitation", "promo", "promotion", "holiday", "discount", "lat", "lon",
    "latitude", "longitude", "population",
}  # fmt: skip
KEY_WORDS = frozenset({"id", "key", "code", "no", "nr", "index", "zip"})
CALENDAR = ["year", "quarter", "month", "day", "hour", "minute", "dayofweek", "dayofyear"]
FLAG_VALUES = 2
FLAG = "two values: a flag"
SAME = "the same throughout each series"
MANY = 20  # columns that nobody would list as circumstances of one target
SIMILAR = 2.0  # decades between the typical sizes of columns of one kind


@dataclass(frozen=True)
class Values:
    """The numeric columns of a table."""

    usable: list[str]
    """Columns that measure something."""
    left_out: dict[str, str]
    """The other ones, and why."""

    @property
    def flags(self) -> list[str]:
        """Columns of two values: no series to forecast, but what may be known of a promotion or holiday."""
        return [name for name, why in self.left_out.items() if why == FLAG]


def sort_values(table: Table, times: Times, items: Sequence[str]) -> Values:
    """Sort the numeric columns into those that measure something and those that do not."""
    keys = {*times.columns, *items}
    frame = table.frame
    numeric = [name for name in frame.columns if name not in keys and pd.api.types.is_numeric_dtype(frame[name])]
    left_out = {name: why for name in numeric if (why := _is_no_value(frame, times, items, name))}
    return Values([name for name in numeric if name not in left_out], left_out)


def find_targets(table: Table, values: Values, asked: Sequence[str] | None = None) -> Finding:
    """Decide which columns are forecast.

    Args:
        table: the rows.
        values: its numeric columns.
        asked: columns to forecast, where the caller knows.

    Raises:
        SourceError: there is no numeric column of values, or a named target is none.
    """
    if asked:
        return _named_targets(table, asked, [*values.usable, *values.left_out])
    if values.usable:
        return _choose(table.frame, values.usable)
    raise _no_values(table, values.left_out)


def explain_checked(checked: list[str], left_out: dict[str, str]) -> Finding:
    """The finding for the checked columns, which also says what is not among them and why."""
    why = "the other numeric columns" if checked else "no other numeric column"
    reasons = dict.fromkeys(left_out.values())
    parts = [f"{list_names([name for name in left_out if left_out[name] == reason])} ({reason})" for reason in reasons]
    why += f"; left out: {'; '.join(parts)}" if parts else ""
    return Finding("columns.checked", checked, "likely" if checked or parts else "sure", why)


def _is_no_value(frame: pd.DataFrame, times: Times, items: Sequence[str], name: str) -> str | None:
    """Why a numeric column carries no values of a series; None: it does."""
    column = frame[name]
    distinct = column.nunique()
    if distinct <= 1:
        return "constant" if distinct else "empty"
    if np.isinf(column).any():
        return "holds infinite numbers"
    if items and _is_static(frame, items, name):
        is_key = pd.api.types.is_integer_dtype(column) and KEY_WORDS & set(words(name))
        return "key" if is_key else SAME
    if distinct == FLAG_VALUES:
        return FLAG
    return _is_key(column, times, name) if pd.api.types.is_integer_dtype(column) else None


def _is_static(frame: pd.DataFrame, items: Sequence[str], name: str) -> bool:
    """Whether a column is the same in all rows of each series, and there are series of several rows."""
    series = frame.groupby(list(items), sort=False, observed=True)[name]
    return bool((series.transform("first") == frame[name])[frame[name].notna()].all()) and series.size().max() > 1


def _is_key(column: pd.Series, times: Times, name: str) -> str | None:
    """Why whole numbers name rows or times instead of measuring; None: they measure."""
    if (column.diff().iloc[1:] == 1).all():
        return "row number"
    for part in CALENDAR:
        if part in words(name) and column.sub(getattr(times.stamps.dt, part)).diff().iloc[1:].eq(0).all():
            return f"{part} of the time stamp"
    return "key" if KEY_WORDS & set(words(name)) else None


def _choose(frame: pd.DataFrame, values: list[str]) -> Finding:
    """The targets among several value columns: by name, by kind, in the end by place."""

    def found(names: list[str], confidence: Confidence, why: str) -> Finding:
        return Finding("columns.target", names, confidence, why)

    if len(values) == 1:
        return found(values, "sure", "the only numeric column with values")
    for word in TARGET_WORDS:
        named = [name for name in values if word in words(name)]
        if named:
            rest = " (the other numeric columns are not)" if len(named) < len(values) else ""
            return found(named, "likely", f"named like something to forecast: {word!r}{rest}")
    main = [name for name in values if not COMPANION_WORDS & set(words(name))] or values
    if len(main) == 1:
        return found(main, "likely", "the only numeric column whose name is not of weather or circumstances")
    if are_similar(frame[main]):
        why = "numeric columns of one kind and size; keep those to forecast, move others to checked"
        return found(main, "guess", why)
    if len(main) >= MANY:
        why = f"{len(main)} numeric columns are probably series of one kind; drop any not to forecast"
        return found(main, "guess", why)
    why = f"the last numeric column; name here those to forecast among {list_names(main)}"
    return found(main[-1:], "guess", why)


def are_similar(frame: pd.DataFrame) -> bool:
    """Whether all columns are whole or all are fractional numbers, and typical sizes are close."""
    whole = {pd.api.types.is_integer_dtype(frame[name]) for name in frame}
    sizes = np.log10(frame.abs().where(frame != 0).median())
    return len(whole) == 1 and bool(sizes.max() - sizes.min() <= SIMILAR)


def _named_targets(table: Table, targets: Sequence[str], numeric: list[str]) -> Finding:
    """The targets the caller named, if they are numeric columns."""
    for name in targets:
        if name not in numeric or table.frame[name].isna().all():
            problem = "is not there" if name not in table.frame.columns else "holds no numbers"
            raise SourceError(f"{table.name}: target {name!r} {problem}; numeric are {list_names(numeric)}")
    return Finding("columns.target", list(targets), "sure", "as asked for")


def _no_values(table: Table, left_out: dict[str, str]) -> SourceError:
    """Why there is nothing to forecast."""
    for name in table.texts:
        if table.frame[name].str.fullmatch(r"-?\d+,\d+").any():
            return SourceError(f"{table.name}, column {name!r}: decimal commas are not read; write decimal points")
    tried = [f"{name} ({why})" for name, why in left_out.items()] or ["no column holds numbers only"]
    return SourceError(f"{table.name} has no numeric column to forecast; tried: {list_names(tried)}")


def words(name: str) -> list[str]:
    """Lower-case words of a column name: `trafficVolume`, `traffic_volume` -> traffic, volume."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
