"""Prefect tasks of the warehouse: open, write or read, close.

In: a job, and a panel's reference, the path of a Parquet file or small records; never a frame. Out:
how many rows were written, or small lists. Fails with `WarehouseError`. There are no retries: opening waits for a
locked file itself, and nothing else that fails here gets better by waiting.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.job import Job
from tasks.limits import writing
from tasks.panel import PanelRef, read_panel
from tasks.quality import Quarantine
from tasks.secrets import redacted, reveal
from tasks.warehouse.frames import observation_rows
from tasks.warehouse.records import RunRecord
from tasks.warehouse.store import SCHEME, Warehouse, open_warehouse

logger = logging.getLogger(__name__)


def warehouse_url(job: Job) -> str:
    """URL of a job's warehouse with its secrets and an absolute path: for `open_warehouse`, never for people.

    Raises:
        SecretError: a secret that it names is not there.
    """
    return _absolute(job, reveal(job.warehouse, "warehouse"))


def warehouse_place(job: Job) -> str:
    """URL of a job's warehouse as people see it: secrets stay names."""
    return _absolute(job, redacted(job.warehouse))


def _absolute(job: Job, url: str) -> str:
    """A relative path of a file starts at the job's folder."""
    return f"{SCHEME}{job.resolve(url.removeprefix(SCHEME))}" if url.startswith(SCHEME) else url


def forecasts_of(path: str, model_name: str | None, model_version: str | None) -> pd.DataFrame:
    """A forecast frame on disk, with the model's name and version where it lacks them."""
    model = {"model_name": model_name, "model_version": model_version}
    return pd.read_parquet(path).assign(**{name: text for name, text in model.items() if text})


@task(task_run_name="read known series", cache_policy=NO_CACHE)
def known_items(job: Job, as_of: datetime | None = None) -> list[str]:
    """The series that earlier runs stored observations of, as known at `as_of`; none on the first run."""
    with open_warehouse(warehouse_url(job)) as warehouse:
        return warehouse.read_items(job.name, as_of=as_of)


@task(task_run_name="read served moments", cache_policy=NO_CACHE)
def served_moments(job: Job) -> list[datetime]:
    """The moments that forecasts were completed for, rising, in the time of the source; none on the first run."""
    with open_warehouse(warehouse_url(job)) as warehouse:
        return warehouse.read_served(job.name)


@contextmanager
def _writing(job: Job) -> Iterator[Warehouse]:
    """The open warehouse, where runs of deployments write to a DuckDB one after the other."""
    url = warehouse_url(job)
    with writing(url), open_warehouse(url) as warehouse:
        yield warehouse


@task(task_run_name="store observations", cache_policy=NO_CACHE)
def store_observations(
    job: Job, panel: PanelRef, known_at: datetime | None = None, *, only_unknown: bool = False
) -> int:
    """Append the values of a clean panel that are new or revised, or `only_unknown` ones; returns how many.

    Without `known_at` they are known from the moment of the write on.
    """
    rows = observation_rows(read_panel(panel), panel.values)
    with _writing(job) as warehouse:
        count = warehouse.append_observations(
            job.name, rows, known_at=known_at, panel_digest=panel.digest, only_unknown=only_unknown
        )
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
    with _writing(job) as warehouse:
        count = warehouse.upsert_forecasts(job.name, frame, issued_at=issued_at, run_id=run_id)
    logger.info("stored %s rows of forecasts", f"{count:,}")
    return count


@task(task_run_name="store scores", cache_policy=NO_CACHE)
def store_scores(job: Job, path: str, *, config_hash: str, panel_digest: str, run_id: str) -> int:
    """Store the `scores.parquet` of a backtest."""
    frame = pd.read_parquet(path)
    with _writing(job) as warehouse:
        count = warehouse.upsert_scores(
            job.name, frame, config_hash=config_hash, panel_digest=panel_digest, run_id=run_id
        )
    logger.info("stored %s scores", f"{count:,}")
    return count


@task(task_run_name="store quarantine", cache_policy=NO_CACHE)
def store_quarantine(job: Job, records: Sequence[Quarantine], *, as_of: datetime, panel_digest: str) -> int:
    """Store which series were left out, and why."""
    with _writing(job) as warehouse:
        return warehouse.upsert_quarantine(job.name, records, as_of=as_of, panel_digest=panel_digest)


@task(task_run_name="store run as {record.status}", cache_policy=NO_CACHE)
def store_run(job: Job, record: RunRecord) -> None:
    """Store the record of a run, at its start and again at its end."""
    with _writing(job) as warehouse:
        warehouse.record_run(record)
