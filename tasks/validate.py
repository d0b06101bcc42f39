"""Validate: checks on the rows of a raw panel and on a one-row-per-series profile of it.

In: a job, a raw panel and the moment the run stands at. Out: the outcome of every check, the series
that are left out, and a JSON report with both, the profile and the thresholds; it is written before
anything is raised. A `critical` failure stops with `ValidationError`; a `warning` about a series
puts it in quarantine, one about rows is mended by the transform; `info` is told. An item is left
out when one of its targets is unfit.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from tasks.errors import ValidationError
from tasks.expectations import Outcome, load_suite, run_suite, write_out
from tasks.grid import Grid, differs_from_first, first_of_stamp
from tasks.job import Job
from tasks.panel import KEYS, SOURCE_ROW, PanelRef, read_panel
from tasks.profile import HOUR, profile_series
from tasks.quality import Check, Quarantine
from tasks.transform import in_words, settle
from tasks.whole_files import whole_file

EXAMPLES = 3  # lines or series that a message names
FIRST_ROWS = 5  # lines of a series in quarantine that its record names

logger = logging.getLogger(__name__)


class ValidationResult(BaseModel):
    """Outcome of every check, the series left out, and where the report is."""

    model_config = ConfigDict(frozen=True)

    checks: list[Check]
    quarantined: list[Quarantine]
    report_path: str
    passed: bool  # no critical check failed


def validate_panel(job: Job, raw: PanelRef, as_of: pd.Timestamp | None = None) -> ValidationResult:
    """Check a raw panel before anything is computed from it.

    Args:
        job: thresholds and policies.
        raw: the raw panel.
        as_of: moment that the age of a series is counted from, without time zone; None: the clock,
            in UTC.

    Returns:
        Checks, quarantined series and the path of `<workspace>/validation/<raw digest>.json`.

    Raises:
        ValidationError: a critical check failed or too many series are in quarantine; the text
            names the report.
    """
    now = as_of if as_of is not None else pd.Timestamp.now("UTC").tz_localize(None).floor("s")
    frame = read_panel(raw)
    checks = check_rows(frame, job)
    quarantined, profile = list[Quarantine](), pd.DataFrame()
    if are_keys_sound(frame, job):
        profile = profile_panel(frame, job, now)
        of_series, quarantined = check_series(profile, frame, job, now)
        checks += [*of_series, check_quarantine(quarantined, frame, job)]
    failed = [check for check in checks if not check.passed and check.severity == "critical"]
    report = job.workspace_path / "validation" / f"{raw.digest}.json"
    result = ValidationResult(checks=checks, quarantined=quarantined, report_path=str(report), passed=not failed)
    write_report(result, profile, job, raw, now)
    logger.info("validated: %d of %d checks passed", sum(one.passed for one in checks), len(checks))
    for check in checks:
        level = logging.INFO if check.severity == "info" else logging.WARNING
        logger.log(logging.DEBUG if check.passed else level, "%s", check.message)
    if failed:
        what = "; ".join(check.message for check in failed)
        raise ValidationError(f"job {job.name!r} stopped by validation: {what}. Report: {report}")
    return result


def are_keys_sound(frame: pd.DataFrame, job: Job) -> bool:
    """Whether series can be told apart: every column of the job is there and no key is missing."""
    has_all = set(job.columns.values) <= set(frame.columns)
    return has_all and bool(frame[KEYS].notna().all(axis=None)) and len(frame) > 0


def check_rows(frame: pd.DataFrame, job: Job) -> list[Check]:
    """Run the suite `rows.json`; messages name the first lines of the source."""
    there = [name for name in job.columns.values if name in frame.columns]
    is_sound = are_keys_sound(frame, job)
    facts = row_facts(frame, there, job if is_sound else None)
    ranges = [
        {"column": name, "min": bounds.min, "max": bounds.max, "bounds": in_words(bounds)}
        for name, bounds in job.validation.ranges.items()
        if name in there and (bounds.min, bounds.max) != (None, None)
    ]
    has_repeats = is_sound and bool(facts["__repeats"].any())
    lists: dict[str, list[dict[str, Any]]] = {
        "range": ranges,
        "sound_keys": [{}] if is_sound else [],
        "repeated_value": [{"column": name} for name in there] if has_repeats else [],
    }
    policies = job.transform.model_dump()
    names = {
        "columns": [*KEYS, *job.columns.values],
        "frequency": job.frequency,
        **policies,
        **{f"on_{n}": "critical" if p == "error" else "warning" for n, p in policies.items()},
    }
    whole = pd.concat([frame, facts], axis=1).sort_values(SOURCE_ROW).set_index(SOURCE_ROW)
    outcomes = run_suite(load_suite("rows", names, lists), whole)
    return [_check(outcome, _lines(outcome, whole)) for outcome in outcomes]


def row_facts(frame: pd.DataFrame, values: Sequence[str], job: Job | None) -> pd.DataFrame:
    """What no column tells by itself, 0 or 1 per row: infinite, off the grid, repeats, differs.

    Repeats are judged on the grid, as the transform does. Without a job, only what needs no keys.
    """
    facts = {"__infinite": np.isinf(frame[list(values)].to_numpy(dtype=float)).any(axis=1)}
    if job is not None:
        floored = Grid.covering(job.frequency, frame["timestamp"]).floor(frame["timestamp"])
        on_grid = frame.assign(timestamp=floored)
        facts["__off_grid"] = floored != frame["timestamp"].to_numpy()
        facts["__repeats"] = first_of_stamp(on_grid) != np.arange(len(frame))
        differs = differs_from_first(on_grid, values)
        facts |= {f"__differs_{name}": differs[name].to_numpy() for name in values}
    return pd.DataFrame(facts, index=frame.index).astype(int)


def profile_panel(frame: pd.DataFrame, job: Job, now: pd.Timestamp) -> pd.DataFrame:
    """Profile of what will be left of each series once the transform has mended its rows."""
    grid = Grid.covering(job.frequency, frame["timestamp"])
    settled, _ = settle(frame, job, grid)
    return profile_series(settled, grid, job.columns.target, now)


def check_series(
    profile: pd.DataFrame, frame: pd.DataFrame, job: Job, now: pd.Timestamp
) -> tuple[list[Check], list[Quarantine]]:
    """Run the suite `series.json`; a series that breaks a `warning` is quarantined."""
    limits, age = job.validation, job.validation.stale_after
    names = {
        "min_length": job.min_length,
        "max_missing": limits.max_missing,
        "max_missing_percent": f"{limits.max_missing:.0%}",
        "horizon": job.horizon,
        "now": now,
        "stale_after": age,
    }
    ages = [{"max_age_hours": pd.Timedelta(age) / HOUR}] if age else []
    outcomes = run_suite(load_suite("series", names, {"age_limit": ages}), profile)
    checks, quarantined = [], []
    for outcome in outcomes:
        broken = profile.loc[outcome.places]
        why = [_why(outcome, series, names) for series in broken.to_dict("records")]
        owners = [f"{item}: {text}" for item, text in zip(broken["item_id"], why, strict=True)]
        checks.append(_check(outcome, owners))
        if outcome.severity == "warning" and not outcome.passed:
            quarantined += _quarantine(outcome.rule, broken["item_id"], why, frame)
    return checks, quarantined


def check_quarantine(quarantined: Sequence[Quarantine], frame: pd.DataFrame, job: Job) -> Check:
    """Whether enough series are left: at most validation.max_quarantined are out, and not all."""
    count, total = len({series.item_id for series in quarantined}), frame["item_id"].nunique()
    limit = job.validation.max_quarantined
    message = f"series in quarantine: {_count(count)} of {total:,}; allowed: {limit:.0%}, not all"
    if count:
        message += f"; the first: {quarantined[0].item_id}: {quarantined[0].why}"
    return Check(
        rule="quarantined_share",
        severity="critical",
        column=None,
        passed=count / total <= limit and count < total,
        count=count,
        total=total,
        message=message,
    )


def write_report(result: ValidationResult, profile: pd.DataFrame, job: Job, raw: PanelRef, now: pd.Timestamp) -> None:
    """Write everything found to the result's report path, whole or not at all."""
    report = {
        "job": job.name,
        "as_of": now.isoformat(),
        "panel": raw.model_dump(mode="json"),
        **result.model_dump(mode="json", exclude={"report_path"}),
        "settings": job.model_dump(mode="json", include={"frequency", "validation", "transform"}),
        "series": json.loads(profile.to_json(orient="records", date_format="iso")),
    }
    with whole_file(Path(result.report_path)) as made:
        made.write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")


def _count(number: int) -> str:
    return f"{number:,}" if number else "none"


def _lines(outcome: Outcome, by_line: pd.DataFrame) -> list[str]:
    """The first lines that broke a rule, with the value where the rule is about one."""
    first = outcome.places[:EXAMPLES]
    if outcome.column is None:
        return [f"line {line}" for line in first]
    values = by_line.loc[first, outcome.column]
    return [f"{value:g} in line {line}" for line, value in values.items()]


def _why(outcome: Outcome, series: dict[Any, Any], names: dict[str, Any]) -> str:
    """What is wrong with one series, in numbers."""
    facts = {name: write_out(value) for name, value in {**names, **series}.items()}
    return Template(outcome.meta["why"]).substitute(facts)


def _check(outcome: Outcome, examples: Sequence[str]) -> Check:
    """The outcome as a record; its message counts, names the first places and what follows."""
    meta, count = outcome.meta, outcome.count
    message = f"{meta['what']}: {_count(count)} of {outcome.total:,}"
    if examples:
        more = ", ..." if count > EXAMPLES else ""
        message += f" ({', '.join(examples[:EXAMPLES])}{more})"
    if count and "then" in meta:
        message += f"; {meta['then']}"
    return Check(
        rule=outcome.rule,
        severity=outcome.severity,
        column=outcome.column,
        passed=outcome.passed,
        count=count,
        total=outcome.total,
        message=message,
    )


def _quarantine(rule: str, items: pd.Series, why: Sequence[str], frame: pd.DataFrame) -> list[Quarantine]:
    """One record per item that broke a rule, with all its targets' reasons and its first lines."""
    reasons: dict[str, list[str]] = {}
    for item, text in zip(items, why, strict=True):
        reasons.setdefault(item, []).append(text)
    rows = frame[frame["item_id"].isin(list(reasons))].sort_values(SOURCE_ROW)
    first = rows.groupby("item_id")[SOURCE_ROW].apply(lambda lines: lines.head(FIRST_ROWS).tolist())
    return [
        Quarantine(item_id=item, rule=rule, why="; ".join(texts), first_rows=first[item])
        for item, texts in reasons.items()
    ]


@task(cache_policy=NO_CACHE)
def validate(job: Job, raw: PanelRef, as_of: pd.Timestamp | None = None) -> ValidationResult:
    """Check a raw panel: see `validate_panel`."""
    return validate_panel(job, raw, as_of)
