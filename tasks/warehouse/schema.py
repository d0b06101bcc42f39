"""The tables of the warehouse, their versions, and the accuracy view.

A change of the schema is a further entry of `MIGRATIONS`; entries that were released never change.
The quantile columns of `forecasts` are no part of a version: a write that brings a new level adds
its column.
"""

import re
from collections.abc import Sequence
from decimal import Decimal

from tasks.errors import WarehouseError
from tasks.warehouse.engine import Engine
from tasks.warehouse.statements import quoted

KEYS: dict[str, tuple[str, ...]] = {
    "observations": ("job", "item_id", "column_name", "timestamp", "known_at"),
    "forecasts": (
        *("job", "item_id", "target_name", "origin", "timestamp"),
        *("model_name", "model_version"),
    ),
    "scores": (
        *("job", "model_name", "model_version", "config_hash", "panel_digest"),
        *("item_id", "target_name", "window_origin", "metric"),
    ),
    "quarantine": ("job", "as_of", "panel_digest", "item_id", "rule"),
    "runs": ("run_id",),
}
"""The tables and the key of each."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at TIMESTAMP NOT NULL)",
        """CREATE TABLE observations (
            job TEXT NOT NULL, item_id TEXT NOT NULL, column_name TEXT NOT NULL,
            timestamp TIMESTAMP NOT NULL, known_at TIMESTAMP NOT NULL,
            value DOUBLE PRECISION NOT NULL, panel_digest TEXT NOT NULL,
            PRIMARY KEY (job, item_id, column_name, timestamp, known_at))""",
        """CREATE TABLE forecasts (
            job TEXT NOT NULL, item_id TEXT NOT NULL, target_name TEXT NOT NULL,
            origin TIMESTAMP NOT NULL, timestamp TIMESTAMP NOT NULL,
            model_name TEXT NOT NULL, model_version TEXT NOT NULL,
            issued_at TIMESTAMP NOT NULL, run_id TEXT NOT NULL, mean DOUBLE PRECISION NOT NULL,
            PRIMARY KEY
                (job, item_id, target_name, origin, timestamp, model_name, model_version))""",
        """CREATE TABLE scores (
            job TEXT NOT NULL, model_name TEXT NOT NULL, model_version TEXT NOT NULL,
            config_hash TEXT NOT NULL, panel_digest TEXT NOT NULL, item_id TEXT NOT NULL,
            target_name TEXT NOT NULL, window_origin TIMESTAMP NOT NULL, metric TEXT NOT NULL,
            value DOUBLE PRECISION, run_id TEXT NOT NULL,
            PRIMARY KEY (job, model_name, model_version, config_hash, panel_digest,
                item_id, target_name, window_origin, metric))""",
        """CREATE TABLE quarantine (
            job TEXT NOT NULL, as_of TIMESTAMP NOT NULL, panel_digest TEXT NOT NULL,
            item_id TEXT NOT NULL, rule TEXT NOT NULL, why TEXT NOT NULL, first_rows TEXT NOT NULL,
            PRIMARY KEY (job, as_of, panel_digest, item_id, rule))""",
        """CREATE TABLE runs (
            run_id TEXT PRIMARY KEY, job TEXT NOT NULL, flow TEXT NOT NULL,
            started_at TIMESTAMP NOT NULL, status TEXT NOT NULL, as_of TIMESTAMP,
            config_hash TEXT, panel_digest TEXT, model_name TEXT, model_version TEXT,
            rows TEXT NOT NULL, seconds DOUBLE PRECISION, error TEXT)""",
    ),
)
"""Entry n makes version n + 1 of version n."""

QUANTILE = re.compile(r"q((?:0|[1-9][0-9]?)(?:\.[0-9]{0,5}[1-9])?)")  # q10, q2.5; never q010, q2.50


def prepare(engine: Engine, *, read_only: bool) -> None:
    """Bring the schema of a database to this version; does nothing when it is there already.

    Raises:
        WarehouseError: the database is of a newer version or another program's, or is older and may
            only be read.
    """
    version = _usable_version(engine)
    if version == len(MIGRATIONS):
        return
    if read_only:
        raise WarehouseError(
            f"{engine.name} has schema version {version}, this program needs {len(MIGRATIONS)}; "
            "run a flow that stores once, which brings it up to date"
        )
    engine.alter(lambda: _migrate(engine))


def _migrate(engine: Engine) -> None:
    """Make what is missing; another process may have made it since it was looked for."""
    missing = range(_usable_version(engine) + 1, len(MIGRATIONS) + 1)
    for number in missing:
        for statement in MIGRATIONS[number - 1]:
            engine.execute(re.sub(r"\bTEXT\b", engine.text, statement))
        engine.execute("INSERT INTO schema_version VALUES (?, ?)", [number, engine.now()])
    if missing:
        engine.execute(accuracy_view(quantile_columns(engine)))


def _usable_version(engine: Engine) -> int:
    """Version of the schema in a database, which this program must know."""
    version = _stored_version(engine)
    if version > len(MIGRATIONS):
        raise WarehouseError(
            f"{engine.name} has schema version {version}, this program knows {len(MIGRATIONS)}; "
            "update moirai-flows or use another warehouse"
        )
    return version


def _stored_version(engine: Engine) -> int:
    """Version of the schema in a database; 0 for one without our tables."""
    sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
    tables = set(engine.query(sql)["table_name"])
    if "schema_version" in tables:
        return int(engine.query("SELECT coalesce(max(version), 0) AS n FROM schema_version")["n"][0])
    taken = sorted(tables & {*KEYS, "accuracy"})
    if taken:
        raise WarehouseError(f"{engine.name} has a table {taken[0]} that is not ours; use another warehouse")
    return 0


def percent(name: str) -> Decimal | None:
    """Percent of a quantile column (`q2.5` -> 2.5); None when the name is not that of one."""
    match = QUANTILE.fullmatch(name)
    return Decimal(match[1]) if match and Decimal(match[1]) > 0 else None


def quantile_columns(engine: Engine) -> list[str]:
    """The quantile columns that `forecasts` has, rising."""
    sql = """SELECT column_name FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name = 'forecasts'"""
    levels = {name: percent(name) for name in engine.query(sql)["column_name"]}
    return sorted((name for name, level in levels.items() if level), key=lambda n: levels[n] or 0)


def ensure_quantile_columns(engine: Engine, names: Sequence[str]) -> None:
    """Add the quantile columns that `forecasts` lacks, NULL in its rows, and take them into the accuracy view.

    This is a transaction of its own, before the one that writes: it locks the table, which nobody
    could read while the rows are written otherwise. Where the write then fails, the columns stay,
    empty.
    """
    stored = quantile_columns(engine)
    new = [name for name in names if name not in stored]

    def add() -> None:
        for name in new:
            assert percent(name), f"{name!r} is no quantile column"
            engine.execute(f"ALTER TABLE forecasts ADD COLUMN IF NOT EXISTS {quoted(name)} DOUBLE PRECISION")
        engine.execute(accuracy_view(quantile_columns(engine)))

    if new:
        engine.alter(add)


def accuracy_view(quantiles: Sequence[str]) -> str:
    """SQL of the accuracy view: every forecast whose actual value is known, and how far off it was.

    `step` counts the rows of one origin by time. The actual value is the latest known one.
    `median_error` is median minus actual. `quantile_loss` is twice the pinball loss, averaged over
    the levels that the row has; its sum divided by the sum of absolute actuals is the weighted
    quantile loss. `inside_80` says whether the actual lies in q10..q90. Columns that need a level
    the row lacks are NULL.
    """
    losses, present = ["0"], ["0"]
    for name in quantiles:
        level, column = (percent(name) or 0) / 100, quoted(name)
        error = f"(actual - {column})"
        pinball = f"greatest({level:f} * {error}, ({level:f} - 1) * {error})"
        losses.append(f"coalesce(2 * {pinball}, 0)")
        present.append(f"CASE WHEN {column} IS NULL THEN 0 ELSE 1 END")
    q10, q50, q90 = (
        quoted(name) if name in quantiles else "CAST(NULL AS DOUBLE PRECISION)" for name in ("q10", "q50", "q90")
    )
    return f"""CREATE OR REPLACE VIEW accuracy AS
        SELECT job, item_id, target_name, origin, timestamp, model_name, model_version, step,
            actual, mean, {q50} - actual AS median_error, abs({q50} - actual) AS abs_error,
            CAST({" + ".join(losses)} AS DOUBLE PRECISION) / nullif({" + ".join(present)}, 0)
                AS quantile_loss,
            actual >= {q10} AND actual <= {q90} AS inside_80
        FROM (
            SELECT *, row_number() OVER (
                PARTITION BY job, item_id, target_name, origin, model_name, model_version
                ORDER BY timestamp) AS step
            FROM forecasts
        ) AS forecast
        JOIN (
            SELECT job, item_id, column_name AS target_name, timestamp, value AS actual
            FROM (
                SELECT *, row_number() OVER (
                    PARTITION BY job, item_id, column_name, timestamp ORDER BY known_at DESC) AS age
                FROM observations
            ) AS known
            WHERE age = 1
        ) AS latest USING (job, item_id, target_name, timestamp)"""  # noqa: S608 - checked names
