"""A PostgreSQL that is away for a while: the step waits and goes on; a cut transaction is done again as a whole."""

import logging
import os
import signal
import threading
import time
from contextlib import contextmanager

import psycopg
import pytest

from tasks.errors import WarehouseError
from tasks.warehouse import RunRecord, open_warehouse, postgres

from .warehouse_rows import NOW, append, forecasts, observations, upsert

START = RunRecord(run_id="1", job="job", flow="forecast", started_at=NOW)
AWAY = float(os.environ.get("MOIRAI_TEST_AWAY", "1.5"))  # seconds


@pytest.fixture
def server(own_postgres):
    """A server with an empty warehouse, running again when the test is over."""
    with psycopg.connect(own_postgres.get_uri(), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    yield own_postgres
    own_postgres.ensure_postgres_running()


@contextmanager
def away(server, how=signal.SIGINT):
    """Stop the server (SIGQUIT: as after a crash) and start it again some time later."""
    info = server.get_postmaster_info()
    os.kill(info.pid, how)
    info.process.wait(30)
    timer = threading.Timer(AWAY, server.ensure_postgres_running)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_opening_waits_for_a_server_that_starts(server, caplog):
    """A step that comes while the database is away waits, says so and does its work."""
    started = time.monotonic()
    with away(server), caplog.at_level(logging.WARNING), open_warehouse(server.get_uri()) as warehouse:
        warehouse.record_run(START)
        assert warehouse.counts("job")["runs"] == 1
    assert time.monotonic() - started > AWAY
    assert "trying again" in caplog.text


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_write_that_was_cut_is_done_again_as_a_whole(server, how):
    """The server stops or crashes after the rows were inserted, before they are kept: all rows are there in the end."""
    with open_warehouse(server.get_uri()) as warehouse:
        upsert(warehouse, forecasts(mean=1.0))
        execute, cuts = warehouse._engine.execute, []

        def stop_after_the_rows(sql, values=()):
            count = execute(sql, values)
            if sql.startswith("INSERT") and not cuts:
                cuts.append(away(server, how))
                cuts[0].__enter__()
            return count

        warehouse._engine.execute = stop_after_the_rows
        assert upsert(warehouse, forecasts(mean=2.0, steps=4)) == 8
        cuts[0].__exit__(None, None, None)
    with open_warehouse(server.get_uri()) as warehouse:
        stored = warehouse.read_forecasts("job")
    assert len(stored) == 8
    assert (stored["mean"] == 2).all()


def test_a_write_whose_answer_was_lost_doubles_nothing(server):
    """The rows were kept, but the server died before it said so: the second try finds them."""
    with open_warehouse(server.get_uri()) as warehouse:
        engine, cuts = warehouse._engine, []
        transaction = engine._transaction

        @contextmanager
        def transaction_without_an_answer(cursor):
            with transaction(cursor):
                yield
            if not cuts:
                cuts.append(away(server, signal.SIGQUIT))
                cuts[0].__enter__()
                cursor.execute("SELECT 'was it kept?'")

        engine._transaction = transaction_without_an_answer
        warehouse.append_observations("job", observations([1.0, 2.0, 3.0]), panel_digest="d")
        cuts[0].__exit__(None, None, None)
        assert warehouse.counts("job")["observations"] == 3


def test_a_read_goes_on_after_a_restart(server):
    """A connection that was lost between two reads is made again."""
    with open_warehouse(server.get_uri()) as warehouse:
        append(warehouse, observations([1.0, 2.0]))
        with away(server):
            assert warehouse.read_observations("job")["value"].tolist() == [1.0, 2.0]


def test_a_server_that_stays_away_is_one_clear_error(server, monkeypatch):
    """The error names the database and what to check; the traceback shows no password either."""
    monkeypatch.setattr(postgres, "PATIENCE", 0.5)
    url = server.get_uri().replace("postgres:@", "postgres:s3cret@")
    server.stop()
    with pytest.raises(
        WarehouseError, match=r"^warehouse postgresql:///postgres in .* cannot be reached: .*; check `w"
    ):
        open_warehouse(url).__enter__()


def test_a_wrong_password_is_told_at_once(server):
    """The database was reached, so that waiting would not help; the password is nowhere in the error."""
    rules = server.pgdata / "pg_hba.conf"
    before = rules.read_text()
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS locked")
        connection.execute("CREATE ROLE locked LOGIN PASSWORD 'r1ght/@' IN ROLE pg_write_all_data, pg_read_all_data")
        connection.execute("GRANT ALL ON SCHEMA public TO locked")
        rules.write_text(f"local all locked scram-sha-256\n{before}")
        connection.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)
        started = time.monotonic()
        with pytest.raises(WarehouseError, match="password authentication failed") as caught:
            open_warehouse(server.get_uri().replace("postgres:@", "locked:wr0ng@")).__enter__()
        assert time.monotonic() - started < 5
        assert "wr0ng" not in str(caught.value)
        with open_warehouse(server.get_uri().replace("postgres:@", "locked:r1ght%2F%40@")) as warehouse:
            warehouse.record_run(START)
        rules.write_text(before)
        connection.execute("SELECT pg_reload_conf()")
