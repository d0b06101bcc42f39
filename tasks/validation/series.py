"""Checks of series: what is left of each once its rows are mended, and which ones are left out.

In: the one-row-per-series profile and the raw panel. Out: a `Check` per expectation of `suites/series.json`, and a
`Quarantine` for each item that breaks one whose severity is `warning`. An item is left out when one of its targets is
unfit.
"""

from collections.abc import Sequence
from string import Template
from typing import Any

import pandas as pd

from tasks.expectations import Outcome, load_suite, run_suite, write_out
from tasks.grid import Grid
from tasks.job import Job
from tasks.mends import settle
from tasks.panel import SOURCE_ROW
from tasks.profile import HOUR, profile_series
from tasks.quality import Check, Quarantine
from tasks.validation.findings import in_count, to_check
from tasks.validation.severity import severity_of

FIRST_ROWS = 5  # rows of a series in quarantine that its record names
MANY = 100_000  # series of which it is first looked whether they can be right at all

Judged = tuple[list[Check], list[Quarantine]]


def settled_rows(frame: pd.DataFrame, job: Job) -> tuple[pd.DataFrame, Grid]:
    """What will be left of the rows once the transform has mended them, and the grid, which reaches to the horizon."""
    grid = Grid.covering(job.frequency, frame["timestamp"], ahead=job.horizon)
    return settle(frame, job, grid)[0], grid


def profile_panel(settled: pd.DataFrame, job: Job, grid: Grid, now: pd.Timestamp) -> pd.DataFrame:
    """The profile of settled rows."""
    return profile_series(settled, grid, job.columns.target, now, stretch_of(job))


def stretch_of(job: Job) -> int:
    """Observed steps whose level and scale are compared with those before."""
    return max(job.horizon, job.season_length)


def check_series(profile: pd.DataFrame, frame: pd.DataFrame, job: Job, now: pd.Timestamp) -> Judged:
    """Run the suite `series.json`; a series that breaks a `warning` is quarantined."""
    limits, age = job.validation, job.validation.stale_after
    names = {
        "min_length": job.min_length,
        "max_missing": limits.max_missing,
        "max_missing_percent": f"{limits.max_missing:.0%}",
        "horizon": job.horizon,
        "stretch": stretch_of(job),
        "max_level_change": limits.max_level_change,
        "max_scale_change": limits.max_scale_change,
        "now": now,
        "stale_after": age,
    }
    lists: dict[str, list[dict[str, Any]]] = {
        "age_limit": [{"max_age_hours": pd.Timedelta(age) / HOUR}] if age else [],
        "level_limit": [] if limits.max_level_change is None else [{}],
        "scale_limit": [] if limits.max_scale_change is None else [{}],
    }
    outcomes = run_suite(load_suite("series", names, lists, limits.severity), profile)
    return judge(outcomes, profile, frame, names)


def judge(outcomes: Sequence[Outcome], table: pd.DataFrame, frame: pd.DataFrame, names: dict[str, Any]) -> Judged:
    """Records of outcomes on a table of series, and quarantine where the severity is `warning`.

    Args:
        outcomes: their places are labels of the table.
        table: one row or more per series, with `item_id`.
        frame: the rows of the raw panel.
        names: what `meta.why` may name beside the columns of the table.
    """
    checks, quarantined = [], []
    for outcome in outcomes:
        broken = table.loc[outcome.places]
        why = [_why(outcome, series, names) for series in broken.to_dict("records")]
        checks.append(to_check(outcome, [f"{item}: {text}" for item, text in zip(broken["item_id"], why, strict=True)]))
        if outcome.severity == "warning" and not outcome.passed:
            quarantined += _quarantine(outcome.rule, broken["item_id"], why, frame)
    return checks, quarantined


def check_quarantine(
    quarantined: Sequence[Quarantine], checks: Sequence[Check], frame: pd.DataFrame, job: Job
) -> list[Check]:
    """Whether enough series are left: at most validation.max_quarantined are out, and not all."""
    severity = severity_of("quarantined_share", job, "critical")
    if severity == "off":
        return []
    count, total = len({series.item_id for series in quarantined}), frame["item_id"].nunique()
    message = f"series in quarantine: {in_count(count)} of {total:,}; {_allowed(job)}"
    if count:
        rules = dict.fromkeys(series.rule for series in quarantined)
        why = [check.message.partition(" (")[0] for check in checks if check.rule in rules and not check.passed]
        message += f"; {'; '.join(why)}; the first: {quarantined[0].item_id}: {quarantined[0].why}"
        message += _swapped(len(frame), total, job)
    is_passed = count / total <= job.validation.max_quarantined and count < total
    return [_share_check(severity, message, passed=is_passed, count=count, total=total)]


def refuse_far_too_many(frame: pd.DataFrame, job: Job) -> list[Check]:
    """The check of quarantine ahead of time, for a panel of so many series that too many of them must be too short.

    Empty where that is not certain. A swapped column makes millions of series; to describe each would take hours.
    """
    total = frame["item_id"].nunique()
    weighs = [severity_of(rule, job, default) for rule, default in _DECISIVE]
    share = len(frame) / (job.min_length * total)  # of series that have enough rows, at most
    if total <= MANY or weighs != ["warning", "critical"] or 1 - share <= job.validation.max_quarantined:
        return []
    count = total - int(share * total)
    message = (
        f"series in quarantine: at least {count:,} of {total:,}; {_allowed(job)}; they have fewer than "
        f"{job.min_length} observed steps{_swapped(len(frame), total, job)}"
    )
    return [_share_check("critical", message, passed=False, count=count, total=total)]


_DECISIVE: tuple[tuple[str, Any], ...] = (("observed_length", "warning"), ("quarantined_share", "critical"))


def _allowed(job: Job) -> str:
    return f"allowed: {job.validation.max_quarantined:.0%}, not all"


def _swapped(rows: int, total: int, job: Job) -> str:
    """A question where the rows of a series are few: is it the right column that tells them apart?"""
    if not job.columns.item_columns or rows >= total * job.min_length:
        return ""
    named = " and ".join(map(repr, job.columns.item_columns))
    return f"; {rows:,} rows make {total:,} series: is columns.item_id ({named}) what tells them apart?"


def _share_check(severity: Any, message: str, *, passed: bool, count: int, total: int) -> Check:
    return Check(
        rule="quarantined_share",
        severity=severity,
        column=None,
        passed=passed,
        count=count,
        total=total,
        message=message,
    )


def _why(outcome: Outcome, series: dict[Any, Any], names: dict[str, Any]) -> str:
    """What is wrong with one series, in numbers."""
    facts = {name: write_out(value) for name, value in {**names, **series}.items()}
    return Template(outcome.meta["why"]).substitute(facts)


def _quarantine(rule: str, items: pd.Series, why: Sequence[str], frame: pd.DataFrame) -> list[Quarantine]:
    """One record per item that broke a rule, with all its targets' reasons and its first rows."""
    reasons: dict[str, list[str]] = {}
    for item, text in zip(items, why, strict=True):
        reasons.setdefault(item, []).append(text)
    rows = frame.loc[frame["item_id"].isin(list(reasons)), ["item_id", SOURCE_ROW]].sort_values(SOURCE_ROW)
    rows = rows.groupby("item_id").head(FIRST_ROWS)
    first: dict[str, list[int]] = {}
    for item, row in zip(rows["item_id"], rows[SOURCE_ROW].tolist(), strict=True):
        first.setdefault(item, []).append(row)
    return [
        Quarantine(item_id=item, rule=rule, why="; ".join(texts), first_rows=first[item])
        for item, texts in reasons.items()
    ]
