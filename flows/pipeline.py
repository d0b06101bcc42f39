"""The pipeline: everything, from the source to forecasts in the warehouse and a report."""

from datetime import datetime

from prefect import flow

from flows.prepare import prepare
from flows.run import recorded
from flows.summary import Outcome, Summary
from tasks.backtest import run_backtest
from tasks.forecast import make_forecasts
from tasks.model_reference import resolve
from tasks.promotion.carry_out import apply_decision
from tasks.promotion.contest import contest_of
from tasks.promotion.judge import ALSO_SCORED, decide_contest
from tasks.promotion.record import publish_decision
from tasks.register import register
from tasks.report import publish_report
from tasks.stages import track_backtest, track_training
from tasks.tracking import track_report
from tasks.train import train
from tasks.warehouse import store_forecasts, store_scores


@flow(
    name="pipeline",
    flow_run_name="pipeline {job_file}",
    description="Everything from the source to forecasts in the warehouse and a report.",
)
def pipeline(job_file: str, as_of: datetime | None = None) -> Summary:
    """Ingest, validate, transform, fine-tune, register, backtest, promote, forecast, store, report.

    The fine-tuned version becomes `champion` by the rule of the promotion flow, and forecasts; otherwise the present
    champion does, or the base where there is none. A run with `as_of` forecasts by the same rule, against the base
    alone, and moves no alias: what serves today is not decided in the past.

    Args:
        job_file: path of the job file.
        as_of: moment the run stands at; later rows are not seen. None: the end of the data.
    """
    with recorded(job_file, "pipeline", as_of) as run:
        job, is_present = run.job, as_of is None
        base = resolve(job, job.finetune.base)
        others = [resolve(job, reference) for reference in job.backtest.models]
        data = prepare(run, forecasting=True)
        attempt = run.attempt(data)
        trained = train(job, data.panel, base)
        training = track_training(job, attempt, trained, data.panel)
        candidate = register(job, **trained.registration, panel=data.panel, run_id=training, challenger=is_present)
        contest = contest_of(job, candidate, with_champion=is_present)
        tested = run_backtest(job, data.panel, [*contest.models, base, *others], ALSO_SCORED)
        run.rows["scores"] = store_scores(
            job, tested.scores_path, config_hash=tested.config_hash, panel_digest=data.panel.digest, run_id=run.run_id
        )
        tracked = track_backtest(job, attempt, tested, data.panel, candidate=tested.label(candidate))
        decision = decide_contest(job, data.panel, contest, tested)
        if is_present and decision.outcome != "unchanged":
            decision = apply_decision(job, contest, decision, run_id=run.run_id)
            publish_decision(job, attempt, decision, data.panel)
        run.model = contest.champion or contest.base if decision.outcome == "kept" else candidate
        made = make_forecasts(job, data.panel, run.model)
        run.rows["forecasts"] = store_forecasts(job, made.path, run_id=run.run_id, issued_at=run.started_at)
        outcome = Outcome(
            run,
            data,
            attempt,
            trained=trained,
            model=run.model,
            tested=tested,
            forecasts=made,
            tracked=tracked,
            decision=decision,
        )
        report = publish_report(outcome.report_inputs())
        track_report(job, tracked, report)
        return outcome.summary(report)
