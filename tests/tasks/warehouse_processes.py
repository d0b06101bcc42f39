"""Other processes that use a warehouse: what they do, and how they are started and killed."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]

HOLD = """
import sys
from tasks.warehouse import open_warehouse
with open_warehouse(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.readline()
"""

WRITE = """
import sys, time
import numpy as np, pandas as pd
from tasks.warehouse import open_warehouse

def stop_inside_of_the_transaction(warehouse):
    execute = warehouse._engine.execute
    def stop_after_the_rows(sql, values=()):
        count = execute(sql, values)
        if sql.startswith("INSERT"):
            print("written", flush=True)
            time.sleep(600)
        return count
    warehouse._engine.execute = stop_after_the_rows

url, mode = sys.argv[1:]
origin = pd.Timestamp("2026-01-01")
keys = {"item_id": "a", "target_name": "y", "origin": origin, "model_name": "m", "model_version": "1"}
hours = pd.date_range(origin, periods=20_001, freq="min")[1:]
for number in range(1, 10_000):
    frame = pd.DataFrame({"timestamp": hours, "mean": float(number), f"q{number % 99 + 1}": 0.5})
    with open_warehouse(url) as warehouse:
        if mode == "stop":
            stop_inside_of_the_transaction(warehouse)
        warehouse.upsert_forecasts(
            "job", frame.assign(**keys), issued_at=origin, run_id=str(number)
        )
    print("stored", flush=True)
"""

OBSERVE = """
import sys
import pandas as pd
from tasks.warehouse import open_warehouse

hours = pd.date_range("2026-01-01", periods=2_000, freq="h")
frame = pd.DataFrame({"item_id": "a", "column_name": "y", "timestamp": hours, "value": 1.0})
print("ready", flush=True)
for line in sys.stdin:
    with open_warehouse(sys.argv[1]) as warehouse:
        print(warehouse.append_observations(line.strip(), frame, panel_digest="d"), flush=True)
"""


@contextmanager
def child(script, *arguments):
    """Another Python process; it is killed in the end."""
    command = [sys.executable, "-c", script, *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:  # noqa: S603 - our own text
        try:
            yield process
        finally:
            process.kill()


def tell(process, line=""):
    """Let a process go on."""
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
