"""What a database must do for the warehouse: bind values, take frames in bulk, keep a write as a whole or not at all.

Statements are SQL that DuckDB and PostgreSQL both read, with `?` for every bound value. Frames
travel as Arrow tables: DuckDB scans one where it lies, PostgreSQL takes it with COPY into a
temporary table.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import pandas as pd
import pyarrow as pa

Value = str | float | datetime | None
T = TypeVar("T")


class Engine(Protocol):
    """An open database; a method that fails raises `WarehouseError` with the warehouse's name."""

    name: str
    """The warehouse as errors call it."""

    text: str
    """Type of a column of texts, which must sort by their bytes."""

    def execute(self, sql: str, values: Sequence[Value] = ()) -> int:
        """Run a statement and return how many rows it inserted or updated."""

    def query(self, sql: str, values: Sequence[Value] = ()) -> pd.DataFrame:
        """Run a query and return its rows; missing text is None, a missing number NaN."""

    def now(self) -> datetime:
        """The moment in UTC without time zone, by the one clock that all writers share."""

    def write(self, work: Callable[[str], T], *, rows: pa.Table | None = None, turn: str | None = None) -> T:
        """Do work as one transaction: all of it is kept, or nothing when it raises.

        Args:
            work: called with the name of a relation that has `rows`, ready for SQL. What it does
                must come out the same when it is done twice: a transaction that another one or a
                lost connection has cut is begun again.
            rows: made readable while the work is done.
            turn: writes of the same turn are done one after the other.
        """

    def alter(self, work: Callable[[], None]) -> None:
        """Change the schema as one transaction, one process at a time; `work` as in `write`."""
