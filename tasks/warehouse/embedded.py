"""DuckDB as an engine of the warehouse: a file that one process at a time may open.

In: the path of the file. Out: an engine while the block runs. A lock of another process, or of
another thread of this one, is waited for with growing pauses, `LOCK_WAIT` seconds at most. Fails
with `WarehouseError`.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from tasks.errors import WarehouseError
from tasks.warehouse.engine import T, Value

LOCK_WAIT = 60.0  # seconds; a million forecast rows take about four
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.1  # seconds between two attempts; doubled each time
STAGED = "staged_rows"
CONFIG = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}  # no network

_threads: dict[str, threading.Lock] = {}  # DuckDB's lock is per process: threads take turns here


class DuckDB:
    """An open DuckDB file; see `Engine` for what its methods promise."""

    text = "TEXT"

    def __init__(self, connection: Any, name: str) -> None:
        self.name = name
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Value] = ()) -> int:
        """Run a statement and return how many rows it inserted or updated."""
        with self._explained():
            answer = self._connection.execute(sql, list(values)).fetchone()
        return int(answer[0]) if answer else 0

    def query(self, sql: str, values: Sequence[Value] = ()) -> pd.DataFrame:
        """Run a query and return its rows."""
        with self._explained():
            return self._connection.sql(sql, params=list(values)).df()

    def now(self) -> datetime:
        """The clock of this machine: no other machine writes to the file."""
        return datetime.now(UTC).replace(tzinfo=None)

    def write(self, work: Callable[[str], T], *, rows: pa.Table | None = None, turn: str | None = None) -> T:  # noqa: ARG002
        """Do work in one transaction; who has the file open is its only writer, so that no turn is waited for."""
        with self._staged(rows), self._transaction():
            return work(STAGED)

    def alter(self, work: Callable[[], None]) -> None:
        """Change the schema in one transaction."""
        with self._transaction():
            work()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.execute("BEGIN TRANSACTION")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    @contextmanager
    def _staged(self, rows: pa.Table | None) -> Iterator[None]:
        """Make an Arrow table readable as a relation, without a copy."""
        if rows is None:
            yield
            return
        self._connection.register(STAGED, rows)
        try:
            yield
        finally:
            self._connection.unregister(STAGED)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise WarehouseError(f"{self.name}: {_first_line(error)}") from error


@contextmanager
def open_duckdb(path: Path, *, read_only: bool) -> Iterator[DuckDB]:
    """Open a DuckDB file while the block runs; file and folder are made unless `read_only`.

    Raises:
        WarehouseError: the file stays locked, is no DuckDB database, cannot be written, or
            (read-only) does not exist.
    """
    path = path.resolve()
    deadline = time.monotonic() + LOCK_WAIT
    turn = _threads.setdefault(str(path), threading.Lock())
    if not turn.acquire(timeout=LOCK_WAIT):
        raise WarehouseError(_locked(path, "another thread of this process has it open"))
    try:
        connection = _connect(path, deadline, read_only=read_only)
        try:
            yield DuckDB(connection, f"warehouse {path}")
        finally:
            connection.close()
    finally:
        turn.release()


def _connect(path: Path, deadline: float, *, read_only: bool) -> Any:
    """A connection, once no other process holds the file any more."""
    if read_only and not path.exists():
        raise WarehouseError(f"warehouse {path} does not exist yet; the first run that stores makes it")
    if not read_only:
        _make_folder(path)
    pause = FIRST_PAUSE
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only, config=CONFIG)
        except duckdb.Error as error:
            if not _is_lock(error):
                raise WarehouseError(
                    f"warehouse {path} cannot be opened: {_first_line(error)}; "
                    "set `warehouse` to a DuckDB file or a new one in a folder that can be written"
                ) from error
            if time.monotonic() + pause > deadline:
                raise WarehouseError(_locked(path, _first_line(error))) from error
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - in step with another one it would never have a turn
        pause = min(2 * pause, LONGEST_PAUSE)


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WarehouseError(
            f"warehouse {path} cannot be made: {path.parent}: {error.strerror}; "
            "set `warehouse` to a file in a folder that can be written"
        ) from error


def _is_lock(error: duckdb.Error) -> bool:
    return isinstance(error, duckdb.IOException) and "lock on file" in str(error)


def _locked(path: Path, holder: str) -> str:
    return f"warehouse {path} stayed locked for {LOCK_WAIT:g} s: {holder}; close what holds it and run again"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
