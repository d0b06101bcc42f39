"""The flows that say which version serves: promote judges the challenger, rollback goes back."""

from datetime import datetime
from typing import Any, Literal

from prefect import flow
from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from flows.prepare import prepare
from flows.run import Run, recorded
from tasks.backtest import BacktestResult, run_backtest
from tasks.calendar import is_past, stand
from tasks.ingest import ingest
from tasks.job import load_job
from tasks.mlflow_store import tracking_place
from tasks.model_reference import CHAMPION, resolve
from tasks.panel import PanelRef
from tasks.promotion.aliases import restore
from tasks.promotion.carry_out import apply_decision
from tasks.promotion.contest import Contest, contest_of
from tasks.promotion.decision import Decision, is_champion_already
from tasks.promotion.judge import ALSO_SCORED, decide_contest
from tasks.promotion.record import publish_decision
from tasks.promotion.told import evidence_sentence, rule_rows, segment_rows, sentences, standing_rows
from tasks.recall import as_known
from tasks.register import alias_version
from tasks.transform import transform
from tasks.validate import validate
from tasks.warehouse import known_items, store_scores


class PromotionSummary(BaseModel):
    """Outcome of `promote`."""

    model_config = ConfigDict(frozen=True)

    job: str
    flow: Literal["promote"] = "promote"
    run_id: str
    as_of: str
    dry_run: bool  # nothing was written, and no alias moved
    outcome: Literal["promoted", "kept", "unchanged"]
    headline: str
    reason: str
    challenger: str  # version
    champion: str | None  # version that serves from now on; None: there is none
    decision: Decision  # with the table
    places: dict[str, str]  # what lies where


class RollbackSummary(BaseModel):
    """Outcome of `rollback`."""

    model_config = ConfigDict(frozen=True)

    job: str
    flow: Literal["rollback"] = "rollback"
    run_id: str
    champion: str  # version that serves again
    previous: str | None  # version that was rolled back
    reason: str
    at: str


@flow(
    name="promote",
    flow_run_name="promote {job_file}",
    description="Judge the challenger on the present data, and make it champion where it is better.",
)
def promote(job_file: str, as_of: datetime | None = None, dry_run: bool = False) -> PromotionSummary:  # noqa: FBT001, FBT002
    """Judge the challenger against champion, pretrained base and seasonal naive; move `champion` where it is earned.

    Args:
        job_file: path of the job file.
        as_of: moment the run stands at; later rows are not seen. None: the end of the data.
        dry_run: judge only: no alias moves, and nothing is written to warehouse or registry.
    """
    if dry_run:
        return _look_only(job_file, as_of)
    with recorded(job_file, "promote", as_of) as run:
        job = run.job
        contest = contest_of(job)
        if contest.is_over:
            run.model = contest.challenger
            return _outcome(run, contest, is_champion_already(job.name, contest.challenger.version))
        data = prepare(run)
        attempt = run.attempt(data)
        tested = _tested(run, data.panel, contest)
        if tested is not None:
            run.rows["scores"] = store_scores(
                job,
                tested.scores_path,
                config_hash=tested.config_hash,
                panel_digest=data.panel.digest,
                run_id=run.run_id,
            )
        decision = decide_contest(job, data.panel, contest, tested)
        decision = apply_decision(job, contest, decision, run_id=run.run_id)
        run.model = contest.challenger if decision.promoted else contest.champion or contest.base
        written = publish_decision(job, attempt, decision, data.panel)
        places = {"decision": written.page, "as JSON": written.json_path, "tracking": tracking_place(job)}
        return _outcome(run, contest, decision, places=places)


@flow(
    name="rollback",
    flow_run_name="rollback {job_file}",
    description="Make the version that served before the champion again.",
)
def rollback(job_file: str, reason: str = "") -> RollbackSummary:
    """Make `previous` the champion again; a second rollback undoes the first.

    Args:
        job_file: path of the job file.
        reason: why, in words; kept with both versions.
    """
    with recorded(job_file, "rollback", None) as run:
        made = restore(run.job, run_id=run.run_id, reason=reason)
        run.model = resolve(run.job, f"models:/{run.job.name}/{made.champion}")
        return RollbackSummary(
            job=run.job.name,
            run_id=run.run_id,
            champion=made.champion,
            previous=made.previous,
            reason=made.reason,
            at=made.at,
        )


def show(done: PromotionSummary | RollbackSummary) -> None:
    """Print what was decided, and on what grounds."""
    console = Console()
    console.rule(f"[bold]{done.flow}[/bold] of {done.job}")
    if isinstance(done, RollbackSummary):
        console.print(f"Version {done.champion} is champion again.", style="bold", highlight=False)
        if done.previous is not None:
            console.print(f"Version {done.previous} is `previous` now; a second rollback brings it back.", markup=False)
        return
    tried = " (nothing was changed: dry run)" if done.dry_run else ""
    console.print(f"{done.headline}{tried}", style="bold", markup=False, highlight=False)
    for reason in sentences(done.decision):
        console.print(reason, markup=False, highlight=False, soft_wrap=True)
    if done.decision.evidence is not None:
        console.print(evidence_sentence(done.decision.evidence), markup=False, highlight=False, soft_wrap=True)
    for note in done.decision.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    for title, rows in (
        ("Models on the same windows", standing_rows(done.decision)),
        ("Rules", rule_rows(done.decision)),
        ("Segments", segment_rows(done.decision)),
    ):
        if rows:
            console.print(_table(title, rows))
    for name, place in done.places.items():
        console.print(f"{name}: {place}", markup=False, highlight=False, soft_wrap=True)


def _look_only(job_file: str, as_of: datetime | None) -> PromotionSummary:
    """Judge without leaving anything but files in the workspace."""
    job = load_job(job_file)
    run = Run(job, job_file, "promote", None if as_of is None else stand(as_of, job.time_zone))
    contest = contest_of(job, repair=False)
    if contest.is_over:
        return _outcome(run, contest, is_champion_already(job.name, contest.challenger.version), dry_run=True)
    raw = ingest(job, run.as_of)
    checked = validate(job, raw, run.as_of, forecasting=False, known_items=known_items(job, run.known_until))
    panel = transform(job, raw, [one.item_id for one in checked.quarantined]).panel
    if run.as_of is not None and is_past(job, run.as_of, run.started_at):
        panel = as_known(job, panel, run.as_of)
    run.as_of = run.as_of or panel.end
    decision = decide_contest(job, panel, contest, _tested(run, panel, contest))
    return _outcome(run, contest, decision, dry_run=True)


def _tested(run: Run, panel: PanelRef, contest: Contest) -> BacktestResult | None:
    """The backtest of the contest; None where no score could change the outcome."""
    if contest.refused:
        return None
    return run_backtest(run.job, panel, contest.models, ALSO_SCORED)


def _outcome(
    run: Run, contest: Contest, decision: Decision, *, dry_run: bool = False, places: dict[str, str] | None = None
) -> PromotionSummary:
    serves = contest.champion_alias if dry_run else alias_version(run.job, CHAMPION)
    return PromotionSummary(
        job=run.job.name,
        run_id=run.run_id,
        as_of="the end of the data" if run.as_of is None else str(run.as_of),
        dry_run=dry_run,
        outcome=decision.outcome,
        headline=decision.headline,
        reason=decision.reason,
        challenger=decision.challenger,
        champion=serves,
        decision=decision,
        places=places or {},
    )


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(str(value).replace("[", r"\[") for value in row.values()))
    return table
