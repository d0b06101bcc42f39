"""The warehouse as a file: locks of others, damaged files, and what is no warehouse."""

import threading
import time

import duckdb
import pytest

from tasks.errors import WarehouseError
from tasks.warehouse import RunRecord, embedded, open_warehouse

from .warehouse_processes import HOLD, child
from .warehouse_rows import NOW

START = RunRecord(run_id="1", job="job", flow="forecast", started_at=NOW)


@pytest.fixture
def url(tmp_path):
    """URL of a warehouse that is not there yet, nor is its folder."""
    return f"duckdb:///{tmp_path}/deep/er/w.duckdb"


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
    for url in ("mysql://me:secret@host/name", "duckdb:///", "w.duckdb"):
        with pytest.raises(
            WarehouseError, match="is no warehouse URL; write duckdb:///FILE or postgresql://"
        ) as caught:
            open_warehouse(url).__enter__()
        assert "secret" not in str(caught.value)


def test_a_file_of_another_program_is_left_alone(tmp_path):
    """A database that has a table of the same name, not made here, is refused and unchanged."""
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE forecasts (weather TEXT)")
    with pytest.raises(WarehouseError, match="has a table forecasts that is not ours"):
        open_warehouse(f"duckdb:///{path}").__enter__()
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SHOW TABLES").fetchall() == [("forecasts",)]
