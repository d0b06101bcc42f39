"""Queries: what PostgreSQL and SQLite answer becomes a raw panel; failures are one sentence without the password."""

import sqlite3
import sys
import time
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import create_engine, text

from tasks.errors import JobError, SourceError
from tasks.ingest import _is_worth_a_retry, ingest_source, read_source
from tasks.panel import KEYS, SOURCE_ROW, read_panel
from tasks.sources.database import DatabaseUnreachableError, database_url

from .sold import make_job

TABLE = """
    CREATE TABLE "Sales 'n' more" (
        shop text, "when" timestamptz, sold numeric(10, 2), "price % €" real, open boolean, region text
    )
"""
ROWS = """
    INSERT INTO "Sales 'n' more" VALUES
        ('köln', '2024-01-02 00:00+01', 4.50, 1.5, true, 'west'),
        ('bonn', '2024-01-02 00:00+01', 3, NULL, false, 'west'),
        ('bonn', '2024-01-01 00:00+01', NULL, 2.5, true, 'west')
"""
SELECT = """SELECT * FROM "Sales 'n' more" WHERE shop LIKE '%n%' AND ':name' <> '%s' -- 100 %"""


@pytest.fixture(scope="module")
def shop_url(postgres_url):
    """A PostgreSQL with a table of sales."""
    engine = create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text(TABLE))
        connection.execute(text(ROWS))
    engine.dispose()
    return postgres_url


def query(url, sql, **source):
    """The block `source` of a query."""
    return {"url": url, "query": sql, **source}


def in_berlin(url, sql=SELECT):
    """The block `source` of a query whose time stamps have zones."""
    return query(url, sql, to_timezone="Europe/Berlin")


def test_postgresql(tmp_path, shop_url):
    """Zoned stamps, decimals, nulls, flags and names with signs of every kind arrive; the query stands as written."""
    columns = {"past": ["price % €", "open"], "static": ["region"]}
    job = make_job(tmp_path, in_berlin(shop_url), columns=columns)
    panel = ingest_source(job)
    frame = read_panel(panel)
    assert frame.columns.tolist() == [*KEYS, SOURCE_ROW, "sold", "price % €", "open"]
    assert frame["item_id"].tolist() == ["bonn", "bonn", "köln"]
    assert frame["timestamp"].tolist() == [pd.Timestamp(f"2024-01-0{day}") for day in (1, 2, 2)]
    np.testing.assert_array_equal(frame["sold"], [np.nan, 3, 4.5])
    np.testing.assert_array_equal(frame["price % €"], [2.5, np.nan, 1.5])
    np.testing.assert_array_equal(frame["open"], [1, 0, 1])
    assert panel.place(3) == "row 3"
    assert pd.read_parquet(panel.static_path)["region"].tolist() == ["west", "west"]
    assert ingest_source(job) == panel


def test_many_rows_come_in_chunks(tmp_path, shop_url, monkeypatch):
    """An answer longer than one chunk keeps counting its rows."""
    monkeypatch.setattr("tasks.sources.chunk.ROWS", 7)
    sql = "SELECT date '2024-01-01' + i AS \"when\", i AS sold, 'a' AS shop FROM generate_series(0, 29) AS i;"
    frame = read_source(make_job(tmp_path, query(shop_url, sql)))
    assert frame[SOURCE_ROW].tolist() == list(range(1, 31))
    assert frame["sold"].tolist() == list(range(30))


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM absent", 'source.query fails on postgresql.*: relation "absent" does not exist'),
        ('SELECT 1 / (i - 3) AS sold, i AS shop, now() AS "when" FROM generate_series(1, 9) i', "division by zero"),
        ("SELECT * FROM \"Sales 'n' more\" WHERE false", "source.query returned no rows"),
        ('SELECT shop, "when" FROM "Sales \'n\' more"', "source.query has no column 'sold'; it has shop, when"),
        ("SELECT 'x' AS sold, 'a' AS shop, now() AS \"when\"", "source.query, column 'sold', row 1: 'x' is no finite"),
        ('SELECT 1 AS sold, NULL AS shop, now() AS "when"', "column 'shop', row 1: no item id"),
        ("SELECT 1 AS sold, 'a' AS shop, NULL::date AS \"when\"", "column 'when', row 1: .* is no time stamp"),
        ("SELECT 1 AS sold, 2 AS sold, 'a' AS shop, 3 AS \"when\"", "more than one column 'sold'"),
        ("DELETE FROM \"Sales 'n' more\"", "source.query fails"),
        ("WITH gone AS (DELETE FROM \"Sales 'n' more\" RETURNING *) SELECT * FROM gone", "source.query fails"),
        ("nonsense", "source.query fails.*syntax error"),
    ],
)
def test_queries_that_cannot_be_used(tmp_path, shop_url, sql, message):
    """What a database answers with, in one line; nothing is written there or here, and nothing tried again."""
    with pytest.raises(SourceError, match=message) as caught:
        ingest_source(make_job(tmp_path, in_berlin(shop_url, sql)))
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, DatabaseUnreachableError)
    assert not (tmp_path / "moirai-work").exists()
    assert len(read_source(make_job(tmp_path, in_berlin(shop_url, "SELECT * FROM \"Sales 'n' more\"")))) == 3


def test_zones_are_never_guessed(tmp_path, shop_url):
    """A column of moments with zone needs to be told where time is kept."""
    with pytest.raises(SourceError, match=r"source.query, column 'when', row 1: .*source.to_timezone"):
        read_source(make_job(tmp_path, query(shop_url, SELECT)))


def test_connections_are_closed(tmp_path, shop_url):
    """Neither a good nor a failing query leaves a connection behind."""
    count = """SELECT count(*) - 1 AS sold, 'a' AS shop, date '2024-01-01' AS "when"
        FROM pg_stat_activity WHERE backend_type = 'client backend'"""
    for sql in ("SELECT * FROM absent", SELECT):
        with pytest.raises(SourceError):
            read_source(make_job(tmp_path, query(shop_url, sql)))
    for _ in range(100):  # the server takes a moment to see that its client is gone
        others = read_source(make_job(tmp_path, query(shop_url, count)))["sold"].item()
        if not others:
            break
        time.sleep(0.1)
    assert others == 0


@pytest.fixture
def sqlite_file(tmp_path):
    """A SQLite database with a table of sales, in which any column holds anything."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute('CREATE TABLE sales (shop, "when", sold)')
        rows = [(7, "2024-01-02", 4), (7, "2024-01-01", None), ("b", "2024-01-01", "2.5")]
        connection.executemany("INSERT INTO sales VALUES (?, ?, ?)", rows)
    return tmp_path / "shop.db"


def test_sqlite(tmp_path, sqlite_file):
    """A relative path starts at the job's folder; numbers, text and nothing stand side by side in one column."""
    frame = read_source(make_job(tmp_path, query("sqlite:///shop.db", "SELECT * FROM sales")))
    assert frame["item_id"].tolist() == ["7", "7", "b"]
    np.testing.assert_array_equal(frame["sold"], [np.nan, 4, 2.5])
    assert frame[SOURCE_ROW].tolist() == [2, 1, 3]
    with pytest.raises(SourceError, match="attempt to write a readonly database"):
        read_source(make_job(tmp_path, query(f"sqlite:///{sqlite_file}", "DELETE FROM sales")))


def test_absent_sqlite_file_is_not_made(tmp_path):
    """SQLite would make an empty database where there is none."""
    with pytest.raises(SourceError, match=r"database .*absent.db does not exist; set source.url"):
        read_source(make_job(tmp_path, query("sqlite:///absent.db", "SELECT 1")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://me:${MISSING_SECRET}@localhost/db", "needs the environment variable MISSING_SECRET.*not set"),
        ("nowhere", "source.url 'nowhere' is no SQLAlchemy URL; write one such as postgresql://"),
        ("postgresql://me@localhost:port/db", "is no SQLAlchemy URL"),
        ("martian://me@localhost/db", "SQLAlchemy does not know 'martian'"),
        (
            "postgresql+psycopg2://me@localhost/db",
            "no driver for postgresql.psycopg2 is installed.*package of psycopg2",
        ),
    ],
)
def test_urls_that_cannot_be_used(tmp_path, url, message):
    """A URL is refused before anything is asked for."""
    with pytest.raises((JobError, SourceError), match=message):
        read_source(make_job(tmp_path, query(url, "SELECT 1")))


def test_absent_driver_of_postgresql_names_the_extra(tmp_path, monkeypatch):
    """Whoever installed without the extra learns its name."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "psycopg"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SourceError, match=r"pip install 'moirai-flows\[postgres\]'"):
        read_source(make_job(tmp_path, query("postgresql://me@localhost/db", "SELECT 1")))


def test_passwords_come_from_the_environment_and_stay_there(tmp_path, monkeypatch):
    """Signs in a password do not break the URL, and no message shows it."""
    monkeypatch.setenv("SHOP_SECRET", "p@ss/w%rd")
    monkeypatch.setenv("SHOP_HOST", "localhost:1")
    job = make_job(tmp_path, query("postgres://me:${SHOP_SECRET}@${SHOP_HOST}/db", "SELECT 1"))
    url = database_url(job)
    assert (url.password, url.host, url.port, url.database) == ("p@ss/w%rd", "localhost", 1, "db")
    with pytest.raises(
        DatabaseUnreachableError, match=r"database .*localhost:1/db is unreachable: .*refused"
    ) as caught:
        read_source(job)
    assert "p@ss" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_an_unreachable_database_is_tried_again():
    """A database may come back; a query stays wrong."""

    class State:
        def __init__(self, error):
            self.error = error

        def result(self, *, raise_on_failure):
            assert not raise_on_failure
            return self.error

    assert _is_worth_a_retry(None, None, State(DatabaseUnreachableError("gone")))
    assert not _is_worth_a_retry(None, None, State(SourceError("wrong")))
