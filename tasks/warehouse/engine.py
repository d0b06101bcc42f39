"""What a database must do for the warehouse: bind values, stage frames, run one transaction.

Statements are SQL that DuckDB and PostgreSQL both read, with `?` for every bound value. Frames
travel as Arrow tables: DuckDB scans one where it lies, PostgreSQL takes it with COPY into a
temporary table.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

import pandas as pd
import pyarrow as pa

Value = str | float | datetime | None


class Engine(Protocol):
    """An open database; a method that fails raises `WarehouseError` with the warehouse's name."""

    name: str
    """The warehouse as errors call it."""

    def execute(self, sql: str, values: Sequence[Value] = ()) -> int:
        """Run a statement and return how many rows it inserted or updated."""

    def query(self, sql: str, values: Sequence[Value] = ()) -> pd.DataFrame:
        """Run a query and return its rows; missing text is None, a missing number NaN."""

    def transaction(self) -> AbstractContextManager[None]:
        """Keep all statements of the block, or none of them when it raises."""

    def staged(self, rows: pa.Table) -> AbstractContextManager[str]:
        """Make rows readable while the block runs; gives the relation's name, ready for SQL."""
