"""The report: one HTML file with a run's verdict, scores, forecasts and data; needs no network.

In: `ReportInputs`, references to what the run left behind. Out: the HTML file, and a short Markdown
text and the score table as Prefect artifacts. A part that was no step of the run is left out with a
sentence that says so; a file that is named but missing fails with `FileNotFoundError`.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from tasks.job import Job
from tasks.panel import PanelRef, read_panel
from tasks.quality import Change, Check, Quarantine
from tasks.verdict import (
    METRICS,
    Verdict,
    best_models,
    is_baseline,
    judge,
    model_label,
    period_name,
    pick_candidate,
    score_table,
)
from tasks.whole_files import whole_file

__all__ = ["ReportInputs", "publish_report", "report_markdown", "score_table", "write_report"]

HEADINGS = {"mase": "MASE", "wql": "WQL", "nd": "ND", "coverage_80": "Coverage of 80%"}
SHOWN_ROWS = 50  # rows of a table that can be long
SEVERITIES = ["critical", "warning", "info"]
ABSENT = {
    "backtest": "This run made no backtest, so there are no scores and no forecasts to compare.",
    "forecast": "This run made no forecast from the end of the data.",
    "training": "This run trained no model.",
}


class ReportInputs(BaseModel):
    """What a report is made of: the job, small records, and references to what lies on disk."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: Job
    flow: str = "run"  # which flow made it
    facts: dict[str, str]  # of the header, in order: what ran, when, which model, its licence, ...
    checks: list[Check]
    quarantined: list[Quarantine]
    changes: list[Change]
    panel: PanelRef  # the clean one
    backtest_folder: str | None = None
    candidate: str | None = None  # model_name the report is about; None: best that is no baseline
    forecast_path: str | None = None  # forecast frame with model_name and model_version
    loss_path: str | None = None  # step, train_loss, validation_loss (NaN where not evaluated)
    next_steps: list[str] = []  # sentences; `commands` in backticks

    @property
    def noun(self) -> str:
        """What the candidate is called in sentences."""
        return "fine-tuned model" if self.loss_path else "model"

    def label(self, model: str) -> str:
        """A model's name for people."""
        season = self.job.season_length
        return model_label(model, frequency=self.job.frequency, season=season)


def write_report(inputs: ReportInputs, path: Path) -> Path:
    """Write the HTML report, whole or not at all.

    Args:
        inputs: what the run left behind.
        path: the file; its folder is made when missing.

    Returns:
        The path.
    """
    page = _environment().get_template("report.html").render(_content(inputs))
    with whole_file(path) as made:
        made.write_text(page, encoding="utf-8")
    return path


def report_markdown(inputs: ReportInputs) -> str:
    """The report in short: verdict, score table, data quality, paths."""
    verdict = _verdict(inputs)
    lines = [f"# {_plain(inputs.job.name)}: {_plain(verdict.headline)}", ""]
    told = [f"{name}: {_plain(inputs.facts[name])}" for name in ("Model", "Stands at") if name in inputs.facts]
    lines += [f"- {sentence}" for sentence in [*told, *verdict.sentences, _data_sentence(inputs)]]
    if inputs.backtest_folder:
        rows = score_table(inputs.backtest_folder)
        lines += ["", "| model | " + " | ".join([*HEADINGS.values(), "windows"]) + " |"]
        lines += ["|---|" + "---:|" * (len(HEADINGS) + 1)]
        for row in rows:
            cells = [_plain(inputs.label(row["model"])), *(_score(row[m], m) for m in METRICS)]
            lines += ["| " + " | ".join([*cells, f"{row['windows']:,}"]) + " |"]
    found = [check for check in _by_weight(inputs.checks) if not check.passed]
    lines += ["", *(f"- **{check.severity}** {_plain(check.message)}" for check in found)]
    lines += ["", "| what | where |", "|---|---|"]
    lines += [f"| {name} | {_plain(place)} |" for name, place in _places(inputs)]
    return "\n".join(lines) + "\n"


def report_path(inputs: ReportInputs) -> Path:
    """Where the report of a run lies: the same results give the same name."""
    made = [inputs.panel.digest, inputs.backtest_folder, inputs.candidate, inputs.forecast_path]
    digest = hashlib.sha256("\n".join(map(str, [*made, inputs.loss_path])).encode()).hexdigest()
    name = f"{inputs.job.name}-{pd.Timestamp(inputs.panel.end):%Y%m%dT%H%M}-{digest[:8]}.html"
    return inputs.job.workspace_path / "reports" / name


def _content(inputs: ReportInputs) -> dict[str, Any]:
    """Everything that the template shows."""
    job, panel = inputs.job, inputs.panel
    span = f"{pd.Timestamp(panel.start):%Y-%m-%d %H:%M} to {pd.Timestamp(panel.end):%Y-%m-%d %H:%M}"
    own = {
        "Data": f"{panel.items:,} series, {panel.rows:,} rows",
        "Time span": span,
        "Panel digest": panel.digest,
    }
    rows = score_table(inputs.backtest_folder) if inputs.backtest_folder else []
    return {
        "job": job,
        "rhythm": period_name(job.frequency, 1) or f"every {job.frequency}",
        "facts": inputs.facts | {name: own[name] for name in own if name not in inputs.facts},
        "verdict": _verdict(inputs),
        "data_sentence": _data_sentence(inputs),
        "absent": ABSENT,
        "headings": HEADINGS,
        "rows": [row | {"label": inputs.label(row["model"])} for row in rows],
        "candidate": pick_candidate(rows, inputs.candidate) if rows else None,
        "best": best_models(rows),
        "is_baseline": is_baseline,
        "series": panel.items * len(job.columns.target),
        "figures": _figures(inputs),
        "checks": _by_weight(inputs.checks),
        "quarantined": inputs.quarantined,
        "changes": inputs.changes,
        "shown": SHOWN_ROWS,
        "settings": job.finetune.model_dump(),
        "trained": inputs.loss_path is not None,
        "places": _places(inputs),
        "next_steps": inputs.next_steps,
    }


def _verdict(inputs: ReportInputs) -> Verdict:
    if not inputs.backtest_folder:
        made = f"Forecast from {inputs.panel.end}, {inputs.job.horizon} steps ahead"
        return Verdict("none", made if inputs.forecast_path else "Accuracy was not measured", [ABSENT["backtest"]])
    return judge(
        inputs.backtest_folder,
        candidate=inputs.candidate,
        noun=inputs.noun,
        frequency=inputs.job.frequency,
        season=inputs.job.season_length,
    )


def _data_sentence(inputs: ReportInputs) -> str:
    failed = [check for check in inputs.checks if not check.passed]
    counts = {name: sum(check.severity == name for check in failed) for name in SEVERITIES}
    found = ", ".join(
        f"{count} {name}{'s' if name == 'warning' and count > 1 else ''}" for name, count in counts.items() if count
    )
    told = f"{len(failed)} of {len(inputs.checks)} failed ({found})" if failed else "all passed"
    checks = f"Data checks: {told}" if inputs.checks else "No data checks ran"
    mended = sum(change.count for change in inputs.changes)
    left_out = len(inputs.quarantined)
    series = "no series" if not left_out else f"{left_out:,} series"
    return f"{checks}; {mended:,} rows or values mended; {series} left out."


def _figures(inputs: ReportInputs) -> dict[str, list[dict[str, str]]]:
    """The figures of each section: caption and inline SVG."""
    from tasks.gallery import Gallery  # noqa: PLC0415 - matplotlib only when a report is written

    gallery = Gallery(
        job=inputs.job,
        panel=read_panel(inputs.panel),
        values=inputs.panel.values,
        backtest_folder=inputs.backtest_folder,
        candidate=inputs.candidate,
        forecast_path=inputs.forecast_path,
        loss_path=inputs.loss_path,
    )
    drawn: dict[str, list[dict[str, str]]] = {}
    for picture in gallery.pictures():
        svg = Markup(picture.svg)  # noqa: S704 - matplotlib escapes all text
        drawn.setdefault(picture.section, []).append({"caption": picture.caption, "svg": svg})
    return drawn


def _by_weight(checks: list[Check]) -> list[Check]:
    """Failed checks first, the severe ones before the others."""
    return sorted(checks, key=lambda check: (check.passed, SEVERITIES.index(check.severity)))


def _places(inputs: ReportInputs) -> list[tuple[str, str]]:
    """What lies where; credentials in a URL are not shown."""
    job = inputs.job
    places = {
        "clean panel": inputs.panel.path,
        "backtest": inputs.backtest_folder,
        "forecast": inputs.forecast_path,
        "training loss": inputs.loss_path,
        "warehouse": job.warehouse,
        "model registry": re.sub(r"//[^/@]*@", "//", job.tracking),
        "workspace": str(job.workspace_path),
        "job folder": str(job.folder),
    }
    return [(name, place) for name, place in places.items() if place]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": _score, "count": "{:,}".format, "code": _code}
    return environment


def _score(value: float | None, metric: str = "") -> str:
    if value is None:
        return "n/a"
    return f"{value:.1%}" if metric == "coverage_80" else f"{value:,.3f}"


def _code(text: str) -> Markup:
    """Escaped text in which `backticks` are code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|~$])", r"\\\1", " ".join(text.split()))


@task(name="publish report", cache_policy=NO_CACHE)
def publish_report(inputs: ReportInputs) -> str:
    """Write the HTML report and the Prefect artifacts; returns the path of the report."""
    path = write_report(inputs, report_path(inputs))
    key = re.sub(r"[^a-z0-9]+", "-", f"{inputs.job.name}-{inputs.flow}").strip("-")
    what = f"{inputs.flow} of {inputs.job.name}"
    markdown = report_markdown(inputs) + f"\nThe whole report: {path}\n"
    create_markdown_artifact(markdown, key=f"{key}-report", description=f"Report: {what}")
    if inputs.backtest_folder:
        rows = score_table(inputs.backtest_folder)
        create_table_artifact(rows, key=f"{key}-scores", description=f"Scores: {what}")
    return str(path)
