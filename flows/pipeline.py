"""The pipeline: everything, from the source to forecasts in the warehouse and a report."""

from datetime import datetime

from prefect import flow

from flows.prepare import prepare
from flows.run import recorded
from flows.summary import Outcome, Summary
from tasks.backtest import run_backtest
from tasks.forecast import make_forecasts
from tasks.model_reference import resolve
from tasks.register import choose_alias, promote, register
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

    The fine-tuned version becomes `champion` when it is not worse than its base on the same windows, and forecasts. A
    run with `as_of` forecasts by the same rule but moves no alias: what serves today is not decided in the past.

    Args:
        job_file: path of the job file.
        as_of: moment the run stands at; later rows are not seen. None: the end of the data.
    """
    with recorded(job_file, "pipeline", as_of) as run:
        job = run.job
        base = resolve(job, job.finetune.base)
        others = [resolve(job, reference) for reference in job.backtest.models]
        data = prepare(run, forecasting=True)
        attempt = run.attempt(data)
        trained = train(job, data.panel, base)
        training = track_training(job, attempt, trained, data.panel)
        candidate = register(job, **trained.registration, panel=data.panel, run_id=training)
        tested = run_backtest(job, data.panel, [candidate, base, *others])
        run.rows["scores"] = store_scores(
            job, tested.scores_path, config_hash=tested.config_hash, panel_digest=data.panel.digest, run_id=run.run_id
        )
        tracked = track_backtest(job, attempt, tested, data.panel, candidate=tested.label(candidate))
        losses = {"candidate_wql": tested.wql(candidate), "base_wql": tested.wql(base)}
        decision = promote(job, candidate, **losses) if as_of is None else choose_alias(**losses)
        run.model = candidate if decision == "champion" else base
        made = make_forecasts(job, data.panel, run.model)
        run.rows["forecasts"] = store_forecasts(job, made.path, run_id=run.run_id, issued_at=run.started_at)
        outcome = Outcome(
            run, data, attempt, trained=trained, model=run.model, tested=tested, forecasts=made, tracked=tracked
        )
        report = publish_report(outcome.report_inputs())
        track_report(job, tracked, report)
        return outcome.summary(report)
