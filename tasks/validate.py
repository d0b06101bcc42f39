"""Validate: checks on the rows of a raw panel and on a one-row-per-series profile of it.

In: a job, a raw panel, the moment the run stands at, and what earlier runs knew. Out: the outcome of every check, the
series that are left out, and a JSON report with both, the profile and the thresholds; it is written before
anything is raised. A `critical` failure stops with `ValidationError`; a `warning` about a series
puts it in quarantine, one about rows is mended by the transform; `info` is told. An item is left
out when one of its targets is unfit. Fails with `JobError` when the job's own suite or a severity makes no sense.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from tasks.errors import ValidationError
from tasks.job import Job
from tasks.panel import PanelRef, read_panel
from tasks.quality import Check, Quarantine
from tasks.validation.findings import Places
from tasks.validation.horizon import check_horizon
from tasks.validation.members import check_members
from tasks.validation.rows import are_keys_sound, check_rows
from tasks.validation.series import (
    check_quarantine,
    check_series,
    profile_panel,
    refuse_far_too_many,
    settled_rows,
)
from tasks.validation.severity import refuse_impossible
from tasks.validation.user_suite import UserSuite, load_user_suite
from tasks.whole_files import whole_file

logger = logging.getLogger(__name__)


class ValidationResult(BaseModel):
    """Outcome of every check, the series left out, and where the report is."""

    model_config = ConfigDict(frozen=True)

    checks: list[Check]
    quarantined: list[Quarantine]
    report_path: str
    passed: bool  # no critical check failed


def validate_panel(
    job: Job,
    raw: PanelRef,
    as_of: pd.Timestamp | None = None,
    *,
    forecasting: bool = False,
    known_items: Sequence[str] = (),
) -> ValidationResult:
    """Check a raw panel before anything is computed from it.

    Args:
        job: thresholds and policies.
        raw: the raw panel.
        as_of: moment that the age of a series is counted from, without time zone; None: the clock,
            in UTC.
        forecasting: whether the run will forecast, so that covariates known in advance must reach over the horizon.
        known_items: series of which earlier runs stored observations; none: nothing to compare with.

    Returns:
        Checks, quarantined series and the path of `<workspace>/validation/<raw digest>.json`.

    Raises:
        JobError: the job's own suite cannot be used, or a severity is impossible.
        ValidationError: a critical check failed or too many series are in quarantine; the text
            names the report.
    """
    refuse_impossible(job)
    suite = load_user_suite(job)
    now = as_of if as_of is not None else pd.Timestamp.now("UTC").tz_localize(None).floor("s")
    frame = read_panel(raw)
    places = Places(raw, job)
    checks = check_rows(frame, job, places)
    quarantined, profile = list[Quarantine](), pd.DataFrame()
    if are_keys_sound(frame, job):
        if suite is not None:
            checks += suite.check_rows(frame, raw, places)
        too_many = refuse_far_too_many(frame, job)
        checks += too_many
        if not too_many:
            profile, of_series, quarantined = judge_series(frame, job, suite, now, forecasting=forecasting)
            left_out = {series.item_id for series in quarantined}
            checks += [*of_series, *check_members(frame["item_id"].unique(), known_items, left_out, job)]
            checks += check_quarantine(quarantined, checks, frame, job)
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


def judge_series(
    frame: pd.DataFrame, job: Job, suite: UserSuite | None, now: pd.Timestamp, *, forecasting: bool
) -> tuple[pd.DataFrame, list[Check], list[Quarantine]]:
    """The profile of all series, the checks of it and of the horizon's covariates, and which series are left out."""
    settled, grid = settled_rows(frame, job)
    profile = profile_panel(settled, job, grid, now)
    checks, quarantined = check_series(profile, frame, job, now)
    if suite is not None:
        more, further = suite.check_series(profile, frame)
        checks, quarantined = [*checks, *more], [*quarantined, *further]
    if forecasting:
        left_out = {series.item_id for series in quarantined}
        more, further = check_horizon(settled, grid, frame, job, left_out)
        checks, quarantined = [*checks, *more], [*quarantined, *further]
    return profile, checks, quarantined


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


@task(task_run_name="validate", cache_policy=NO_CACHE)
def validate(
    job: Job,
    raw: PanelRef,
    as_of: pd.Timestamp | None = None,
    *,
    forecasting: bool = False,
    known_items: Sequence[str] = (),
) -> ValidationResult:
    """Check a raw panel: see `validate_panel`."""
    return validate_panel(job, raw, as_of, forecasting=forecasting, known_items=known_items)
