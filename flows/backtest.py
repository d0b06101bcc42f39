"""The backtest flow."""

from datetime import datetime

from prefect import flow

from flows.prepare import prepare
from flows.run import recorded
from flows.summary import Outcome, Summary
from tasks.backtest import run_backtest
from tasks.model_reference import resolve
from tasks.report import publish_report
from tasks.stages import track_backtest
from tasks.tracking import track_report
from tasks.warehouse import store_scores


@flow(
    name="backtest",
    flow_run_name="backtest {job_file}",
    description="Score models and baselines side by side on the same windows.",
)
def backtest(job_file: str, as_of: datetime | None = None, models: list[str] | None = None) -> Summary:
    """Score models and baselines side by side on the same windows.

    Args:
        job_file: path of the job file.
        as_of: moment the run stands at; later rows are not seen. None: the end of the data.
        models: model references; None: those of the job file.
    """
    with recorded(job_file, "backtest", as_of) as run:
        pinned = [resolve(run.job, reference) for reference in models or run.job.backtest_models]
        data = prepare(run)
        attempt = run.attempt(data)
        tested = run_backtest(run.job, data.panel, pinned)
        run.rows["scores"] = store_scores(
            run.job,
            tested.scores_path,
            config_hash=tested.config_hash,
            panel_digest=data.panel.digest,
            run_id=run.run_id,
        )
        run.model = pinned[0]
        tracked = track_backtest(run.job, attempt, tested, data.panel, candidate=tested.label(run.model))
        outcome = Outcome(run, data, attempt, model=run.model, tested=tested, tracked=tracked)
        report = publish_report(outcome.report_inputs())
        track_report(run.job, tracked, report)
        return outcome.summary(report)
