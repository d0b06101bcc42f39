"""A decision -> what people find of it: a page, Markdown and JSON on disk, a run in MLflow, artifacts in Prefect.

In: the decision as it was carried out, and the attempt of the flow. Out: a `Recorded`: the paths, and the id of the
run. Fails with `TrackingError`: see `tasks/mlflow_store.py`; a run whose logging fails is closed as FAILED, and the
aliases stay where they are.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from tasks.artifacts import publish_markdown
from tasks.job import Job
from tasks.mlflow_store import RETRY_DELAYS, connect, explained, is_worth_a_retry, one_at_a_time
from tasks.panel import PanelRef
from tasks.promotion.aliases import tag
from tasks.promotion.decision import Decision
from tasks.promotion.figure import has_gains, plot_gains
from tasks.promotion.told import (
    SEGMENTS_SHOWN,
    decision_markdown,
    evidence_sentence,
    explanation,
    rule_rows,
    segment_rows,
    sentences,
    standing_rows,
)
from tasks.report import page_environment
from tasks.tracking import Attempt, track
from tasks.whole_files import whole_file

LONGEST_DESCRIPTION = 5000  # characters of a version's description, MLflow's limit
TONES = {"promoted": "good", "kept": "bad", "unchanged": "none"}
WORDS = {"model", "version", "met", "rule", "asked", "found", "segment", "value"}  # columns that hold no numbers


class Recorded(BaseModel):
    """Where a decision is written down."""

    model_config = ConfigDict(frozen=True)

    page: str  # HTML
    json_path: str
    run_id: str  # in MLflow


def write_decision(job: Job, decision: Decision, facts: Mapping[str, str]) -> dict[str, Path]:
    """Write the decision as `html`, `md` and `json`; the same decision gives the same folder.

    Args:
        job: its workspace takes them.
        decision: as it was carried out.
        facts: of the page's head: when, on which data, by which run.
    """
    text = decision.model_dump_json(indent=2)
    digest = hashlib.sha256("\n".join([text, *facts.values()]).encode()).hexdigest()[:8]
    folder = job.workspace_path / "promotions" / f"{decision.model}-{decision.challenger}-{digest}"
    contents = {
        "html": decision_page(job, decision, facts),
        "md": decision_markdown(decision),
        "json": f"{text}\n",
    }
    paths = {kind: folder / f"decision.{kind}" for kind in contents}
    for kind, path in paths.items():
        with whole_file(path) as made:
            made.write_text(contents[kind], encoding="utf-8")
    return paths


def decision_page(job: Job, decision: Decision, facts: Mapping[str, str]) -> str:
    """The decision as one HTML page that needs no network."""
    evidence, standings, segments = decision.evidence, standing_rows(decision), segment_rows(decision)
    columns = {name for rows in (standings, segments) for row in rows for name in row}
    return (
        page_environment()
        .get_template("decision.html")
        .render(
            decision=decision,
            tone=TONES[decision.outcome],
            reasons=sentences(decision),
            judged=evidence_sentence(evidence) if evidence else "",
            facts=facts,
            standings=standings,
            rules=rule_rows(decision),
            segments=segments,
            numbers=columns - WORDS,
            shown=SEGMENTS_SHOWN,
            explanation=Markup(re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", explanation(decision))),  # noqa: S704 - ours
            figure=_figure(job, decision),
        )
    )


def _figure(job: Job, decision: Decision) -> Markup | None:
    from tasks.plot_style import figure_svg  # noqa: PLC0415 - matplotlib only when there is something to draw

    if decision.evidence is None or not has_gains(decision.evidence):
        return None
    asked = job.promotion
    drawn = plot_gains(decision.evidence, min_gain=asked.min_gain, max_loss=asked.max_loss)
    return Markup(figure_svg(drawn, "gains"))  # noqa: S704 - matplotlib escapes all text


def record_decision(job: Job, attempt: Attempt, decision: Decision, panel: PanelRef) -> Recorded:
    """Write a decision down wherever people look for it, and lead from the version to it.

    Args:
        job: its workspace and MLflow.
        attempt: of the flow.
        decision: as it was carried out.
        panel: the data it was judged on.

    Raises:
        TrackingError: see the module's docstring.
    """
    facts = {"Stands at": str(attempt.as_of), "Run": f"{attempt.flow} {attempt.run_id}", "Panel digest": panel.digest}
    paths = write_decision(job, decision, facts)
    text = paths["md"].read_text(encoding="utf-8")
    evidence, figures = decision.evidence, {}
    metrics: dict[str, float] = {}
    if evidence is not None:
        metrics = {"windows": evidence.windows, "windows_left_out": evidence.left_out}
        for one in evidence.standings:
            found = {"wql": one.wql, "mase": one.mase, "coverage_80": one.coverage, "gain": one.gain}
            metrics |= {f"{one.part}/{name}": value for name, value in found.items() if value is not None}
        if has_gains(evidence):
            asked = job.promotion
            figures = {"gains": plot_gains(evidence, min_gain=asked.min_gain, max_loss=asked.max_loss)}
    run_id = track(
        job,
        attempt,
        "promotion",
        description=text,
        tags={
            "candidate": f"{decision.model} version {decision.challenger}",
            "decision": decision.outcome,
            "challenger": decision.challenger,
            "champion": decision.champion or "none",
        },
        params={},
        metrics=metrics,
        series={},
        tables={
            "models": standing_rows(decision),
            "rules": rule_rows(decision),
            "segments": segment_rows(decision),
        },
        figures=figures,
        files=list(paths.values()),
        panel=panel,
    )
    told = f"{decision.headline}: {decision.reason}"
    publish_markdown(job, attempt.flow, f"{text}\nThe whole decision: {paths['html']}\n", told=told, what="decision")
    _lead_to(job, decision, run_id, f"{told}\n\n{text}")  # the registry's list shows the first words alone
    return Recorded(page=str(paths["html"]), json_path=str(paths["json"]), run_id=run_id)


def _lead_to(job: Job, decision: Decision, run_id: str, text: str) -> None:
    """Describe the version by the decision, and name its run; a version that is gone by now is left alone."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see `connect`

    client = connect(job)
    with one_at_a_time(job), explained(job):
        try:
            tag(client, job, decision.challenger, {"promotion_run": run_id})
            client.update_model_version(job.name, decision.challenger, text[:LONGEST_DESCRIPTION])
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise


@task(
    name="record decision",
    task_run_name="record decision",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def publish_decision(job: Job, attempt: Attempt, decision: Decision, panel: PanelRef) -> Recorded:
    """Write a decision down wherever people look for it: see `record_decision`."""
    return record_decision(job, attempt, decision, panel)
