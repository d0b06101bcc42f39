"""The forecast flow: what a schedule runs."""

from datetime import datetime

from prefect import flow

from flows.prepare import prepare
from flows.run import recorded
from flows.summary import Outcome, Summary
from tasks.forecast import make_forecasts
from tasks.model_reference import resolve
from tasks.report import publish_report
from tasks.warehouse import store_forecasts


@flow(
    name="forecast",
    flow_run_name="forecast {job_file}",
    description="Forecast from the end of the data with the job's model and write the warehouse.",
)
def forecast(job_file: str, as_of: datetime | None = None) -> Summary:
    """Forecast from the end of the data with the job's model and write the warehouse.

    Args:
        job_file: path of the job file.
        as_of: moment the run stands at; later rows are not seen. None: the end of the data.
    """
    with recorded(job_file, "forecast", as_of) as run:
        run.model = resolve(run.job, run.job.model)
        data = prepare(run, forecasting=True)
        attempt = run.attempt(data)
        made = make_forecasts(run.job, data.panel, run.model)
        run.rows["forecasts"] = store_forecasts(run.job, made.path, run_id=run.run_id, issued_at=run.started_at)
        outcome = Outcome(run, data, attempt, model=run.model, forecasts=made)
        return outcome.summary(publish_report(outcome.report_inputs()))
