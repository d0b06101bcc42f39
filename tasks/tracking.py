"""MLflow runs: every stage of a flow leaves one, with settings, data, figures and files.

In: the job, and what a stage found. Out: the id of the run. Fails with `TrackingError`: see
`tasks/mlflow_store.py`. A run whose logging fails is closed as FAILED.
"""

import json
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from tasks.experiment import NOTE, open_experiment
from tasks.findings import Findings, Rows
from tasks.job import Job
from tasks.mlflow_store import (
    RETRY_DELAYS,
    connect,
    explained,
    is_worth_a_retry,
    tracking_uri,
)
from tasks.naming import run_name
from tasks.panel import Moment, PanelRef
from tasks.secrets import redacted

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

__all__ = [
    "Attempt",
    "add_report",
    "closed",
    "log_run",
    "log_values",
    "metric_name",
    "open_experiment",
    "own_version",
    "track",
    "track_report",
    "tracking_uri",
]

PARAMS_AT_ONCE, METRICS_AT_ONCE = 100, 1000  # MLflow's limits of one batch
LONGEST_PARAM, LONGEST_TAG, LONGEST_KEY = 6000, 8000, 250  # characters, MLflow's limits

logger = logging.getLogger(__name__)


class Attempt(BaseModel):
    """The attempt of a flow that a stage is part of, and what it found in its data."""

    model_config = ConfigDict(frozen=True)

    flow: str
    run_id: str  # of the flow run; that of Prefect where there is one
    as_of: Moment  # moment the attempt stands at
    origin: Moment  # last time stamp that it saw
    findings: Findings


def log_run(
    job: Job,
    attempt: Attempt,
    *,
    stage: str,
    description: str,
    tags: Mapping[str, Any],
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    series: Mapping[str, Sequence[tuple[int, float]]],
    tables: Mapping[str, Rows],
    figures: "Mapping[str, Figure]",
    files: Sequence[Path],
    panel: PanelRef,
) -> str:
    """Log one stage as one run; every attempt is a run of its own.

    Args:
        job: its settings become parameters and `job.yaml`.
        attempt: of the flow; names the run and is what it is searched by.
        stage: `finetune` or `backtest`.
        description: Markdown that MLflow shows on top of the run.
        tags: further ones that runs are searched by.
        params: beside the job's settings, which they override.
        metrics: final values; characters MLflow refuses become `_`.
        series: values by step, such as a training loss.
        tables: by name, under `tables/`; those without rows are left out.
        figures: by file name, under `figures/`; PNG where the name has no ending.
        files: files or folders to keep with the run.
        panel: the data; noted by digest, path and size, not copied.

    Returns:
        The id of the run.

    Raises:
        TrackingError: see `tasks/mlflow_store.py`; a run begun is then FAILED.
    """
    experiment = open_experiment(job)
    client = connect(job)
    name = run_name(job, stage, attempt.origin)
    noted = {**_facts(job, attempt, panel), "stage": stage, NOTE: description, **tags}
    with explained(job):
        run = client.create_run(experiment, run_name=name, tags=_texts(noted, LONGEST_TAG))
        run_id = str(run.info.run_id)
        with closed(client, run_id):
            settings = _flatten(_settings(job))
            log_values(client, run_id, params={**settings, **params}, metrics=metrics, series=series)
            _log_panel(client, run_id, job, panel, context=stage)
            text = yaml.safe_dump(_settings(job), sort_keys=False, allow_unicode=True)
            client.log_text(run_id, text, "job.yaml")
            for title, rows in tables.items():
                if rows:
                    client.log_table(run_id, pd.DataFrame(rows), f"tables/{title}.json")
            for title, figure in figures.items():
                file = title if Path(title).suffix else f"{title}.png"
                client.log_figure(run_id, figure, f"figures/{file}")
            for path in files:
                client.log_artifact(run_id, str(path))
    return run_id


def add_report(job: Job, run_id: str, report: str) -> None:
    """Keep the HTML report with a run that has ended, where MLflow shows it. Raises `TrackingError`."""
    client = connect(job)
    with explained(job):
        client.log_artifact(run_id, report, "report")


def _facts(job: Job, attempt: Attempt, panel: PanelRef) -> dict[str, str]:
    """What every run is searched by, and the command that MLflow shows as its source."""
    return {
        "job": job.name,
        "flow": attempt.flow,
        "flow_run_id": attempt.run_id,
        "as_of": str(attempt.as_of),
        "origin": str(attempt.origin),
        "config_hash": job.config_hash(),
        "panel_digest": panel.digest,
        "package_version": own_version(),
        "mlflow.source.name": f"moirai {attempt.flow}",
        "mlflow.source.type": "JOB",
    }


def own_version() -> str:
    """Version of this package."""
    return package_version("moirai-flows")


def metric_name(name: str) -> str:
    """A name that MLflow takes: letters, digits and `_-./: `; `MASE[0.5]` becomes `MASE_0.5`."""
    return re.sub(r"[^\w\-./: ]", "_", name).strip("_/. ")[:LONGEST_KEY]


@contextmanager
def closed(client: "MlflowClient", run_id: str) -> Iterator[None]:
    """End a run: FINISHED, or FAILED when its logging was interrupted."""
    try:
        yield
    except BaseException:
        try:
            client.set_terminated(run_id, status="FAILED")
        except Exception:  # the first error is the one to see
            logger.exception("run %s could not be marked as failed", run_id)
        raise
    client.set_terminated(run_id)


def log_values(
    client: "MlflowClient",
    run_id: str,
    *,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    series: Mapping[str, Sequence[tuple[int, float]]],
    model_id: str | None = None,
) -> None:
    """Log in as few calls as MLflow allows; `model_id`: the model the metrics are of, if one."""
    from mlflow.entities import Metric, Param  # noqa: PLC0415 - see `connect`

    names = [metric_name(name) for name in (*metrics, *series)]
    assert len(set(names)) == len(names), f"two metrics share a name once cleaned: {sorted(names)}"
    now = int(time.time() * 1000)
    curves = {**{name: [(0, value)] for name, value in metrics.items()}, **series}
    points = [
        Metric(metric_name(name), float(value), now, step, model_id)
        for name, values in curves.items()
        for step, value in values
    ]
    entries = [Param(key, value) for key, value in _texts(params, LONGEST_PARAM).items()]
    for start in range(0, len(entries), PARAMS_AT_ONCE):
        client.log_batch(run_id, params=entries[start : start + PARAMS_AT_ONCE])
    for start in range(0, len(points), METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=points[start : start + METRICS_AT_ONCE])


def _log_panel(client: "MlflowClient", run_id: str, job: Job, panel: PanelRef, *, context: str) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: PLC0415 - see `connect`

    columns = [("string", "item_id"), ("datetime", "timestamp")]
    columns += [("double", name) for name in panel.values]
    schema = [{"type": kind, "name": name, "required": True} for kind, name in columns]
    profile = {
        "num_rows": panel.rows,
        "num_items": panel.items,
        "start": str(panel.start),
        "end": str(panel.end),
    }
    dataset = Dataset(
        name=job.name,
        digest=panel.digest,
        source_type="local",
        source=json.dumps({"uri": panel.path}),
        schema=json.dumps({"mlflow_colspec": schema}),
        profile=json.dumps(profile),
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])


def _settings(job: Job) -> dict[str, Any]:
    """The resolved settings; secrets stay names."""
    settings = job.model_dump(mode="json")
    return settings | {name: redacted(settings[name]) for name in ("tracking", "warehouse")}


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _texts(values: Mapping[str, Any], longest: int) -> dict[str, str]:
    """Values as MLflow stores them: text of limited length."""
    texts = {}
    for key, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        texts[metric_name(key)] = text[:longest]
    return texts


@task(
    task_run_name="track {stage}",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def track(job: Job, attempt: Attempt, stage: str, **found: Any) -> str:
    """Log one stage as one run: see `log_run`."""
    return log_run(job, attempt, stage=stage, **found)


@task(
    task_run_name="track report",
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=RETRY_DELAYS,
    retry_condition_fn=is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def track_report(job: Job, run_id: str, report: str) -> None:
    """Keep the report with a run: see `add_report`."""
    add_report(job, run_id, report)
