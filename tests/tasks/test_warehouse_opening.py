"""Opening a warehouse: what is made, what is migrated, what is refused."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.errors import WarehouseError
from tasks.job import job_from_settings
from tasks.panel import write_panel
from tasks.quality import Quarantine
from tasks.warehouse import (
    RunRecord,
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


def test_the_first_opening_makes_folder_and_schema(new_url):
    """A second opening finds what the first one stored; read-only refuses writes."""
    with open_warehouse(new_url) as warehouse:
        warehouse.record_run(START)
    with open_warehouse(new_url, read_only=True) as warehouse:
        assert warehouse.counts("job")["runs"] == 1
        with pytest.raises(WarehouseError, match="read-only"):
            warehouse.record_run(START)


def test_the_tables_are_those_the_code_describes(new_url):
    """Keys and columns that the code names are the database's, and a run's record is its row."""
    with open_warehouse(new_url) as warehouse:
        sql = """SELECT used.table_name, column_name FROM information_schema.key_column_usage AS used
            JOIN information_schema.table_constraints AS made USING (table_schema, constraint_name)
            WHERE table_schema = current_schema() AND constraint_type = 'PRIMARY KEY'
            ORDER BY used.table_name, ordinal_position"""
        keys = warehouse._engine.query(sql).groupby("table_name")["column_name"].agg(tuple)
        assert keys.drop("schema_version").to_dict() == schema.KEYS
        assert set(warehouse.read_runs("job").columns) == set(RunRecord.model_fields)


def test_a_failed_write_leaves_nothing(new_url, monkeypatch):
    """An error after the rows were inserted takes them back."""
    with open_warehouse(new_url) as warehouse, monkeypatch.context() as patch:
        engine = type(warehouse._engine)
        execute = engine.execute

        def fail_after_insert(self, sql, values=()):
            count = execute(self, sql, values)
            if sql.startswith("INSERT"):
                raise KeyboardInterrupt
            return count

        patch.setattr(engine, "execute", fail_after_insert)
        with pytest.raises(KeyboardInterrupt):
            warehouse.record_run(START)
    with open_warehouse(new_url) as warehouse:
        assert warehouse.counts("job")["runs"] == 0


def test_the_schema_moves_forward_and_never_back(new_url, monkeypatch):
    """A newer program migrates what is stored; half a migration is taken back; an older one refuses."""
    with open_warehouse(new_url) as warehouse:
        warehouse.record_run(START)
    step = "ALTER TABLE quarantine ADD COLUMN seen TEXT"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, (step, "no SQL")))
        with pytest.raises(WarehouseError, match="syntax error"):
            open_warehouse(new_url).__enter__()
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, (step,)))
        with pytest.raises(WarehouseError, match="has schema version 1, this program needs 2"):
            open_warehouse(new_url, read_only=True).__enter__()
        with open_warehouse(new_url) as warehouse:
            assert warehouse.counts("job")["runs"] == 1
            assert "seen" in warehouse.read_quarantine("job").columns
    with pytest.raises(WarehouseError, match="has schema version 2, this program knows 1"):
        open_warehouse(new_url).__enter__()


def test_the_tasks_store_what_lies_on_disk(tmp_path, new_url):
    """Each task opens the job's own warehouse, writes and closes."""
    settings = {"name": "job", "source": {"path": "x.csv"}, "frequency": "h", "horizon": 2}
    settings |= {"columns": {"timestamp": "t", "target": ["value"]}, "warehouse": new_url}
    job = job_from_settings(settings, folder=tmp_path)
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
