"""Turns: who works on a moment of a job, on whatever machine, while the others wait.

In: a job and a moment. Out: nothing; the block runs alone among those that ask for the same. PostgreSQL keeps the turn
as a lock of a connection, DuckDB, which is a file of one machine, as one beside it; either is free at once when its
holder dies, also by kill -9. Turns save work and nothing depends on them: two runs of one moment leave every row once.
So a database that goes away takes a turn with it without harm; fails with `WarehouseError` where none can be had.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.errors import WarehouseError
from tasks.job import Job
from tasks.warehouse.postgres import FIRST_PAUSE, LONGEST_PAUSE, PATIENCE
from tasks.warehouse.postgres_address import driver, in_words, is_postgres, may_pass, parse
from tasks.warehouse.steps import warehouse_url
from tasks.warehouse.store import SCHEME

TAKE = "SELECT {lock}(hashtextextended('moirai moment ' || current_schema() || ' ' || %s, 0))"

logger = logging.getLogger(__name__)


@contextmanager
def turn(job: Job, moment: datetime) -> Iterator[None]:
    """Hold the turn of a moment while the block runs; waits for whoever has it.

    Args:
        job: whose moment it is.
        moment: as the data tell time.

    Raises:
        WarehouseError: the database stays away, or no file can be made beside the warehouse.
    """
    url, name = warehouse_url(job), f"{job.name} at {moment}"
    if is_postgres(url):
        connection = _with_lock(url, name)
        try:
            yield
        finally:
            with suppress(driver().Error):  # the turn ended with the connection
                connection.close()
    else:
        with _beside(Path(url.removeprefix(SCHEME)), job, name):
            yield


def _with_lock(url: str, name: str) -> Any:
    """A connection that holds the lock of a name."""
    address, psycopg = parse(url), driver()
    pause, deadline = FIRST_PAUSE, time.monotonic() + PATIENCE
    while True:
        connection = None
        try:
            connection = psycopg.connect(**address.parameters, autocommit=True)
            connection.execute("SET client_connection_check_interval TO '1s'")  # who is killed waits no longer
            if not connection.execute(TAKE.format(lock="pg_try_advisory_lock"), [name]).fetchone()[0]:
                _tell(name)
                connection.execute(TAKE.format(lock="pg_advisory_lock"), [name])
                deadline = time.monotonic() + PATIENCE
        except psycopg.Error as error:
            connected = connection is not None and not connection.closed
            if not may_pass(error, is_connected=connected) or time.monotonic() > deadline:
                raise WarehouseError(f"warehouse {address.shown}: no turn for {name}: {in_words(error)}") from error
        else:
            return connection
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


@contextmanager
def _beside(path: Path, job: Job, name: str) -> Iterator[None]:
    """Hold a lock file beside a warehouse: one per job, so that they do not pile up with the moments."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only scheduled runs and backfills need it

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f"{path.name}.{job.name}.turn"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _tell(name)
            lock.acquire()
    except OSError as error:
        raise WarehouseError(
            f"warehouse {path}: no turn for {name}: {error.strerror}; make its folder writable"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _tell(name: str) -> None:
    logger.info("another run is at work on %s; waiting for it", name)
