"""Which series there are, against what earlier runs of the job stored: a series that is gone, or one that is new.

In: the items of the panel and those that the warehouse knows. Out: two checks; none on the first run, when there is
nothing to compare with. They put nothing in quarantine: what is gone cannot be left out, what is new is no defect.
"""

from collections.abc import Collection

from tasks.job import Job
from tasks.quality import Check
from tasks.validation.findings import first_few, in_count
from tasks.validation.severity import severity_of


def check_members(
    items: Collection[str], known_items: Collection[str], left_out: Collection[str], job: Job
) -> list[Check]:
    """Compare the set of series with that of earlier runs.

    Args:
        items: series of the raw panel.
        known_items: series of which earlier runs stored observations.
        left_out: series in quarantine; they are stored nowhere, so that they are never new.
        job: severities, and the share that may be absent.
    """
    if not known_items:
        return []
    checks = []
    lost = sorted(set(known_items) - set(items))
    allowed = job.validation.max_lost
    if (severity := severity_of("no_series_lost", job, "warning")) != "off":
        message = (
            f"series of earlier runs that the source no longer has: {in_count(len(lost))} of {len(known_items):,}"
            f"{_named(lost)}; allowed: {allowed:.0%}"
        )
        checks.append(
            Check(
                rule="no_series_lost",
                severity=severity,
                column=None,
                passed=len(lost) <= allowed * len(known_items),
                count=len(lost),
                total=len(known_items),
                message=message,
            )
        )
    new = sorted(set(items) - set(known_items) - set(left_out))
    if (severity := severity_of("no_series_new", job, "info")) != "off":
        checks.append(
            Check(
                rule="no_series_new",
                severity=severity,
                column=None,
                passed=not new,
                count=len(new),
                total=len(items),
                message=f"series that no earlier run stored: {in_count(len(new))} of {len(items):,}{_named(new)}",
            )
        )
    return checks


def _named(items: list[str]) -> str:
    return f" ({first_few(items)})" if items else ""
