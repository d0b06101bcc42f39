"""The fine-tuning flow, and the event by which others learn of a new challenger."""

from datetime import datetime
from pathlib import Path

from prefect import flow
from prefect.events import emit_event

from flows.prepare import prepare
from flows.run import recorded
from flows.summary import Outcome, Summary
from tasks.model_reference import resolve
from tasks.register import register
from tasks.report import publish_report
from tasks.stages import track_training
from tasks.train import train

REGISTERED = "moirai.challenger.registered"  # what the trigger of a promotion waits for


@flow(
    name="finetune",
    flow_run_name="finetune {job_file}",
    description="Fine-tune the base model before the backtest span and register it as the challenger.",
)
def finetune(job_file: str, as_of: datetime | None = None) -> Summary:
    """Fine-tune the base model before the backtest span and register it as the challenger.

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
        summary = outcome.summary(publish_report(outcome.report_inputs()))
        announce(run.job.name, str(Path(job_file).resolve()), run.model.version, as_of)
        return summary


def announce(job: str, job_file: str, version: str, as_of: datetime | None) -> None:
    """Tell Prefect's server that there is a challenger; where that fails, its client logs it and the run goes on.

    Args:
        job: name of the job.
        job_file: absolute path of the job file: whoever promotes gets it, and works in another folder.
        version: of the registered model.
        as_of: moment the fine-tuning stood at; None: the end of the data.
    """
    resource = {"prefect.resource.id": f"moirai.job.{job}", "prefect.resource.name": job}
    payload = {"job_file": job_file, "version": version, "as_of": None if as_of is None else as_of.isoformat()}
    emit_event(REGISTERED, resource=resource, payload=payload)
