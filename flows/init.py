"""`moirai init`: infer a job from a file, write it with comments, say what was inferred and how sure it is."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tasks.errors import JobError
from tasks.infer import Inference, infer_job

COLOURS = {"sure": "green", "likely": "yellow", "guess": "red"}


def write_job(data: Path, out: Path, *, targets: Sequence[str] | None, force: bool, as_json: bool) -> None:
    """Infer the job of a data file and write its job file.

    Args:
        data: CSV file.
        out: job file to write.
        targets: columns to forecast; None: inferred.
        force: whether an existing job file may be replaced.
        as_json: print the findings as JSON instead of a table.

    Raises:
        JobError: the job file exists already.
        SourceError: see `tasks/infer.py`.
    """
    if out.exists() and not force:
        raise JobError(f"{out} exists already; choose another name with --out, or replace it with --force")
    inference = infer_job(data, targets=targets)
    text = inference.to_yaml(out.parent)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    if as_json:
        findings = [vars(finding) for finding in inference.findings]
        print(json.dumps({"job_file": str(out), "findings": findings}, indent=2, default=str))  # noqa: T201
    else:
        _show(inference, out)


def _show(inference: Inference, out: Path) -> None:
    console = Console()
    table = Table(title=f"What {inference.path.name} probably is", title_justify="left")
    for title in ("setting", "value", "how sure", "why"):
        table.add_column(title, overflow="fold")
    for finding in inference.findings:
        colour = COLOURS[finding.confidence]
        table.add_row(finding.setting, str(finding.value), f"[{colour}]{finding.confidence}[/{colour}]", finding.why)
    console.print(table)
    console.print(f"Written to {out}. Next: moirai forecast {out}", soft_wrap=True, highlight=False, markup=False)
