"""The report: one HTML file with a run's verdict, scores, forecasts and data; needs no network.

In: `ReportInputs`, references to what the run left behind. Out: the HTML file, and as Prefect artifacts a short
Markdown text and the tables of scores, checks, quarantined series and changes. A part that was no step of the run is
left out with a sentence that says so; a file that is named but missing fails with `FileNotFoundError`.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from tasks.artifacts import plain, publish_findings, publish_markdown, publish_table
from tasks.findings import Findings, Rows, places
from tasks.job import Job
from tasks.panel import PanelRef, read_beside, read_panel
from tasks.pooling import MOST_VALUES, Segments, segment_rows, segments
from tasks.secrets import redacted
from tasks.training.scores import written
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
TOLD_ROWS = 5  # series left out that the Markdown names
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
    findings: Findings  # checks, quarantined series and changes
    panel: PanelRef  # the clean one
    backtest_folder: str | None = None
    candidate: str | None = None  # model_name the report is about; None: best that is no baseline
    forecast_path: str | None = None  # forecast frame with model_name and model_version
    loss_path: str | None = None  # step, train_loss, validation_loss (NaN where not evaluated)
    training: dict[str, str] = {}  # how it was done, with what the series decided
    held_out: Rows = []  # scores of the windows that the training held out: before, after, seasonal naive
    next_steps: list[str] = []  # sentences; `commands` in backticks
    seen: list[str] = []  # what scored models may have seen of the windows in training, a sentence each

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
    page = page_environment().get_template("report.html").render(_content(inputs))
    with whole_file(path) as made:
        made.write_text(page, encoding="utf-8")
    return path


def report_markdown(inputs: ReportInputs) -> str:
    """The report in short: verdict, score table, data quality, paths."""
    verdict = _verdict(inputs)
    lines = [f"# {plain(inputs.job.name)}: {plain(verdict.headline)}", ""]
    told = [f"{name}: {plain(inputs.facts[name])}" for name in ("Model", "Stands at") if name in inputs.facts]
    lines += [f"- {sentence}" for sentence in [*told, *verdict.sentences, inputs.findings.sentence()]]
    if inputs.backtest_folder:
        rows = score_table(inputs.backtest_folder)
        lines += ["", "| model | " + " | ".join([*HEADINGS.values(), "windows"]) + " |"]
        lines += ["|---|" + "---:|" * (len(HEADINGS) + 1)]
        for row in rows:
            cells = [plain(inputs.label(row["model"])), *(_score(row[m], m) for m in METRICS)]
            lines += ["| " + " | ".join([*cells, f"{row['windows']:,}"]) + " |"]
    lines += ["", *(f"- **seen in training** {plain(one)}" for one in inputs.seen)] if inputs.seen else []
    lines += _held_out_lines(inputs.held_out)
    lines += ["", *_findings_in_short(inputs), "", "| what | where |", "|---|---|"]
    lines += [f"| {name} | {plain(place)} |" for name, place in _places(inputs)]
    return "\n".join(lines) + "\n"


def _held_out_lines(rows: Rows) -> list[str]:
    """What fine-tuning brought on the windows that it held out, as a table."""
    if not rows:
        return []
    lines = ["", "Held-out windows of the training span:", "", "| model | WQL | MASE |", "|---|---:|---:|"]
    return lines + [f"| {plain(row['model'])} | {written(row['wql'], 4)} | {written(row['mase'], 3)} |" for row in rows]


def _findings_in_short(inputs: ReportInputs) -> list[str]:
    """What was found, who was left out and what was done, one line each."""
    found = inputs.findings
    lines = [f"- **{check.severity}** {plain(check.message)}" for check in found.failed]
    for series in found.quarantined[:TOLD_ROWS]:
        where = places(series.first_rows, inputs.panel)
        lines += [f"- **left out** {plain(series.item_id)}: {plain(series.why)}" + (f" ({where})" if where else "")]
    if (more := len(found.quarantined) - TOLD_ROWS) > 0:
        lines += [f"- **left out** … and {more:,} more"]
    return lines + [f"- **mended** {plain(change.message)}" for change in found.changes]


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
    compared = _compared(inputs, rows)
    return {
        "job": job,
        "rhythm": period_name(job.frequency, 1) or f"every {job.frequency}",
        "facts": inputs.facts | {name: own[name] for name in own if name not in inputs.facts},
        "verdict": _verdict(inputs),
        "data_sentence": inputs.findings.sentence(),
        "absent": ABSENT,
        "headings": HEADINGS,
        "seen": inputs.seen,
        "rows": [row | {"label": inputs.label(row["model"])} for row in rows],
        "candidate": pick_candidate(rows, inputs.candidate) if rows else None,
        "best": best_models(rows),
        "is_baseline": is_baseline,
        "series": panel.items * len(job.columns.target),
        "figures": _figures(inputs),
        "segments": _segments(inputs, compared),
        "segment_models": compared,
        "label": inputs.label,
        "most_values": MOST_VALUES,
        "tables": inputs.findings.tables(panel),
        "shown": SHOWN_ROWS,
        "settings": job.finetune.model_dump() | inputs.training,
        "held_out": inputs.held_out,
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


def _compared(inputs: ReportInputs, rows: list[dict[str, Any]]) -> list[str]:
    """The candidate and the best baseline, which segments compare."""
    if not rows:
        return []
    candidate = pick_candidate(rows, inputs.candidate)
    return [candidate, *[row["model"] for row in rows if is_baseline(row["model"]) and row["model"] != candidate][:1]]


def _segments(inputs: ReportInputs, models: list[str]) -> list[Segments]:
    """Scores per static value; none without static columns or a backtest."""
    static = read_beside(inputs.panel.static_path)
    if static is None or not inputs.backtest_folder:
        return []
    return segments(inputs.backtest_folder, static, models)


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


def _places(inputs: ReportInputs) -> list[tuple[str, str]]:
    """What lies where; credentials in a URL are not shown."""
    job = inputs.job
    places = {
        "clean panel": inputs.panel.path,
        "backtest": inputs.backtest_folder,
        "forecast": inputs.forecast_path,
        "training loss": inputs.loss_path,
        "warehouse": redacted(job.warehouse),
        "model registry": redacted(job.tracking),
        "workspace": str(job.workspace_path),
        "job folder": str(job.folder),
    }
    return [(name, place) for name, place in places.items() if place]


def page_environment() -> jinja2.Environment:
    """How templates become pages: text is escaped, and a name that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": _score, "count": "{:,}".format, "code": _code, "written": written}
    return environment


def _score(value: float | None, metric: str = "") -> str:
    if value is None:
        return "n/a"
    return f"{value:.1%}" if metric == "coverage_80" else f"{value:,.3f}"


def _code(text: str) -> Markup:
    """Escaped text in which `backticks` are code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


@task(name="publish report", task_run_name="publish report", cache_policy=NO_CACHE)
def publish_report(inputs: ReportInputs) -> str:
    """Write the HTML report and the Prefect artifacts; returns the path of the report."""
    path = write_report(inputs, report_path(inputs))
    job, flow = inputs.job, inputs.flow
    text = report_markdown(inputs) + f"\nThe whole report: {path}\n"
    publish_markdown(job, flow, text, told=_verdict(inputs).headline)
    publish_findings(job, flow, inputs.findings, inputs.panel)
    if inputs.held_out:
        told = ", ".join(f"{row['model']} {written(row['wql'], 4)}" for row in inputs.held_out)
        publish_table(job, flow, "held-out", inputs.held_out, told=f"WQL of the held-out windows: {told}")
    if inputs.backtest_folder:
        rows = score_table(inputs.backtest_folder)
        lowest = f"lowest WQL {_score(rows[0]['wql'])}, of {inputs.label(rows[0]['model'])}"
        publish_table(job, flow, "scores", rows, told=lowest)
        by_segment = _segments(inputs, [row["model"] for row in rows])
        if table := segment_rows(by_segment):
            publish_table(job, flow, "segments", table, told="scores by static column")
    return str(path)
