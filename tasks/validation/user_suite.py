"""The suite that a job brings along: expectations of Great Expectations in a JSON file.

In: `validation.suite`, a path. Out: `UserSuite`, whose entries run on the rows of a raw panel or on the
one-row-per-series profile as the built-in ones do. Fails with `JobError`: the file is missing or no JSON, an entry is
incomplete, of an unknown type, has wrong arguments or names a column that is not there, or Great Expectations cannot
evaluate it. The message names the file and the entry.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.errors import JobError
from tasks.expectations import CannotRunError, Outcome, problem_of, run_suite
from tasks.job import Job
from tasks.job.problems import explain
from tasks.panel import KEYS, SOURCE_ROW, PanelRef
from tasks.profile import PROFILE
from tasks.quality import Check
from tasks.validation.findings import EXAMPLES, Places, to_check
from tasks.validation.rows import source_order
from tasks.validation.series import Judged, judge

On = Literal["rows", "series"]
EXAMPLE = "docs/data.md has an example"


class _Meta(BaseModel):
    """What an entry may say beside its expectation."""

    on: On = Field("rows", description="rows of the raw panel, or one row per series")
    what: str | None = Field(None, description="what is counted, for the message")
    rule: str | None = Field(None, description="name of the check in the report")


class _Entry(BaseModel):
    """One expectation."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="name of the expectation, such as expect_column_values_to_be_between")
    kwargs: dict[str, Any] = Field({}, description="its arguments")
    severity: Literal["critical", "warning", "info"] = Field(
        "critical", description="critical stops; warning puts a series in quarantine; others are reported"
    )
    meta: _Meta = _Meta()
    description: str | None = None
    id: str | None = None
    notes: str | list[str] | None = None


@dataclass(frozen=True)
class UserSuite:
    """A checked suite."""

    path: Path
    entries: list[tuple[int, On, dict[str, Any]]]  # number in the file, from 1; what it is about; as GX reads it

    def check_rows(self, frame: pd.DataFrame, raw: PanelRef, places: Places) -> list[Check]:
        """Run the entries about rows on these in the order of the source; a categorical column holds its names."""
        if not any(on == "rows" for _, on, _ in self.entries):
            return []
        rows = frame.take(source_order(frame)).reset_index(drop=True)
        table = rows.drop(columns=SOURCE_ROW)
        for name, levels in raw.levels.items():
            codes = rows[name].fillna(-1).astype("int64")
            table[name] = pd.Categorical.from_codes(codes, categories=levels)
        return [
            to_check(outcome, places.of(rows.loc[outcome.places[:EXAMPLES]], outcome.column))
            for outcome in self._run("rows", table)
        ]

    def check_series(self, profile: pd.DataFrame, frame: pd.DataFrame) -> Judged:
        """Run the entries about series on the profile; a `warning` puts a series in quarantine."""
        if not any(on == "series" for _, on, _ in self.entries):
            return [], []
        return judge(self._run("series", profile), profile, frame, {})

    def _run(self, on: On, table: pd.DataFrame) -> list[Outcome]:
        """The outcomes of the entries about rows or series. Raises `JobError`."""
        chosen = [(number, entry) for number, about, entry in self.entries if about == on]
        suite = {"name": f"user_{on}", "expectations": [entry for _, entry in chosen]}
        try:
            return run_suite(suite, table, places="first" if on == "rows" else "all")
        except CannotRunError as error:
            number, entry = chosen[error.number]
            raise JobError(
                f"{_place(self.path, number, entry['type'])}: Great Expectations cannot evaluate it on a data frame: "
                f"{error.reason}; columns there are {', '.join(table.columns)}"
            ) from error


def load_user_suite(job: Job) -> UserSuite | None:
    """Read and check the suite of a job; None where it has none. Raises `JobError`."""
    if job.validation.suite is None:
        return None
    path = job.resolve(job.validation.suite)
    try:
        suite = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobError(
            f"validation.suite: cannot read {path} ({error.strerror}); the path is relative to the job file's folder"
        ) from error
    except ValueError as error:  # no JSON, or no UTF-8
        raise JobError(f"validation.suite {path} is not valid JSON: {error}; {EXAMPLE}") from error
    entries = suite.get("expectations") if isinstance(suite, dict) else None
    if not isinstance(entries, list) or not entries:
        raise JobError(f"validation.suite {path}: expectations must be a list of at least one; {EXAMPLE}")
    return UserSuite(path, [_checked(number, entry, path, job) for number, entry in enumerate(entries, start=1)])


def _checked(number: int, content: Any, path: Path, job: Job) -> tuple[int, On, dict[str, Any]]:
    """One entry as GX reads it. Raises `JobError`."""
    try:
        entry = _Entry.model_validate(content)
    except ValidationError as error:
        raise JobError(f"validation.suite {path}, expectation {number}: {explain(error, _Entry)}; {EXAMPLE}") from error
    place, on = _place(path, number, entry.type), entry.meta.on
    problem = problem_of(entry.model_dump(include={"type", "kwargs", "severity"}))
    if problem:
        raise JobError(f"{place}: {problem}")
    there = list(PROFILE) if on == "series" else [*KEYS, *job.columns.values]
    named = _columns_of(entry.kwargs)
    absent = [name for name in named if name not in there]
    if absent:
        raise JobError(f"{place}: there is no column {absent[0]!r} on {on}; columns are {', '.join(there)}")
    arguments = ", ".join(f"{name} {value}" for name, value in entry.kwargs.items())
    what = entry.meta.what or f"{on} that break {entry.type} ({arguments})"
    meta = {"rule": entry.meta.rule or f"suite:{entry.type}", "what": what}
    if len(named) == 1:
        meta["column"] = named[0]
    if on == "series":
        meta["why"] = _why(what, named)
    return number, on, {"type": entry.type, "kwargs": entry.kwargs, "severity": entry.severity, "meta": meta}


def _columns_of(kwargs: dict[str, Any]) -> list[str]:
    """The columns that an expectation looks at; those of a `column_set` may be absent, that is what it is about."""
    one = [kwargs[name] for name in ("column", "column_A", "column_B") if name in kwargs]
    return list(map(str, [*one, *kwargs.get("column_list", [])]))


def _why(what: str, named: Sequence[str]) -> str:
    """Why one series is left out, as a template that the columns of the profile fill."""
    values = ", ".join(f"{name} is ${name}" for name in named)
    text = what.replace("$", "$$")
    return f"$target is among the {text}{': ' if values else ''}{values}"


def _place(path: Path, number: int, kind: str) -> str:
    return f"validation.suite {path}, expectation {number} ({kind})"
