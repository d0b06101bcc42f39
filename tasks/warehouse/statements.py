"""SQL texts of writes and reads.

Names in them are this package's own or were checked against a pattern, and are quoted; every value
is bound.
"""
# ruff: noqa: S608

from collections.abc import Sequence


def quoted(name: str) -> str:
    """A name as SQL reads it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def names(columns: Sequence[str]) -> str:
    """Quoted names with commas between."""
    return ", ".join(quoted(column) for column in columns)


def upsert(
    table: str,
    *,
    key: Sequence[str],
    bound: Sequence[str],
    staged: Sequence[str] = (),
    source: str | None = None,
    cleared: Sequence[str] = (),
) -> str:
    """Insert rows; one whose key is there already is replaced as a whole.

    Args:
        table: that receives the rows.
        key: its primary key.
        bound: columns with one bound value each, the same in all rows; in the order of the values.
        staged: columns taken from `source`.
        source: relation with the rows; None: one row of bound values.
        cleared: columns set to NULL.
    """
    columns = [*bound, *staged, *cleared]
    select = ["?"] * len(bound) + [quoted(name) for name in staged] + ["NULL"] * len(cleared)
    changes = [f"{quoted(n)} = excluded.{quoted(n)}" for n in columns if n not in key]
    return (
        f"INSERT INTO {quoted(table)} ({names(columns)}) SELECT {', '.join(select)}"
        + (f" FROM {source}" if source else "")
        + f" ON CONFLICT ({names(key)}) DO UPDATE SET {', '.join(changes)}"
    )


def latest_observations(columns: int | None = None) -> str:
    """The latest value of each key as of a moment; binds job, moment, `columns` column names."""
    chosen = f" AND column_name IN ({_places(columns)})" if columns is not None else ""
    return f"""SELECT job, item_id, column_name, timestamp, known_at, value, panel_digest
        FROM (
            SELECT *, row_number() OVER (
                PARTITION BY item_id, column_name, timestamp ORDER BY known_at DESC) AS age
            FROM observations WHERE job = ? AND known_at <= ?{chosen}
        ) AS known
        WHERE age = 1"""


def known_items() -> str:
    """The series of a job of which anything was known at a moment; binds job, moment."""
    return "SELECT DISTINCT item_id FROM observations WHERE job = ? AND known_at <= ? ORDER BY item_id"


def append_observations(source: str) -> str:
    """Add staged values that differ from the known; binds job, known_at, digest, job, known_at."""
    return f"""INSERT INTO observations
            (job, known_at, panel_digest, item_id, column_name, timestamp, value)
        SELECT ?, ?, ?, new.item_id, new.column_name, new.timestamp, new.value
        FROM {source} AS new
        LEFT JOIN ({latest_observations()}) AS old
            ON old.item_id = new.item_id AND old.column_name = new.column_name
            AND old.timestamp = new.timestamp
        WHERE old.value IS NULL OR old.value <> new.value"""


def append_unknown_observations(source: str) -> str:
    """Add staged values of keys that have no version at all; binds job, known_at, digest, job."""
    return f"""INSERT INTO observations
            (job, known_at, panel_digest, item_id, column_name, timestamp, value)
        SELECT ?, ?, ?, new.item_id, new.column_name, new.timestamp, new.value
        FROM {source} AS new
        WHERE NOT EXISTS (
            SELECT 1 FROM observations AS old
            WHERE old.job = ? AND old.item_id = new.item_id AND old.column_name = new.column_name
                AND old.timestamp = new.timestamp)"""


def first_known_later() -> str:
    """The first version of the keys of a job of which nothing was known at a moment; binds job, moment."""
    return """SELECT item_id, column_name, timestamp, known_at, value
        FROM (
            SELECT *, row_number() OVER (
                PARTITION BY item_id, column_name, timestamp ORDER BY known_at) AS age
            FROM observations WHERE job = ?) AS version
        WHERE age = 1 AND known_at > ?"""


def served(flows: int) -> str:
    """The moments that completed runs of some flows stood at, each once; binds job, `flows` flows."""
    return f"""SELECT DISTINCT as_of FROM runs
        WHERE job = ? AND status = 'completed' AND as_of IS NOT NULL AND flow IN ({_places(flows)})
        ORDER BY as_of"""


def contradictions(source: str) -> str:
    """Staged values that differ from those of the very same moment; binds job, known_at."""
    return f"""SELECT item_id, column_name, timestamp, old.value AS known, new.value AS given
        FROM {source} AS new JOIN observations AS old USING (item_id, column_name, timestamp)
        WHERE old.job = ? AND old.known_at = ? AND old.value <> new.value
        ORDER BY item_id, column_name, timestamp LIMIT 1"""


def select(table: str, *, where: Sequence[str], order: Sequence[str]) -> str:
    """All columns of the rows whose `where` columns equal the bound values, in order."""
    conditions = " AND ".join(f"{quoted(name)} = ?" for name in where)
    return ordered(f"SELECT * FROM {quoted(table)} WHERE {conditions}", order)


def ordered(query: str, columns: Sequence[str]) -> str:
    """A query with its rows in the order of some of its columns."""
    return f"{query} ORDER BY {names(columns)}"


def count(table: str) -> str:
    """How many rows a job has; binds the job."""
    return f"SELECT count(*) AS n FROM {quoted(table)} WHERE job = ?"


def _places(number: int) -> str:
    return ", ".join(["?"] * number) or "NULL"
