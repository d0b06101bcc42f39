"""What a run leaves in Prefect: what was found and done, and the report in short.

In: the job, the flow and what the run found. Out: artifacts, Markdown and tables, under keys that all runs of a job's
flow share, so that Prefect shows their history. Long tables are cut with a count. Fails as Prefect's client does.
"""

import re

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.findings import Findings, Rows, capped
from tasks.job import Job
from tasks.naming import artifact_key
from tasks.panel import PanelRef

MOST_ROWS = 100  # of a table in Prefect; the report says where the rest is
NOTHING = {  # a table without rows would leave an older run's as the latest
    "checks": {"outcome": "no check ran"},
    "quarantine": {"series": "no series was left out"},
    "changes": {"rule": "nothing had to be mended"},
}


def publish_findings(job: Job, flow: str, findings: Findings, panel: PanelRef) -> None:
    """Leave one table each of checks, quarantined series and changes."""
    told = findings.in_short()
    for what, rows in findings.tables(panel).items():
        publish_table(job, flow, what, rows or [NOTHING[what]], told=told[what])


def publish_table(job: Job, flow: str, what: str, rows: Rows, *, told: str) -> None:
    """Leave one table, cut where it is long; `told` is what it says in a few words."""
    create_table_artifact(capped(rows, MOST_ROWS), key=artifact_key(job, flow, what), description=_sentence(told))


def publish_markdown(job: Job, flow: str, text: str, *, told: str, what: str = "report") -> None:
    """Leave a text such as the report in short; `told` is what it says in a few words."""
    create_markdown_artifact(text, key=artifact_key(job, flow, what), description=_sentence(told))


def publish_stop(job: Job, flow: str, reason: str, findings: Findings, panel: PanelRef) -> None:
    """Leave what validation found where it stopped the run: a report that says so, and the tables."""
    lines = [f"# {plain(job.name)}: stopped by validation", "", plain(reason), ""]
    lines += [f"- **{check.severity}** {plain(check.message)}" for check in findings.failed]
    publish_markdown(job, flow, "\n".join(lines) + "\n", told="stopped by validation")
    publish_findings(job, flow, findings, panel)


def _sentence(told: str) -> str:
    return f"{told[:1].upper()}{told[1:]}"


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|~$])", r"\\\1", " ".join(text.split()))
