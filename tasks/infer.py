"""What `moirai init DATA` does: look at files or a database and propose a job file.

In: CSV, TSV or Parquet files, or a query, in long layout or with a column or row per series. Out: an `Inference`: a
finding per setting, with its confidence and evidence, and the commented job file. Only the beginning of much data is
looked at; the finding for the source says so. Fails with `SourceError`.
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
from tasks.job import Job, Source, job_from_settings
from tasks.job.reference import commented_job
from tasks.sources.text_files import delimiter_of

FILE_OF_DATABASE = re.compile(r"(?P<scheme>sqlite(?:\+\w+)?:///)(?P<path>[^/:?][^:?]*)(?P<rest>.*)")


@dataclass(frozen=True)
class Inference:
    """What a source's settings probably are."""

    name: str
    """What was looked at, as it was given."""
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
        source = settings["source"]
        if "path" in source:
            source["path"] = _relative(source["path"], folder)
        elif file := FILE_OF_DATABASE.fullmatch(source["url"]):
            source["url"] = f"{file['scheme']}{_relative(file['path'], folder)}{file['rest']}"
        return settings

    def to_job(self, folder: Path) -> Job:
        """The job, as if its file stood in `folder`."""
        return job_from_settings(self.settings(folder), folder=folder, origin=self.name)

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
        head = f"Job file for {_short(self.name)}, proposed by `moirai init`. {look}"
        return commented_job(self.settings(place), notes=notes, head=head)


def infer_job(
    data: str | Path, *, query: str | None = None, name: str | None = None, targets: Sequence[str] | None = None
) -> Inference:
    """Infer the settings of a job from its data.

    Args:
        data: file, folder, glob or database URL; delimiter, encoding and layout are found out.
        query: what a database is asked.
        name: name of the job; None: made from that of the data.
        targets: columns to forecast; None: inferred.

    Returns:
        A finding per setting, in the order of the job file.

    Raises:
        SourceError: the source is missing, empty or no table, or has no time stamps or numbers.
        JobError: `name` is no name for a job, or the URL holds a password.
    """
    table = read_table(str(data), query)
    columns = find_columns(table, targets)
    rhythm = find_rhythm(columns.items, columns.times, columns.frequency)
    lengths = find_lengths(rhythm, columns.values, is_series=columns.is_series, known_steps=columns.known_steps)
    findings = [_find_name(table.name, name), *_find_source(table), *columns.findings, *rhythm.findings, *lengths]
    order = list(Job.model_fields)
    findings.sort(key=lambda finding: order.index(finding.setting.split(".")[0]))
    inference = Inference(table.name, findings)
    inference.to_job(Path.cwd())  # a name that the caller chose may be no good
    return inference


def _find_name(data: str, name: str | None) -> Finding:
    if name is not None:
        return Finding("name", name, "sure", "as asked for")
    parts = [part.split(".")[0] for part in reversed(data.split("?", maxsplit=1)[0].split("/"))]
    stems = [re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in parts if "*" not in part]
    return Finding("name", next(filter(None, stems), "job"), "likely", "made from the name of the data")


def _find_source(table: Table) -> list[Finding]:
    rows = counted(len(table.frame), "row")
    seen = f"only its first {rows} were looked at" if table.is_sample else f"all its {rows} were looked at"
    if table.files > 1:
        seen = (
            f"{table.files:,} files, of which {'the beginnings' if table.is_sample else 'all'} ({rows}) were looked at"
        )
    findings = [Finding(f"source.{key}", value, "sure", seen) for key, value in table.source.items()]
    if table.is_typed:
        return findings
    path = Path(table.name)
    if table.delimiter != delimiter_of(path, Source(path=table.name)):
        findings.append(Finding("source.delimiter", table.delimiter, "sure", "cuts header and rows alike"))
    if table.encoding != "utf-8":
        why = "it is not utf-8; accents and signs may show whether another one fits better"
        findings.append(Finding("source.encoding", table.encoding, "guess", why))
    return findings


def _short(name: str) -> str:
    """Name of a file or folder; a URL as it stands."""
    return name if "://" in name else Path(name).name or name


def _relative(path: str, folder: Path) -> str:
    """Path as seen from a folder, both free of links, as `Job.resolve` walks it."""
    return Path(os.path.relpath(Path(path).expanduser().resolve(), folder.resolve())).as_posix()
