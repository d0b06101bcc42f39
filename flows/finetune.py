"""The fine-tuning flow."""

from datetime import datetime

from prefect import flow

from flows.prepare import prepare
from flows.run import recorded
from flows.summary import Outcome, Summary
from tasks.model_reference import resolve
from tasks.register import register
from tasks.report import publish_report
from tasks.stages import track_training
from tasks.train import train


@flow(
    name="finetune",
    flow_run_name="finetune {job_file}",
    description="Fine-tune the base model before the backtest span and register it as a version.",
)
def finetune(job_file: str, as_of: datetime | None = None) -> Summary:
    """Fine-tune the base model before the backtest span and register it as a version without an alias.

    Args:
        job_file: path of the job file.
        as_of: moment the run stands at; later rows are not seen. None: the end of the data.
    """
    with recorded(job_file, "finetune", as_of) as run:
        base = resolve(run.job, run.job.finetune.base)
        data = prepare(run)
        attempt = run.attempt(data)
        trained = train(run.job, data.panel, base)
        tracked = track_training(run.job, attempt, trained, data.panel)
        run.model = register(run.job, **trained.registration, panel=data.panel, run_id=tracked)
        outcome = Outcome(run, data, attempt, trained=trained, model=run.model, tracked=tracked)
        return outcome.summary(publish_report(outcome.report_inputs()))
