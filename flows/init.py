"""`moirai init`: infer a job from data, write it with comments, say what was inferred and how sure it is."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.errors import JobError
from tasks.infer import Inference, infer_job

COLOURS = {"sure": "green", "likely": "yellow", "guess": "red"}


def write_job(
    data: str, out: Path, *, query: str | None, targets: Sequence[str] | None, force: bool, as_json: bool
) -> None:
    """Infer the job of some data and write its job file.

    Args:
        data: file, folder, glob or database URL.
        out: job file to write.
        query: what a database is asked; None for files.
        targets: columns to forecast; None: inferred.
        force: whether an existing job file may be replaced.
        as_json: print the findings as JSON instead of a table.

    Raises:
        JobError: the job file exists already, or the URL holds a password.
        SourceError: see `tasks/infer.py`.
    """
    if out.exists() and not force:
        raise JobError(f"{out} exists already; choose another name with --out, or replace it with --force")
    inference = infer_job(data, query=query, targets=targets)
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
    table = Table(title=escape(f"What {inference.name} probably is"), title_justify="left")
    for title in ("setting", "value", "how sure", "why"):
        table.add_column(title, overflow="fold")
    for finding in inference.findings:
        colour = COLOURS[finding.confidence]
        sure = f"[{colour}]{finding.confidence}[/{colour}]"
        table.add_row(finding.setting, escape(str(finding.value)), sure, escape(finding.why))
    console.print(table)
    console.print(f"Written to {out}. Next: moirai forecast {out}", soft_wrap=True, highlight=False, markup=False)
