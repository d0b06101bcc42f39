"""Memory and rows per second of ingest, from Parquet or CSV to the raw panel.

`python -m benchmarks.ingest [ROWS] [--csv]` makes a file of that many rows (default 10,000,000: hourly values of 10,000
series, two value columns, one row in a hundred without a value) in a temporary folder and ingests it in a process of
its own. Prints a table, then the same figures as one line of JSON; fails where it took more than 2 GiB. The memory is
the largest resident set of that process, imports included.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

ROWS_OF_SERIES = 1_000
ROW_GROUP = 1_000_000
MISSING = 0.01  # share of the rows without a value
LIMIT = 2 * 2**30  # bytes that ten million rows may take


def write_table(path: Path, rows: int) -> None:
    """Write the rows, those of one hour after another, as a plant writes them."""
    generator = np.random.default_rng(0)
    series = max(1, rows // ROWS_OF_SERIES)
    names = pa.array([f"sensor-{number:05d}" for number in range(series)])
    start = np.datetime64("2024-01-01T00:00:00", "us")
    schema = pa.schema(
        {"sensor": pa.string(), "time": pa.timestamp("us"), "power": pa.float64(), "temperature": pa.float64()}
    )
    writer = pa.csv.CSVWriter if path.suffix == ".csv" else pq.ParquetWriter
    with writer(path, schema) as file:
        for first in range(0, rows, ROW_GROUP):
            numbers = np.arange(first, min(first + ROW_GROUP, rows))
            power = generator.gamma(2.0, 10.0, len(numbers)).round(3)
            columns = [
                names.take(pa.array(numbers % series)),
                pa.array(start + (numbers // series) * np.timedelta64(1, "h")),
                pa.array(power, mask=generator.random(len(numbers)) < MISSING),
                pa.array(generator.normal(15.0, 8.0, len(numbers)).round(1)),
            ]
            file.write_table(pa.table(columns, schema=schema))


def peak() -> int:
    """Largest resident set of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def ingest(path: Path) -> dict[str, float]:
    """Ingest a file in this process; its figures."""
    from tasks.ingest import ingest_source  # noqa: PLC0415 - in the process that is measured
    from tasks.job import job_from_settings  # noqa: PLC0415 - the same

    job = job_from_settings(
        {
            "name": "ingest",
            "source": {"path": path.name},
            "columns": {"timestamp": "time", "item_id": "sensor", "target": ["power"], "checked": ["temperature"]},
            "frequency": "h",
            "horizon": 24,
        },
        folder=path.parent,
    )
    imported, started = peak(), time.perf_counter()
    panel = ingest_source(job)
    return {
        "rows": panel.rows,
        "series": panel.items,
        "seconds": time.perf_counter() - started,
        "imports_bytes": imported,
        "peak_bytes": peak(),
    }


def in_child(task: str, path: Path, rows: int) -> str:
    """What another process of this script prints: memory counts per process, and none is to be inherited."""
    command = [sys.executable, "-m", "benchmarks.ingest", task, str(path), str(rows)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def main(arguments: list[str]) -> int:
    """Make the file, ingest it, print; 1 where that took more than the limit."""
    rows = next((int(float(text)) for text in arguments if not text.startswith("-")), 10_000_000)
    ending = ".csv" if "--csv" in arguments else ".parquet"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"plant{ending}"
        in_child("--make", path, rows)
        size = path.stat().st_size
        found = json.loads(in_child("--ingest", path, rows).splitlines()[-1])
    print(f"{found['rows']:,} rows of {found['series']:,} series, {size / 2**20:,.0f} MiB of {ending[1:]}")
    print(f"pandas {pd.__version__}, pyarrow {pa.__version__}")
    print(f"{'seconds':30s}{found['seconds']:12.1f}")
    print(f"{'rows per second':30s}{found['rows'] / found['seconds']:12,.0f}")
    print(f"{'memory of the imports, MiB':30s}{found['imports_bytes'] / 2**20:12,.0f}")
    print(f"{'largest memory, MiB':30s}{found['peak_bytes'] / 2**20:12,.0f}")
    print(json.dumps(found))
    return int(found["peak_bytes"] > LIMIT)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--make", path, rows]:
            write_table(Path(path), int(rows))
        case ["--ingest", path, _]:
            print(json.dumps(ingest(Path(path))))
        case arguments:
            sys.exit(main(arguments))
