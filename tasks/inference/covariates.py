"""Columns beside the targets: known in advance, the same throughout a series, or only checked.

In: a `Table`, its series and targets. Out: findings for `columns.known`, `columns.categorical`, `columns.static` and
`columns.checked`; nothing here fails. Known is only what the source shows to be known: columns that are filled in rows
behind the last target of all series.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tasks.inference.findings import Finding, counted, list_names
from tasks.inference.table import Table
from tasks.inference.times import Times
from tasks.inference.values import SAME, Values, explain_checked

MOST_NAMES = 30  # names that a categorical covariate may have
KEY = "key"


@dataclass(frozen=True)
class Covariates:
    """What is known beside the targets."""

    findings: list[Finding]
    steps: int | None
    """Time stamps that the known ones reach beyond the last target; None: there are no known ones."""


def find_covariates(
    table: Table, times: Times, items: Sequence[str], values: Values, targets: Sequence[str]
) -> Covariates:
    """Give the columns beside the targets their roles.

    Args:
        table: the rows.
        times: their time stamps.
        items: columns that tell series apart.
        values: the numeric columns.
        targets: columns of the file that are forecast.
    """
    behind = rows_behind(table, times, targets)
    beside = [name for name in [*values.usable, *values.flags] if name not in targets]
    known = [name for name in beside if len(behind) and behind[name].notna().all()]
    taken = {*times.columns, *items, *targets}
    texts = [name for name in table.texts if name not in taken]
    static = _find_static(table, items, texts, values)
    names = [name for name in texts if name not in static.value and _is_known_name(table, behind, name)]
    checked = [name for name in values.usable if name not in {*targets, *known}]
    left_out = {name: why for name, why in values.left_out.items() if name not in {*targets, *known}}
    findings = [static] if static.value else []
    if not known and not names:
        return Covariates([explain_checked(checked, left_out), *findings], None)
    steps = int(times.stamps[behind.index].nunique())
    why = f"filled in the {counted(steps, 'time stamp')} behind the last target, so known in advance"
    findings.append(Finding("columns.known", [*known, *names], "likely", why))
    if names:
        why = f"{list_names(names)} hold names, not numbers"
        findings.append(Finding("columns.categorical", names, "likely", why))
    return Covariates([explain_checked(checked, left_out), *findings], steps)


def rows_behind(table: Table, times: Times, targets: Sequence[str]) -> pd.DataFrame:
    """Rows behind the last target of all series."""
    is_observed = table.frame[list(targets)].notna().any(axis=1)
    return table.frame[(times.stamps > times.stamps[is_observed].max()).to_numpy()]


def _is_known_name(table: Table, behind: pd.DataFrame, name: str) -> bool:
    """Whether a column of text may be a covariate known in advance: a few names, none of them missing behind."""
    return len(behind) > 0 and bool((behind[name] != "").all()) and 1 < table.frame[name].nunique() <= MOST_NAMES


def _find_static(table: Table, items: Sequence[str], texts: Sequence[str], values: Values) -> Finding:
    """Columns that are the same in all rows of each series, and the ids themselves where several make one."""
    frame = table.frame
    found = list(items) if len(items) > 1 else []
    if items:
        series = frame.groupby(list(items), sort=False, observed=True)
        varied = [name for name in texts if (frame[name] != frame[name].iloc[0]).any()]
        found += [name for name in varied if bool((series[name].transform("first") == frame[name]).all())]
        keys = [name for name, why in values.left_out.items() if why in {SAME, KEY}]
        if not table.is_sample:  # behind the sample a price may change, which ingest would refuse
            found += [name for name in keys if _is_constant(frame, items, name)]
    order = [name for name in frame.columns if name in set(found)]
    why = "the same throughout each series; kept with it, no input of the model"
    return Finding("columns.static", order, "likely", why)


def _is_constant(frame: pd.DataFrame, items: Sequence[str], name: str) -> bool:
    distinct = frame.groupby(list(items), sort=False, observed=True)[name].nunique()
    return bool(distinct.max() == 1)
