"""Opening a warehouse: locks of others, damaged files, versions of the schema, and processes that die."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from tasks.errors import WarehouseError
from tasks.job import job_from_settings
from tasks.panel import write_panel
from tasks.quality import Quarantine
from tasks.warehouse import (
    RunRecord,
    embedded,
    open_warehouse,
    schema,
    store_forecasts,
    store_observations,
    store_quarantine,
    store_run,
    store_scores,
    warehouse_url,
)

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
START = RunRecord(run_id="1", job="job", flow="forecast", started_at=NOW)

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
from tasks.warehouse.embedded import DuckDB

execute = DuckDB.execute

def stop_before_commit(self, sql, values=()):
    if sql == "COMMIT":
        print("written", flush=True)
        time.sleep(600)
    return execute(self, sql, values)

url, mode = sys.argv[1:]
origin = pd.Timestamp("2026-01-01")
keys = {"item_id": "a", "target_name": "y", "origin": origin, "model_name": "m", "model_version": "1"}
hours = pd.date_range(origin, periods=20_001, freq="min")[1:]
for number in range(1, 10_000):
    frame = pd.DataFrame({"timestamp": hours, "mean": float(number), f"q{number % 99 + 1}": 0.5})
    with open_warehouse(url) as warehouse:
        if mode == "stop":
            DuckDB.execute = stop_before_commit
        warehouse.upsert_forecasts(
            "job", frame.assign(**keys), issued_at=origin, run_id=str(number)
        )
    print("stored", flush=True)
"""


@pytest.fixture
def url(tmp_path):
    """URL of a warehouse that is not there yet, nor is its folder."""
    return f"duckdb:///{tmp_path}/deep/er/w.duckdb"


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


def test_the_first_opening_makes_folder_and_schema(url):
    """A second opening finds what the first one stored; read-only refuses writes."""
    with open_warehouse(url) as warehouse:
        warehouse.record_run(START)
    with open_warehouse(url, read_only=True) as warehouse:
        assert warehouse.counts("job")["runs"] == 1
        with pytest.raises(WarehouseError, match="read-only"):
            warehouse.record_run(START)


def test_the_tables_are_those_the_code_describes(url):
    """Keys and columns that the code names are the database's, and a run's record is its row."""
    with open_warehouse(url) as warehouse:
        sql = """SELECT table_name, constraint_column_names AS names FROM duckdb_constraints()
            WHERE constraint_type = 'PRIMARY KEY' AND table_name <> 'schema_version'"""
        keys = warehouse._engine.query(sql)
        assert {t: tuple(n) for t, n in keys.itertuples(index=False)} == schema.KEYS
        assert set(warehouse.read_runs("job").columns) == set(RunRecord.model_fields)


def test_a_failed_write_leaves_nothing(url, monkeypatch):
    """An error after the rows were inserted takes them and their new columns back."""
    with open_warehouse(url) as warehouse, monkeypatch.context() as patch:
        execute = embedded.DuckDB.execute

        def fail_after_insert(self, sql, values=()):
            count = execute(self, sql, values)
            if sql.startswith("INSERT"):
                raise KeyboardInterrupt
            return count

        patch.setattr(embedded.DuckDB, "execute", fail_after_insert)
        with pytest.raises(KeyboardInterrupt):
            warehouse.record_run(START)
    with open_warehouse(url) as warehouse:
        assert warehouse.counts("job")["runs"] == 0


def test_a_lock_of_another_process_is_waited_for(url):
    """A writer that comes while another process has the file open gets its turn."""
    with child(HOLD, url) as holder:
        assert holder.stdout.readline() == "open\n"
        threading.Timer(0.5, holder.stdin.close).start()  # which ends it
        started = time.monotonic()
        with open_warehouse(url) as warehouse:
            warehouse.record_run(START)
        assert time.monotonic() - started > 0.3


def test_a_lock_that_stays_is_one_clear_error(url, monkeypatch):
    """The error names the file and the process that holds it."""
    monkeypatch.setattr(embedded, "LOCK_WAIT", 0.3)
    with child(HOLD, url) as holder:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(WarehouseError, match=rf"w.duckdb stayed locked .*PID {holder.pid}"):
            open_warehouse(url).__enter__()


def test_threads_take_turns(url, monkeypatch):
    """Ten threads all store; one that waits in vain learns that its own process holds the file."""

    def write(number):
        with open_warehouse(url) as warehouse:
            warehouse.record_run(START.model_copy(update={"run_id": str(number)}))

    threads = [threading.Thread(target=write, args=[number]) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.setattr(embedded, "LOCK_WAIT", 0.1)
    with open_warehouse(url) as warehouse:
        assert warehouse.counts("job")["runs"] == 10
        with pytest.raises(WarehouseError, match="another thread of this process"):
            open_warehouse(url).__enter__()


def test_two_processes_that_write_at_once_both_succeed(url):
    """Rows of both are there when both write the same keys again and again."""
    with child(WRITE, url, "go") as one, child(WRITE, url, "go") as other:
        for _ in range(3):
            assert one.stdout.readline() == "stored\n"
            assert other.stdout.readline() == "stored\n"
    assert_whole(url)


def test_a_writer_killed_before_its_commit_leaves_nothing(url):
    """Neither rows nor columns of a write that was not committed are seen, and the next write works."""
    with open_warehouse(url) as warehouse:
        warehouse.record_run(START)
    with child(WRITE, url, "stop") as writer:
        assert writer.stdout.readline() == "written\n"
        os.kill(writer.pid, signal.SIGKILL)
    with open_warehouse(url) as warehouse:
        assert warehouse.counts("job") | {"runs": 1} == warehouse.counts("job")
        assert warehouse.counts("job")["forecasts"] == 0
        assert schema.quantile_columns(warehouse._engine) == []


@pytest.mark.parametrize("pause", [0.02, 0.11, 0.23])
def test_a_writer_killed_at_any_time_leaves_whole_writes(url, pause):
    """Wherever the kill falls, the rows are those of one write, and the next write works."""
    with child(WRITE, url, "go") as writer:
        assert writer.stdout.readline() == "stored\n"
        time.sleep(pause)
        os.kill(writer.pid, signal.SIGKILL)
    assert_whole(url)
    with open_warehouse(url) as warehouse:
        warehouse.record_run(START)


def assert_whole(url):
    """All rows stem from the same write and have its level only."""
    with open_warehouse(url) as warehouse:
        stored = warehouse.read_forecasts("job")
    assert len(stored) == 20_000
    assert stored["mean"].nunique() == stored["run_id"].nunique() == 1
    levels = stored[[name for name in stored.columns if name[0] == "q"]]
    assert levels.notna().sum(axis=1).eq(1).all()


def test_what_cannot_be_opened_is_named(tmp_path):
    """A file of another kind, a folder, a blocked path and a missing file are one clear error each."""
    text = tmp_path / "notes.txt"
    text.write_text("no database " * 1000)
    cases = [
        (text, False, "notes.txt cannot be opened: .*not a valid DuckDB"),
        (tmp_path, False, "cannot be opened: .*Is a directory"),
        (text / "w.duckdb", False, "w.duckdb cannot be made: .*notes.txt: "),
        (tmp_path / "none.duckdb", True, "none.duckdb does not exist yet"),
    ]
    for path, read_only, message in cases:
        with pytest.raises(WarehouseError, match=message):
            open_warehouse(f"duckdb:///{path}", read_only=read_only).__enter__()
    for url in ("postgresql://host/name", "duckdb:///", "w.duckdb"):
        with pytest.raises(WarehouseError, match="is no warehouse URL"):
            open_warehouse(url).__enter__()


def test_a_file_of_another_program_is_left_alone(tmp_path):
    """A database that has a table of the same name, not made here, is refused and unchanged."""
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE forecasts (weather TEXT)")
    with pytest.raises(WarehouseError, match="has a table forecasts that is not ours"):
        open_warehouse(f"duckdb:///{path}").__enter__()
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SHOW TABLES").fetchall() == [("forecasts",)]


def test_the_schema_moves_forward_and_never_back(url, monkeypatch):
    """A newer program migrates what is stored; half a migration is taken back; an older one refuses."""
    with open_warehouse(url) as warehouse:
        warehouse.record_run(START)
    step = "ALTER TABLE quarantine ADD COLUMN seen TEXT"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, (step, "no SQL")))
        with pytest.raises(WarehouseError, match="syntax error"):
            open_warehouse(url).__enter__()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, (step,)))
        with pytest.raises(WarehouseError, match="has schema version 1, this program needs 2"):
            open_warehouse(url, read_only=True).__enter__()
        with open_warehouse(url) as warehouse:
            assert warehouse.counts("job")["runs"] == 1
            assert "seen" in warehouse.read_quarantine("job").columns
    with pytest.raises(WarehouseError, match="has schema version 2, this program knows 1"):
        open_warehouse(url).__enter__()


def test_the_tasks_store_what_lies_on_disk(tmp_path):
    """Each task opens the job's own warehouse, writes and closes; paths start at the job's folder."""
    settings = {"name": "job", "source": {"path": "x.csv"}, "frequency": "h", "horizon": 2}
    settings |= {"columns": {"timestamp": "t", "target": ["value"]}, "warehouse": "duckdb:///w.db"}
    job = job_from_settings(settings, folder=tmp_path)
    assert warehouse_url(job) == f"duckdb:///{tmp_path}/w.db"
    hours = pd.date_range("2026-01-01", periods=3, freq="h")
    panel = write_panel(
        pd.DataFrame({"item_id": "a", "timestamp": hours, "value": [1.0, np.nan, 3.0]}),
        tmp_path,
        stage="clean",
    )
    assert store_observations.fn(job, panel, NOW) == 2
    key = {"item_id": "a", "target_name": "value"}
    frame = pd.DataFrame({**key, "origin": hours[0], "timestamp": hours[1:], "mean": 1.0, "q10": 0.0})
    frame.to_parquet(tmp_path / "f.parquet")
    model = {"model_name": "starter", "model_version": "1"}
    path = str(tmp_path / "f.parquet")
    assert store_forecasts.fn(job, path, run_id="1", issued_at=NOW, **model) == 2
    frame = pd.DataFrame({**key, **model, "window_origin": hours, "metric": "mase", "value": 1.0})
    frame.to_parquet(tmp_path / "s.parquet")
    hashes = {"config_hash": "c", "panel_digest": panel.digest}
    assert store_scores.fn(job, str(tmp_path / "s.parquet"), run_id="1", **hashes) == 3
    records = [Quarantine(item_id="b", rule="short", why="1 step", first_rows=[2])]
    assert store_quarantine.fn(job, records, as_of=hours[-1], panel_digest=panel.digest) == 1
    store_run.fn(job, START)
    with open_warehouse(warehouse_url(job), read_only=True) as warehouse:
        counts = {"observations": 2, "forecasts": 2, "scores": 3, "quarantine": 1, "runs": 1}
        assert warehouse.counts("job") == counts
        assert len(warehouse.read_accuracy("job")) == 1
