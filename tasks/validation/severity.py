"""How much a check weighs: what the job says, otherwise what the check says itself."""

from typing import Literal

from tasks.errors import JobError
from tasks.job import Job, Severity

ALWAYS_CRITICAL = ("columns_present", "item_id_present", "timestamp_present")
COMPUTED = ("no_series_lost", "no_series_new", "quarantined_share")  # rules that no suite holds


def severity_of(rule: str, job: Job, default: Literal["critical", "warning", "info"]) -> Severity:
    """The severity of a computed check; `off`: it is not looked at."""
    return job.validation.severity.get(rule, default)


def refuse_impossible(job: Job) -> None:
    """Refuse a job that wants to go on without what tells series apart. Raises `JobError`."""
    for rule in ALWAYS_CRITICAL:
        if job.validation.severity.get(rule, "critical") != "critical":
            raise JobError(
                f"job {job.name!r}: validation.severity.{rule} is {job.validation.severity[rule]}, but nothing can be "
                f"computed without it, it is always critical; take it out of the job file"
            )
