"""The warehouse: schema, idempotent bulk writes, reads. The only place that knows SQL.

In: frames and small records. Out: counts of rows, and frames. Fails with `WarehouseError`, which
names the warehouse and what to do; a write that fails leaves nothing behind.

    steps.py      Prefect tasks: open, write, close
    store.py      `open_warehouse`, `Warehouse`: every write and read
    frames.py     what a frame must be like; checks come before the first write
    records.py    `RunRecord`
    turns.py      who works on a moment of a job while the others wait
    schema.py     tables, their versions, the accuracy view
    statements.py SQL texts from names that are ours
    engine.py     what a database must do for the store
    embedded.py   DuckDB as such an engine: one process at a time, so a lock is waited for

Time stamps have no time zone. `known_at`, `issued_at` and `started_at` are UTC; those of the data
are in its own time.
"""

from tasks.warehouse.frames import observation_rows
from tasks.warehouse.records import RunRecord
from tasks.warehouse.steps import (
    known_items,
    served_moments,
    store_forecasts,
    store_observations,
    store_quarantine,
    store_run,
    store_scores,
    warehouse_place,
    warehouse_url,
)
from tasks.warehouse.store import Warehouse, open_warehouse
from tasks.warehouse.turns import turn

__all__ = [
    "RunRecord",
    "Warehouse",
    "known_items",
    "observation_rows",
    "open_warehouse",
    "served_moments",
    "store_forecasts",
    "store_observations",
    "store_quarantine",
    "store_run",
    "store_scores",
    "turn",
    "warehouse_place",
    "warehouse_url",
]
