"""The warehouse itself: every write is one transaction.

In: frames and small records. Out: counts of rows written. Fails with `WarehouseError`; a write that
fails leaves nothing behind. A row that is written again is replaced as a whole, so that it always
stems from one run.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import WarehouseError
from tasks.quality import Quarantine
from tasks.secrets import redacted
from tasks.warehouse import frames, schema, statements
from tasks.warehouse.embedded import open_duckdb
from tasks.warehouse.engine import Engine, Value
from tasks.warehouse.frames import checked_text, local, storable, to_arrow, utc
from tasks.warehouse.postgres import open_postgres
from tasks.warehouse.postgres_address import is_postgres
from tasks.warehouse.reader import Reader
from tasks.warehouse.records import RunRecord

SCHEME = "duckdb:///"
URL_FORMS = f"{SCHEME}FILE or postgresql://USER:${{PASSWORD}}@HOST/DATABASE"


@contextmanager
def open_warehouse(url: str, *, read_only: bool = False) -> Iterator["Warehouse"]:
    """Open a warehouse for one short step; folder, file and schema are made when missing.

    An embedded warehouse is a file that one process at a time can open, reading included: open it
    late and close it soon. While another one has it open, this waits (`embedded.LOCK_WAIT` seconds
    at most). PostgreSQL serves many at once; while it is away, this waits (`postgres.PATIENCE`
    seconds at most).

    Args:
        url: `duckdb:///` and the path of the file, or a `postgresql://` URL.
        read_only: refuse writes; the file and the tables must exist.

    Raises:
        WarehouseError: the URL is of no known kind; the file stays locked, is no DuckDB database or
            cannot be written; PostgreSQL cannot be reached or lets the user not in; the schema is
            that of a newer version.
    """
    with _opened(url, read_only=read_only) as engine:
        schema.prepare(engine, read_only=read_only)
        yield Warehouse(engine)


def _opened(url: str, *, read_only: bool) -> AbstractContextManager[Engine]:
    if is_postgres(url):
        return open_postgres(url, read_only=read_only)
    path = url.removeprefix(SCHEME)
    if path == url or not path:
        raise WarehouseError(f"{redacted(url)!r} is no warehouse URL; write {URL_FORMS}")
    return open_duckdb(Path(path), read_only=read_only)


class Warehouse(Reader):
    """An open warehouse, made by `open_warehouse`; a method that fails raises `WarehouseError`."""

    def append_observations(
        self,
        job: str,
        frame: pd.DataFrame,
        *,
        known_at: datetime | None = None,
        panel_digest: str,
        only_unknown: bool = False,
    ) -> int:
        """Add what an ingest saw, where it differs from what was known at its moment.

        Nothing is changed or removed, so that a later read can stand at any moment. A value equal
        to the one known at `known_at` adds no row; hence the same ingest twice adds nothing. A
        missing value adds no row and takes none back. An ingest that comes late (its `known_at`
        lies before that of stored rows) is filed at its own moment: it is compared to what was
        known then, and rows known later stay the truth from their moment on.

        Args:
            job: name of the job.
            frame: item_id, column_name, timestamp, value; see `observation_rows`.
            known_at: moment of the ingest; without time zone it is UTC. None: the moment of the write
                by the warehouse's clock, taken once no other writer of the job can come between: of
                two at once the second one finds the first one's rows.
            panel_digest: of the panel that the values are from.
            only_unknown: leave out the values of keys that have any version, whatever its moment: a
                run that stands in the past must not file its old view as a revision.

        Returns:
            How many rows were added.

        Raises:
            WarehouseError: the frame is not as described, or contradicts an ingest of the very same
                moment.
        """
        rows = to_arrow(frame, frames.OBSERVATIONS)
        rows = rows.filter(pc.is_valid(rows["value"]))
        given = utc(known_at, "known_at") if known_at is not None else None
        texts = _texts(job=job, panel_digest=panel_digest)

        def work(staged: str) -> int:
            moment = given or self._engine.now()
            bound: list[Value] = [job, moment, texts["panel_digest"], job]
            if only_unknown:
                return self._engine.execute(statements.append_unknown_observations(staged), bound)
            clash = self._engine.query(statements.contradictions(staged), [job, moment])
            if len(clash):
                raise WarehouseError(_contradiction(clash.iloc[0], moment))
            return self._engine.execute(statements.append_observations(staged), [*bound, moment])

        return self._engine.write(work, rows=rows, turn=job)

    def upsert_forecasts(self, job: str, frame: pd.DataFrame, *, issued_at: datetime, run_id: str) -> int:
        """Store forecasts; one whose key is there already is replaced, levels it lacks become NULL.

        Args:
            job: name of the job.
            frame: item_id, target_name, origin, timestamp, model_name, model_version, mean and
                quantile columns named by percent (q10, q2.5); a level that is new to the warehouse
                becomes a column.
            issued_at: moment of the forecast; without time zone it is UTC.
            run_id: of the run that made it.

        Returns:
            How many rows were written.
        """
        shape = frames.forecast_shape(frame)
        rows = frames.forecast_rows(frame, shape)
        bound = _texts(job=job, run_id=run_id) | {"issued_at": utc(issued_at, "issued_at")}
        schema.ensure_quantile_columns(self._engine, [name for name in shape.numbers if name != "mean"])
        return self._upsert("forecasts", bound, rows, shape)

    def upsert_scores(self, job: str, frame: pd.DataFrame, *, config_hash: str, panel_digest: str, run_id: str) -> int:
        """Store the scores of a backtest; an undefined one (NaN) is kept as NULL.

        Args:
            job: name of the job.
            frame: model_name, model_version, item_id, target_name, window_origin, metric, value.
            config_hash: of the settings that the scores depend on; part of the key.
            panel_digest: of the panel that was scored; part of the key.
            run_id: of the run that wrote last.

        Returns:
            How many rows were written.
        """
        rows = to_arrow(frame, frames.SCORES)
        bound = _texts(job=job, config_hash=config_hash, panel_digest=panel_digest, run_id=run_id)
        return self._upsert("scores", bound, rows, frames.SCORES)

    def upsert_quarantine(self, job: str, records: Sequence[Quarantine], *, as_of: datetime, panel_digest: str) -> int:
        """Store which series were left out, and why.

        Args:
            job: name of the job.
            records: at most one per series and rule.
            as_of: moment the run stood at, in the time of the source.
            panel_digest: of the panel that was validated.

        Returns:
            How many rows were written.
        """
        shape = frames.QUARANTINE
        rows = to_arrow(frames.quarantine_frame(records), shape)
        bound = _texts(job=job, panel_digest=panel_digest) | {"as_of": local(as_of, "as_of")}
        return self._upsert("quarantine", bound, rows, shape)

    def record_run(self, record: RunRecord) -> None:
        """Store the record of a run; one with the same `run_id` is replaced."""
        values: dict[str, Value] = record.model_dump()
        values |= _texts(run_id=record.run_id, job=record.job, flow=record.flow)
        values["started_at"] = utc(record.started_at, "started_at")
        values["as_of"] = local(record.as_of, "as_of") if record.as_of is not None else None
        values["rows"] = json.dumps(record.rows)
        values["error"] = storable(record.error) if record.error is not None else None
        sql = statements.upsert("runs", key=schema.KEYS["runs"], bound=list(values))
        self._engine.write(lambda _: self._engine.execute(sql, list(values.values())))

    def _upsert(self, table: str, bound: Mapping[str, Value], rows: pa.Table, shape: frames.Shape) -> int:
        """Write rows; quantile columns that they lack become NULL."""

        def work(staged: str) -> int:
            levels = schema.quantile_columns(self._engine) if table == "forecasts" else []
            sql = statements.upsert(
                table,
                key=schema.KEYS[table],
                bound=list(bound),
                staged=shape.columns,
                source=staged,
                cleared=[name for name in levels if name not in shape.numbers],
            )
            return self._engine.execute(sql, list(bound.values()))

        return self._engine.write(work, rows=rows, turn=str(bound["job"]))


def _texts(**values: str) -> dict[str, Value]:
    """Values that are the same in all rows of a write, checked."""
    return {name: checked_text(value, name) for name, value in values.items()}


def _contradiction(clash: pd.Series, moment: datetime) -> str:
    """One value that two ingests of the same moment give differently."""
    key = f"{clash['item_id']}, {clash['column_name']} at {clash['timestamp']}"
    return (
        f"observations: {key} was {clash['known']:g} as known at {moment}, now {clash['given']:g}; "
        "a revised value needs a later known_at"
    )
