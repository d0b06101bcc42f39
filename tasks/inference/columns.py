"""Which layout a table has, and which column is what: time stamps, series, targets, further values.

In: a `Table`. Out: `Columns` with a finding per role. Fails with `SourceError` where no column can play a role that is
needed; the text says what was tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tasks.errors import SourceError
from tasks.inference.covariates import find_covariates, rows_behind
from tasks.inference.families import Family, find_family
from tasks.inference.findings import Finding
from tasks.inference.items import find_items
from tasks.inference.ranges import find_ranges
from tasks.inference.rows import RowSeries, find_row_series
from tasks.inference.table import Table
from tasks.inference.times import Times, find_times
from tasks.inference.values import Values, find_targets, sort_values


@dataclass(frozen=True)
class Columns:
    """The roles of the columns, and what everything else is measured on."""

    items: pd.Series
    """Series of each row; one value throughout when the source is one series, or has a column or row for each."""
    times: pd.Series
    """Time stamp of each row."""
    values: pd.DataFrame
    """What is forecast, row by row."""
    is_series: bool
    """Whether each column of `values` is a series of its own, and not a target of every item."""
    findings: list[Finding]
    known_steps: int | None = None
    """Time stamps that covariates are known for beyond the last target; None: there are none."""
    frequency: Finding | None = None
    """Where the source has no time stamps."""


def find_columns(table: Table, targets: Sequence[str] | None = None) -> Columns:
    """Give every column of a table its role.

    Args:
        table: the rows.
        targets: what to forecast, where the caller knows; None: inferred.

    Raises:
        SourceError: there is no time column, no numeric one, or none that tells series apart.
    """
    rows = find_row_series(table)
    if rows is not None:
        return _row_per_series(rows, targets, table)
    times = find_times(table)
    item_id = find_items(table, times)
    items = [item_id.value] if isinstance(item_id.value, str) else list(item_id.value or [])
    values = sort_values(table, times, items)
    family = find_family(table, values, [*times.columns, *items], targets)
    if family is not None:
        return _column_per_series(table, times, items, values, family)
    target = find_targets(table, values, targets)
    beside = find_covariates(table, times, items, values, target.value)
    checked = [name for finding in beside.findings if finding.setting == "columns.checked" for name in finding.value]
    ranges = find_ranges(table.frame, target.value, checked)
    findings = [*times.findings, item_id, target, *beside.findings, *ranges]
    series = _series(table.frame, items)
    return Columns(series, times.stamps, table.frame[target.value], False, findings, beside.steps)


def _series(frame: pd.DataFrame, items: Sequence[str]) -> pd.Series:
    if not items:
        return pd.Series("", index=frame.index)
    return frame.groupby(list(items), sort=False, observed=True).ngroup()


def _row_per_series(rows: RowSeries, targets: Sequence[str] | None, table: Table) -> Columns:
    if targets and list(targets) != ["value"]:
        text = f"{table.name} has one series per row, whose values are called 'value', not {targets[0]!r}"
        raise SourceError(f"{text}; leave the target out")
    findings = [
        Finding("columns.timestamp", "timestamp", "sure", "made by the layout"),
        Finding("columns.target", ["value"], "sure", "made by the layout"),
        *rows.findings,
    ]
    items = pd.Series("", index=rows.values.index)
    return Columns(items, rows.stamps, rows.values, True, findings, frequency=rows.frequency)


def _column_per_series(table: Table, times: Times, items: list[str], values: Values, family: Family) -> Columns:
    """Roles where columns are series; what no pattern claims is shared by all of them."""
    claimed = family.all_columns
    shared = Values(
        [name for name in values.usable if name not in claimed],
        {name: why for name, why in values.left_out.items() if name not in claimed},
    )
    beside = find_covariates(table, times, items, shared, family.columns)
    behind = rows_behind(table, times, family.columns)
    merged = _with_family(beside.findings, family, items, behind)
    ids = [*items, *family.made]
    made = f"{' and '.join(map(repr, ids))} {'tells' if len(ids) == 1 else 'together tell'} the series apart"
    findings = [
        *times.findings,
        Finding("source.layout", "column_per_series", family.confidence, family.why),
        Finding("source.series_columns", family.patterns, family.confidence, "name of the values -> their columns"),
        Finding("columns.item_id", ids if len(ids) > 1 else ids[0], family.confidence, made),
        Finding("columns.target", [family.value], family.confidence, f"the values of {len(family.columns)} columns"),
        *merged.values(),
    ]
    reach = int(times.stamps[behind.index].nunique()) if "columns.known" in merged else None
    return Columns(_series(table.frame, items), times.stamps, table.frame[family.columns], True, findings, reach)


def _with_family(findings: list[Finding], family: Family, items: list[str], behind: pd.DataFrame) -> dict[str, Finding]:
    """Findings of the shared columns, and with them what a family has beside its targets: known or checked."""
    merged = {finding.setting: finding for finding in findings}
    for name, columns in family.beside.items():
        is_known = len(behind) > 0 and bool(behind[columns].notna().all(axis=None))
        setting = "columns.known" if is_known else "columns.checked"
        why = "filled behind the last target, so known in advance"
        if not is_known:
            why = f"{name} stands beside the targets; move it to known once it is filled for the horizon as well"
        old = merged.get(setting)
        together = f"{old.why}; {why}" if old is not None and old.value else why
        merged[setting] = Finding(setting, [*(old.value if old else []), name], "likely", together)
    if len([*items, *family.made]) > 1:
        old = merged.get("columns.static")
        ids = [*items, *family.made]
        names = [*ids, *(name for name in (old.value if old else []) if name not in ids)]
        why = "the same throughout each series; kept with it, no input of the model"
        merged["columns.static"] = Finding("columns.static", names, "likely", why)
    return merged
