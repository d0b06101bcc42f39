"""The columns that tell the series of a table apart: none, one, or the fewest that do so together.

In: a `Table` and its time stamps. Out: a finding for `columns.item_id`. Fails with `SourceError` where most rows repeat
a time stamp and no columns explain that.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype, is_integer_dtype

from tasks.errors import SourceError
from tasks.inference.findings import Finding, counted, list_names
from tasks.inference.table import Table
from tasks.inference.times import Times

ID_HINT = re.compile(
    r"(^|_| )(unique|series|item|store|shop|sku|product|country|region|site|station|sensor|name|id|code|key|dept)"
)
ROWS_PER_SERIES = 3  # rows that each series must have on average
UNIQUE = 0.8  # share of rows with a (series, time stamp) of their own, at least
EXACT = 0.99  # the same share, where one more column can reach it
DENSE = 0.5  # share of a series' span that must be observed: what changes from row to row is no series
PANEL = 0.5  # share of rows that repeat a time stamp above which the source must hold several series
MOST_TRIED = 8  # columns that are tried together
MOST_TOGETHER = 4


def find_items(table: Table, times: Times) -> Finding:
    """Find what tells the series apart, if repeated time stamps ask for it.

    Raises:
        SourceError: the source holds several series, but nothing tells them apart.
    """
    setting, frame = "columns.item_id", table.frame
    repeats = int(times.stamps.duplicated().sum())
    if not repeats:
        return Finding(setting, None, "sure", "every time stamp occurs once: there are no series to tell apart")
    names = [name for name in frame.columns if name not in times.columns]
    share, keys = repeats / len(frame), {name: _codes(frame[name]) for name in names if _may_name(frame[name])}
    stamps = pd.factorize(times.stamps)[0]
    repeated = f"{repeats:,} of {counted(len(frame), 'row')} repeat an earlier time stamp"
    single = [name for name in keys if _tells_apart(keys[name], stamps, times.stamps)]
    if single:
        best = min(single, key=lambda name: _rank(frame, [name]))
        others = [name for name in single if name != best]
        why = f"{repeated}; {best!r} tells {frame[best].nunique():,} series apart"
        why += f" (so would {list_names(others)})" if others else ""
        return Finding(setting, best, "likely" if others else "sure", why)
    if share >= PANEL:
        together = _find_together(frame, keys, stamps, times.stamps)
        if together is not None:
            series = len(np.unique(_joined([keys[name] for name in together])))
            why = f"{repeated}; {' and '.join(map(repr, together))} together tell {series:,} series apart"
            return Finding(setting, together, "likely", f"{why}; none of them does so alone")
        raise SourceError(
            f"{table.name} holds several series ({repeated}), but no column tells them apart, nor do several together "
            f"(tried {list_names(names)}); add a column that names the series"
        )
    why = f"{repeated}, and no column tells series apart: duplicates, see transform.duplicates"
    return Finding(setting, None, "likely", why)


def _may_name(column: pd.Series) -> bool:
    """Text or whole numbers, in every row."""
    is_date = pd.api.types.is_datetime64_any_dtype(column)
    return not is_date and not is_float_dtype(column) and not bool((column == "").any())


def _codes(column: pd.Series) -> np.ndarray:
    return pd.factorize(column)[0]


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One number per row for the values of several columns."""
    whole = parts[0]
    for part in parts[1:]:
        whole = pd.factorize(whole * (part.max() + 1) + part)[0]
    return whole


def _tells_apart(codes: np.ndarray, stamps: np.ndarray, times: pd.Series, unique: float = UNIQUE) -> bool:
    """Whether each value is a series: hardly a time stamp twice, hardly a gap."""
    series = int(codes.max()) + 1
    if series < 2 or len(codes) < ROWS_PER_SERIES * series:  # noqa: PLR2004 - several series
        return False
    rows = pd.DataFrame({"code": codes, "number": stamps, "stamp": times.to_numpy().astype(np.int64)})
    rows = rows[~rows.duplicated(["code", "number"])]
    if len(rows) < unique * len(codes):
        return False
    rows = rows.sort_values(["code", "stamp"])
    by_series = rows.groupby("code")["stamp"]
    steps = by_series.diff().dropna()
    if steps.empty:
        return False
    points = ((by_series.max() - by_series.min()) / steps.mode()[0] + 1).sum()
    return bool(len(rows) / points >= DENSE)


def _find_together(
    frame: pd.DataFrame, keys: dict[str, np.ndarray], stamps: np.ndarray, times: pd.Series
) -> list[str] | None:
    """The fewest columns that tell series apart together, in the order of the table; text before numbers."""
    named = [name for name in keys if not is_integer_dtype(frame[name]) or ID_HINT.search(name.lower())]
    named = [name for name in named if 1 < keys[name].max() + 1 <= len(frame) // ROWS_PER_SERIES]
    tried = sorted(sorted(named, key=lambda name: _rank(frame, [name]))[:MOST_TRIED], key=list(keys).index)
    for unique in (EXACT, UNIQUE):
        for names in _combinations(frame, tried):
            if _tells_apart(_joined([keys[name] for name in names]), stamps, times, unique):
                return names
    return None


def _combinations(frame: pd.DataFrame, names: list[str]) -> Iterator[list[str]]:
    for size in range(2, min(MOST_TOGETHER, len(names)) + 1):
        yield from sorted(map(list, combinations(names, size)), key=lambda some: _rank(frame, some))


def _rank(frame: pd.DataFrame, names: list[str]) -> tuple[int, int, list[int]]:
    """Order of candidates: telling names first, then text before numbers, then from the left."""
    places = [list(frame.columns).index(name) for name in names]
    unnamed = sum(not ID_HINT.search(name.lower()) for name in names)
    return unnamed, sum(is_integer_dtype(frame[name]) for name in names), places
