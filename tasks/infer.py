"""What `moirai init FILE` does: look at a CSV file and propose a job file.

In: a CSV file in long layout, or a column per series. Out: an `Inference`: a finding per
setting, with its confidence and evidence, and the commented job file. Only the beginning of a large
file is looked at; the finding for `source.path` says so. Fails with `SourceError`.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.inference.columns import find_columns
from tasks.inference.findings import Finding, counted
from tasks.inference.lengths import find_lengths
from tasks.inference.rhythm import find_rhythm
from tasks.inference.table import Table, read_table
from tasks.job import Job, job_from_settings
from tasks.job.reference import commented_job


@dataclass(frozen=True)
class Inference:
    """What a file's settings probably are."""

    path: Path
    """The file that was looked at."""
    findings: list[Finding]

    def settings(self, folder: Path) -> dict[str, Any]:
        """The settings of a job file that stands in `folder`, as nested mappings."""
        settings: dict[str, Any] = {}
        for finding in self.findings:
            *blocks, key = finding.setting.split(".")
            block = settings
            for name in blocks:
                block = block.setdefault(name, {})
            block[key] = finding.value
        settings["source"]["path"] = _relative(self.path, folder)
        return settings

    def to_job(self, folder: Path) -> Job:
        """The job, as if its file stood in `folder`."""
        return job_from_settings(self.settings(folder), folder=folder, origin=str(self.path))

    def to_yaml(self, folder: Path | None = None) -> str:
        """The commented job file.

        Args:
            folder: where it will be written; paths in it start there. None: the working directory.
        """
        place = folder or Path.cwd()
        self.to_job(place)  # what is written must load
        doubtful = [finding.setting for finding in self.findings if finding.confidence == "guess"]
        notes = {finding.setting: f"{finding.confidence}: {finding.why}" for finding in self.findings}
        look = f"Look first at the guesses: {', '.join(doubtful)}." if doubtful else "Nothing in it is a mere guess."
        head = f"Job file for {self.path.name}, proposed by `moirai init`. {look}"
        return commented_job(self.settings(place), notes=notes, head=head)


def infer_job(path: Path, *, name: str | None = None, targets: Sequence[str] | None = None) -> Inference:
    """Infer the settings of a job from a CSV file.

    Args:
        path: the file, plain or compressed; its delimiter and encoding are found out.
        name: name of the job; None: made from the file's.
        targets: columns to forecast; None: inferred.

    Returns:
        A finding per setting, in the order of the job file.

    Raises:
        SourceError: the file is missing, empty or no table, has no time stamps or numbers, or has a
            layout that is not read yet: periods as text, split dates, one series per row.
        JobError: `name` is no name for a job.
    """
    table = read_table(path)
    columns = find_columns(table, targets)
    rhythm = find_rhythm(columns.items, columns.times)
    lengths = find_lengths(rhythm, table.frame[columns.targets])
    findings = [
        _find_name(path, name),
        *_find_source(table),
        *columns.findings,
        *rhythm.findings,
        *lengths,
    ]
    order = list(Job.model_fields)
    findings.sort(key=lambda finding: order.index(finding.setting.split(".")[0]))
    inference = Inference(path, findings)
    inference.to_job(Path.cwd())  # a name that the caller chose may be no good
    return inference


def _find_name(path: Path, name: str | None) -> Finding:
    if name is not None:
        return Finding("name", name, "sure", "as asked for")
    stem = re.sub(r"[^a-z0-9]+", "_", path.name.split(".")[0].lower()).strip("_")
    return Finding("name", stem or "job", "likely", "made from the name of the file")


def _find_source(table: Table) -> list[Finding]:
    rows = counted(len(table.frame), "row")
    seen = f"only its first {rows} were looked at" if table.is_sample else f"all its {rows} were looked at"
    findings = [Finding("source.path", str(table.path), "sure", seen)]
    if table.delimiter != ",":
        findings.append(Finding("source.delimiter", table.delimiter, "sure", "cuts header and rows alike"))
    if table.encoding != "utf-8":
        why = "it is not utf-8; accents and signs may show whether another one fits better"
        findings.append(Finding("source.encoding", table.encoding, "guess", why))
    return findings


def _relative(path: Path, folder: Path) -> str:
    """Path as seen from a folder, both free of links, as `Job.resolve` walks it."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
