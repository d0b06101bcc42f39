"""Which column of a table is what: time stamps, series, targets, further values.

In: a `Table`. Out: `Columns` with a finding per role. Fails with `SourceError` where no column can
play a role that is needed, or where the layout is not read yet; the text says what was tried.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tasks.errors import SourceError
from tasks.inference.findings import Finding, counted, list_names
from tasks.inference.table import Table
from tasks.inference.times import Times, find_times
from tasks.inference.values import find_values

ID_HINT = re.compile(r"(^|_| )(unique|series|item|store|shop|sku|product|country|region|site|station|sensor|name)")
ROWS_PER_SERIES = 3  # rows that each series must have on average
UNIQUE = 0.8  # share of rows with a (series, time stamp) of their own, at least
DENSE = 0.5  # share of a series' span that must be observed: what changes from row to row is no series
PANEL = 0.5  # share of rows that repeat a time stamp above which the file must hold several series


@dataclass(frozen=True)
class Columns:
    """The roles of the columns, and the two that everything else is measured on."""

    items: pd.Series
    """Series of each row; one value throughout when the file is one series."""
    times: pd.Series
    """Time stamp of each row."""
    targets: list[str]
    findings: list[Finding]


def find_columns(table: Table, targets: Sequence[str] | None = None) -> Columns:
    """Give every column of a table its role.

    Args:
        table: the rows.
        targets: columns to forecast, where the caller knows; None: inferred.

    Raises:
        SourceError: there is no time column, no numeric one, or none that tells series apart.
    """
    times = find_times(table)
    item_id = _find_item_id(table, times)
    found = find_values(table, times, item_id.value, targets)
    items = table.frame[item_id.value] if item_id.value else pd.Series("", index=table.frame.index)
    findings = [*times.findings, item_id, *found]
    return Columns(items, times.stamps, found[0].value, findings)


def _find_item_id(table: Table, times: Times) -> Finding:
    """The column that tells the series apart, if repeated time stamps ask for one."""
    repeats = int(times.stamps.duplicated().sum())
    if not repeats:
        return Finding(
            "columns.item_id",
            None,
            "sure",
            "every time stamp occurs once: there are no series to tell apart",
        )
    candidates = [name for name in table.frame.columns if name != times.column and _tells_apart(table, times, name)]
    share = repeats / len(table.frame)
    repeated = f"{repeats:,} of {counted(len(table.frame), 'row')} repeat an earlier time stamp"
    if candidates:
        best = min(candidates, key=lambda name: _rank(table.frame, name))
        others = [name for name in candidates if name != best]
        why = f"{repeated}; {best!r} tells {table.frame[best].nunique():,} series apart"
        why += f" (so would {list_names(others)})" if others else ""
        return Finding("columns.item_id", best, "likely" if others else "sure", why)
    if share >= PANEL:
        tried = list_names([name for name in table.frame.columns if name != times.column])
        raise SourceError(
            f"{table.path} holds several series ({repeated}), but no column tells them apart "
            f"(tried {tried}); if several columns do so together, join them into one"
        )
    why = f"{repeated}, and no column tells series apart: duplicates, see transform.duplicates"
    return Finding("columns.item_id", None, "likely", why)


def _tells_apart(table: Table, times: Times, name: str) -> bool:
    """Whether each value of a column is a series: hardly a time stamp twice, hardly a gap."""
    column = table.frame[name]
    if pd.api.types.is_float_dtype(column) or (column == "").any():
        return False
    codes, values = pd.factorize(column)
    if len(values) < 2 or len(codes) < ROWS_PER_SERIES * len(values):  # noqa: PLR2004 - several series
        return False
    stamps = times.stamps.to_numpy().astype("datetime64[ns]").astype(np.int64)
    keys = pd.DataFrame({"code": codes, "stamp": stamps}).drop_duplicates()
    if len(keys) < UNIQUE * len(codes):
        return False
    keys = keys.sort_values(["code", "stamp"])
    steps = keys.groupby("code")["stamp"].diff().dropna()
    if steps.empty:
        return False
    stamps_of = keys.groupby("code")["stamp"]
    points = ((stamps_of.max() - stamps_of.min()) / steps.mode()[0] + 1).sum()
    return bool(len(keys) / points >= DENSE)


def _rank(frame: pd.DataFrame, name: str) -> tuple[bool, bool, int]:
    """Order of candidates: telling names first, then text before numbers, then from the left."""
    is_number = pd.api.types.is_numeric_dtype(frame[name])
    return not ID_HINT.search(name.lower()), is_number, list(frame.columns).index(name)
