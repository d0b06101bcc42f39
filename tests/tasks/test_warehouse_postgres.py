"""PostgreSQL under others' eyes: readers, other writers, the translation of statements, and what cannot be opened."""

import sys
import threading
import time

import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import WarehouseError
from tasks.warehouse import RunRecord, open_warehouse, postgres, postgres_address
from tasks.warehouse.copying import with_places

from .warehouse_rows import NOW, append, forecasts, observations, upsert

START = RunRecord(run_id="1", job="job", flow="forecast", started_at=NOW)


@pytest.fixture
def url(make_postgres):
    """URL of a warehouse that is not there yet."""
    return make_postgres()


def schema_of(url):
    """The schema that a URL of the suite stands for."""
    return url.rpartition("%3D")[2]


def test_both_spellings_of_the_url_open_the_same_warehouse(url):
    """PostgreSQL's own and SQLAlchemy's with the driver; the parameters behind the question mark count in both."""
    with open_warehouse(url) as warehouse:
        warehouse.record_run(START)
    with open_warehouse(url.replace("postgresql://", "postgresql+psycopg://")) as warehouse:
        assert warehouse.counts("job")["runs"] == 1


def test_a_reader_is_not_kept_waiting_by_a_long_write(url):
    """While a write with a new level is not committed, the rows before it are read at once; then the new ones."""
    with open_warehouse(url) as warehouse:
        upsert(warehouse, forecasts(mean=1.0))
    inside, may_commit = threading.Event(), threading.Event()

    def write():
        with open_warehouse(url) as warehouse:
            execute = warehouse._engine.execute

            def wait_after_the_rows(sql, values=()):
                count = execute(sql, values)
                if sql.startswith("INSERT"):
                    inside.set()
                    may_commit.wait(30)
                return count

            warehouse._engine.execute = wait_after_the_rows
            upsert(warehouse, forecasts(mean=2.0, q50=1.0))

    writer = threading.Thread(target=write)
    writer.start()
    assert inside.wait(30)
    started = time.monotonic()
    with open_warehouse(url, read_only=True) as warehouse:
        assert warehouse.read_forecasts("job")["mean"].unique().tolist() == [1.0]
        assert warehouse.read_accuracy("job").empty
    assert time.monotonic() - started < 2
    may_commit.set()
    writer.join(30)
    with open_warehouse(url, read_only=True) as warehouse:
        assert warehouse.read_forecasts("job")["mean"].unique().tolist() == [2.0]


def test_a_new_level_waits_for_a_long_reader_without_a_queue_behind_it(url, monkeypatch):
    """The column comes once the reader has ended; whoever reads meanwhile waits for a moment at most."""
    monkeypatch.setattr(postgres, "ALTER_WAIT", "200ms")
    with open_warehouse(url) as warehouse:
        upsert(warehouse, forecasts())
    done = threading.Event()

    def write():
        with open_warehouse(url) as warehouse:
            upsert(warehouse, forecasts(q50=1.0))
        done.set()

    with psycopg.connect(url) as reader:
        reader.execute("SELECT count(*) FROM forecasts")  # its transaction keeps the table
        writer = threading.Thread(target=write)
        writer.start()
        waits = []
        while not done.is_set() and len(waits) < 30:
            started = time.monotonic()
            with psycopg.connect(url) as other:
                assert other.execute("SELECT count(*) FROM forecasts").fetchone() == (6,)
            waits.append(time.monotonic() - started)
            time.sleep(0.05)
        assert not done.is_set()
    writer.join(30)
    assert done.is_set()
    assert max(waits) < 1
    with open_warehouse(url, read_only=True) as warehouse:
        assert (warehouse.read_forecasts("job")["q50"] == 1).all()


def test_a_deadlock_is_resolved_by_doing_the_write_again(url):
    """The transaction that PostgreSQL cuts is repeated as a whole, once the other one is through."""
    with open_warehouse(url) as warehouse, psycopg.connect(url) as other:
        engine = warehouse._engine
        other.execute("SET deadlock_timeout TO '1min'")  # ours is the one that is cut
        engine.execute("SET deadlock_timeout TO '50ms'")
        attempts, crossed = [], []

        def cross():
            other.execute("LOCK TABLE runs")
            other.commit()

        def work(_):
            attempts.append(engine.execute("LOCK TABLE runs"))
            if len(attempts) == 1:
                other.execute("LOCK TABLE scores")
                crossed.append(threading.Thread(target=cross))
                crossed[0].start()
                while not waits_for_a_lock(url):
                    time.sleep(0.01)
            engine.execute("LOCK TABLE scores")
            return engine.execute("UPDATE runs SET status = 'failed'")

        warehouse.record_run(START)
        assert engine.write(work) == 1
        crossed[0].join(30)
        assert len(attempts) == 2
        assert warehouse.read_runs("job")["status"].tolist() == ["failed"]


def waits_for_a_lock(url):
    """Whether anybody does."""
    with psycopg.connect(url) as connection:
        sql = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        return connection.execute(sql).fetchone()[0] > 0


def test_who_waited_for_a_turn_sees_what_was_written_before(url):
    """Also where the database takes every transaction's view at its start: the same values are not added again."""
    url, added, others = f"{url}%20-cdefault_transaction_isolation%3Drepeatable%5C%20read", [], []

    def observe():
        with open_warehouse(url) as warehouse:
            added.append(append(warehouse, observations([1.0, 2.0]), known_at=None))

    with open_warehouse(url) as warehouse:
        execute = warehouse._engine.execute

        def let_another_one_wait(sql, values=()):
            count = execute(sql, values)
            if sql.startswith("INSERT") and not others:
                others.append(threading.Thread(target=observe))
                others[0].start()
                while not waits_for_a_lock(url):
                    time.sleep(0.01)
            return count

        warehouse._engine.execute = let_another_one_wait
        assert append(warehouse, observations([1.0, 2.0]), known_at=None) == 2
    others[0].join(30)
    assert added == [0]


def test_jobs_do_not_wait_for_each_other(url):
    """While one job's write holds its turn, another job writes."""
    with open_warehouse(url) as one, open_warehouse(url) as other:
        assert one._engine.write(lambda _: upsert(other, forecasts(), job="other"), turn="job") == 6


NUMBERS = st.floats(allow_nan=False, width=64)


@settings(deadline=None)
@given(values=st.lists(NUMBERS, min_size=1, max_size=8))
def test_numbers_come_back_as_they_went_in(shared, values):
    """To the last bit, the infinite and the tiniest included, in both databases."""
    frame = forecasts(steps=4).head(len(values))
    scores = frame[["item_id", "target_name", "model_name", "model_version"]].assign(
        window_origin=frame["timestamp"], metric="wql", value=values
    )
    keys = {"config_hash": "c", "panel_digest": "p", "run_id": "r"}
    assert shared.upsert_scores("numbers", scores, **keys) == len(values)
    stored = shared.read_scores("numbers").head(len(values))
    given_back = scores.merge(stored, on=["item_id", "window_origin"], suffixes=("", "_stored"))
    np.testing.assert_array_equal(given_back["value"], given_back["value_stored"])


PIECES = st.sampled_from(["?", "'", '"', "%", "''", '""', " ", "a", "'?'", '"?"', "%s"])


@given(pieces=st.lists(PIECES, max_size=8), values=st.just([7]))
def test_place_holders_are_those_outside_of_quotes(pieces, values):
    """A `?` inside of a text or a name stays what it is, and so does every `%`."""
    text, name = "".join(pieces).replace("'", "''"), "".join(pieces).replace('"', '""')
    sql = with_places(f"""SELECT '{text}' AS "n{name}", ? + 1""")
    assert sql % tuple(values) == f"""SELECT '{text}' AS "n{name}", 7 + 1"""


def test_what_lets_nobody_in_is_named_at_once(url):
    """An absent database, an unknown user and a URL that cannot be read: one error each, without waiting."""
    base = url.partition("?")[0].removesuffix("postgres")
    query = url.partition("?")[2]
    cases = [
        (f"{base}absent?{query}", r"postgresql:///absent in .* cannot be reached: .*\"absent\" does not exist"),
        (url.replace("postgres:@", "nobody:s3cret@"), r"role \"nobody\" does not exist; check `warehouse`"),
        ("postgresql://me:s3cret/x@host/db", "the URL of PostgreSQL cannot be read; .* as %40 %2F %25"),
        ("postgresql://me:s3cret@host/db?unknown=s3cret", "the URL of PostgreSQL cannot be read"),
        (f"{url.partition('options')[0]}options=-csearch_path%3Dabsent", "no schema has been selected to create in"),
    ]
    for wrong, message in cases:
        started = time.monotonic()
        with pytest.raises(WarehouseError, match=message) as caught:
            open_warehouse(wrong).__enter__()
        assert time.monotonic() - started < 3
        assert "s3cret" not in str(caught.value)


def test_a_name_too_long_for_the_key_is_one_clear_error(url):
    """PostgreSQL limits the length of a key; nothing of the write is stored."""
    name = "".join(np.random.default_rng(0).choice(list("abcdefghijklmnopqrstuvwxyz0123456789"), 4_000))
    with open_warehouse(url) as warehouse:
        assert append(warehouse, observations([1.0], item=name[:2_000])) == 1
        with pytest.raises(WarehouseError, match=r"index row size .* exceeds btree .* maximum 2704"):
            append(warehouse, observations([1.0, 2.0], item=name))
        assert warehouse.counts("job")["observations"] == 1


def test_an_absent_driver_names_the_extra(url, monkeypatch):
    """Whoever installed without the extra learns its name."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(WarehouseError, match=r"pip install 'moirai-flows\[postgres\]'"):
        open_warehouse(url).__enter__()


def test_a_schema_of_another_program_is_left_alone(url):
    """A table of the same name, not made here, is refused and unchanged; other tables are no concern."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE weather (forecasts text)")
        with open_warehouse(url) as warehouse:
            warehouse.record_run(START)
        connection.execute("DROP VIEW accuracy")
        connection.execute("DROP TABLE schema_version")
        with pytest.raises(WarehouseError, match="has a table forecasts that is not ours"):
            open_warehouse(url).__enter__()
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)


def test_a_role_that_may_only_read_reads(url):
    """Whoever may not write opens what is there, and is told by the database when it writes all the same."""
    schema = schema_of(url)
    with open_warehouse(url) as warehouse, psycopg.connect(url, autocommit=True) as owner:
        warehouse.record_run(START)
        owner.execute(f"CREATE ROLE {schema}_reader LOGIN")
        owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO {schema}_reader")
        owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {schema}_reader")
    with open_warehouse(url.replace("postgres:@", f"{schema}_reader@")) as warehouse:
        assert warehouse.counts("job")["runs"] == 1
        with pytest.raises(WarehouseError, match=r"^warehouse postgresql:.*: permission denied for table runs$"):
            warehouse.record_run(START)


def test_defaults_yield_to_the_url():
    """What the URL sets stays; what people see has neither user nor password nor parameters."""
    url = "postgresql+psycopg://me:p%40ss@db.example:5433/wh?connect_timeout=3&sslmode=require"
    address = postgres_address.parse(url)
    assert address.shown == "postgresql://db.example:5433/wh"
    assert (address.parameters["connect_timeout"], address.parameters["sslmode"]) == ("3", "require")
    assert address.parameters["user"] + address.parameters["password"] == "mep@ss"
    assert address.parameters["application_name"] == "moirai"
