"""PostgreSQL as an engine of the warehouse: many processes on many machines write at once.

In: a URL. Out: an engine while the block runs. Where the database is away (restarts, is cut off) or
another writer is in the way, the engine waits with growing pauses and does the same again, for
`PATIENCE` seconds at most; a transaction is repeated as a whole. Fails with `WarehouseError`, which
names host and database.

Readers are never in the way, nor kept waiting: they see what was committed before. Only a change of
the schema needs a table for itself, for a moment: it gives up after `ALTER_WAIT`, so that nobody
queues behind it for longer, and tries again later.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from tasks.errors import WarehouseError
from tasks.warehouse.copying import TEXT, copy_in, copy_out, with_places
from tasks.warehouse.engine import T, Value
from tasks.warehouse.postgres_address import Address, driver, in_words, may_pass, parse

PATIENCE = 60.0  # seconds from the first failure on
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two attempts; doubled each time
TURN_WAIT, ALTER_WAIT = "15min", "1s"  # for the writers before one; for a table that others read
STAGED = "staged_rows"
SESSION = (
    "SET datestyle TO 'ISO, YMD'",
    "SET extra_float_digits TO 1",  # numbers arrive as they were sent
    f"SET lock_timeout TO '{TURN_WAIT}'",
    # A writer that is killed gives its turn free at once, not at the end of its statement; from PostgreSQL 14 on.
    """SELECT set_config(name, '1s', false) FROM pg_settings
        WHERE name = 'client_connection_check_interval' AND version() LIKE '%linux%'""",
)
TAKE_TURN = "SELECT pg_advisory_xact_lock(hashtextextended('moirai ' || current_schema() || ' ' || %s, 0))"
SCHEMA_TURN = "/schema"  # no job is called so

logger = logging.getLogger(__name__)


class Postgres:
    """An open database; see `Engine` for what its methods promise."""

    text = TEXT

    def __init__(self, address: Address, *, read_only: bool) -> None:
        self.name = f"warehouse {address.shown}"
        self._address, self._read_only = address, read_only
        self._psycopg: Any = driver()
        self._connection: Any = None
        self._inside = False  # of a transaction, which is repeated as a whole

    def execute(self, sql: str, values: Sequence[Value] = ()) -> int:
        """Run a statement and return how many rows it inserted or updated."""
        statement = with_places(sql)
        return self._repeated(lambda cursor: max(cursor.execute(statement, list(values)).rowcount, 0))

    def query(self, sql: str, values: Sequence[Value] = ()) -> pd.DataFrame:
        """Run a query and return its rows."""
        statement = with_places(sql)
        return self._repeated(lambda cursor: copy_out(cursor, statement, list(values)))

    def now(self) -> datetime:
        """The clock of the server."""
        sql = "SELECT clock_timestamp() AT TIME ZONE 'UTC'"
        return self._repeated(lambda cursor: cursor.execute(sql).fetchone()[0])

    def write(self, work: Callable[[str], T], *, rows: pa.Table | None = None, turn: str | None = None) -> T:
        """Do work in one transaction; rows are sent before the turn is waited for."""

        def attempt(cursor: Any) -> T:
            with self._transaction(cursor):
                if rows is not None:
                    copy_in(cursor, rows, name=STAGED)
                if turn is not None:
                    cursor.execute(TAKE_TURN, [turn])
                return work(STAGED)

        return self._repeated(attempt)

    def alter(self, work: Callable[[], None]) -> None:
        """Change the schema in one transaction."""

        def attempt(cursor: Any) -> None:
            with self._transaction(cursor):
                cursor.execute(TAKE_TURN, [SCHEMA_TURN])
                cursor.execute(f"SET LOCAL lock_timeout TO '{ALTER_WAIT}'")
                work()

        self._repeated(attempt)

    def close(self) -> None:
        """Close the connection; what was not committed is gone."""
        if self._connection is not None:
            self._connection.close()

    @contextmanager
    def _transaction(self, cursor: Any) -> Iterator[None]:
        cursor.execute("BEGIN ISOLATION LEVEL READ COMMITTED")  # who waited for a turn sees what was written before
        self._inside = True
        try:
            yield
            cursor.execute("COMMIT")
        except BaseException:
            with suppress(self._psycopg.Error):  # of a connection that is lost; the first error is the one to see
                cursor.execute("ROLLBACK")
            raise
        finally:
            self._inside = False

    def _repeated(self, attempt: Callable[[Any], T]) -> T:
        """Do something on a connection, again where that may help; inside of a transaction only once."""
        if self._inside:
            return attempt(self._cursor())
        pause, deadline = FIRST_PAUSE, None
        while True:
            try:
                return attempt(self._cursor())
            except self._psycopg.Error as error:
                deadline = deadline or time.monotonic() + PATIENCE
                reason, connected = in_words(error), self._is_connected()
                if not may_pass(error, is_connected=connected) or time.monotonic() + pause > deadline:
                    raise WarehouseError(self._failure(reason, connected=connected)) from error
                logger.warning("%s: %s; trying again", self.name, reason)
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that two do not meet again
            pause = min(2 * pause, LONGEST_PAUSE)

    def _failure(self, reason: str, *, connected: bool) -> str:
        if connected:
            return f"{self.name}: {reason}"
        return f"{self.name} cannot be reached: {reason}; check `warehouse` and whether the database runs"

    def _is_connected(self) -> bool:
        return self._connection is not None and not self._connection.closed

    def _cursor(self) -> Any:
        """A cursor of the open connection, or of a new one."""
        if not self._is_connected():
            self._connection = self._new_connection()
        return self._connection.cursor()

    def _new_connection(self) -> Any:
        connection = self._psycopg.connect(**self._address.parameters, autocommit=True, prepare_threshold=None)
        try:
            for statement in SESSION:
                connection.execute(statement)
            if self._read_only:
                connection.execute("SET default_transaction_read_only TO on")
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def open_postgres(url: str, *, read_only: bool) -> Iterator[Postgres]:
    """Open a database while the block runs; a connection is made when it is first needed.

    Raises:
        WarehouseError: psycopg is not installed, or the URL cannot be read.
    """
    engine = Postgres(parse(url), read_only=read_only)
    try:
        yield engine
    finally:
        engine.close()
