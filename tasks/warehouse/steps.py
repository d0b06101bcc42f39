"""Prefect tasks of the warehouse: open, write or read, close.

In: a job, and a panel's reference, the path of a Parquet file or small records; never a frame. Out:
how many rows were written, or small lists. Fails with `WarehouseError`. There are no retries: opening waits for a
locked file itself, and nothing else that fails here gets better by waiting.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.job import Job
from tasks.panel import PanelRef, read_panel
from tasks.quality import Quarantine
from tasks.warehouse.frames import observation_rows
from tasks.warehouse.records import RunRecord
from tasks.warehouse.store import SCHEME, open_warehouse

logger = logging.getLogger(__name__)


def warehouse_url(job: Job) -> str:
    """URL of a job's warehouse with an absolute path."""
    return f"{SCHEME}{job.resolve(job.warehouse.removeprefix(SCHEME))}"


def forecasts_of(path: str, model_name: str | None, model_version: str | None) -> pd.DataFrame:
    """A forecast frame on disk, with the model's name and version where it lacks them."""
    model = {"model_name": model_name, "model_version": model_version}
    return pd.read_parquet(path).assign(**{name: text for name, text in model.items() if text})


@task(task_run_name="read known series", cache_policy=NO_CACHE)
def known_items(job: Job, as_of: datetime | None = None) -> list[str]:
    """The series that earlier runs stored observations of, as known at `as_of`; none on the first run."""
    with open_warehouse(warehouse_url(job)) as warehouse:
        return warehouse.read_items(job.name, as_of=as_of)


@task(task_run_name="store observations", cache_policy=NO_CACHE)
def store_observations(job: Job, panel: PanelRef, known_at: datetime | None = None) -> int:
    """Append the values of a clean panel that are new or revised; returns how many.

    Without `known_at` they are known from the moment of the write on, taken once no other writer can come between: of
    two runs at once the second one finds the first one's rows.
    """
    rows = observation_rows(read_panel(panel), panel.values)
    with open_warehouse(warehouse_url(job)) as warehouse:
        moment = known_at or datetime.now(UTC)
        count = warehouse.append_observations(job.name, rows, known_at=moment, panel_digest=panel.digest)
    logger.info("stored %s new or revised of %s observations", f"{count:,}", f"{len(rows):,}")
    return count


@task(task_run_name="store forecasts", cache_policy=NO_CACHE)
def store_forecasts(
    job: Job,
    path: str,
    *,
    run_id: str,
    issued_at: datetime,
    model_name: str | None = None,
    model_version: str | None = None,
) -> int:
    """Store a forecast frame on disk; a model is named here where the file names none."""
    frame = forecasts_of(path, model_name, model_version)
    with open_warehouse(warehouse_url(job)) as warehouse:
        count = warehouse.upsert_forecasts(job.name, frame, issued_at=issued_at, run_id=run_id)
    logger.info("stored %s rows of forecasts", f"{count:,}")
    return count


@task(task_run_name="store scores", cache_policy=NO_CACHE)
def store_scores(job: Job, path: str, *, config_hash: str, panel_digest: str, run_id: str) -> int:
    """Store the `scores.parquet` of a backtest."""
    frame = pd.read_parquet(path)
    with open_warehouse(warehouse_url(job)) as warehouse:
        count = warehouse.upsert_scores(
            job.name, frame, config_hash=config_hash, panel_digest=panel_digest, run_id=run_id
        )
    logger.info("stored %s scores", f"{count:,}")
    return count


@task(task_run_name="store quarantine", cache_policy=NO_CACHE)
def store_quarantine(job: Job, records: Sequence[Quarantine], *, as_of: datetime, panel_digest: str) -> int:
    """Store which series were left out, and why."""
    with open_warehouse(warehouse_url(job)) as warehouse:
        return warehouse.upsert_quarantine(job.name, records, as_of=as_of, panel_digest=panel_digest)


@task(task_run_name="store run as {record.status}", cache_policy=NO_CACHE)
def store_run(job: Job, record: RunRecord) -> None:
    """Store the record of a run, at its start and again at its end."""
    with open_warehouse(warehouse_url(job)) as warehouse:
        warehouse.record_run(record)
