"""Reads of the warehouse: one query each.

In: the name of a job and, to narrow it down, values that rows must have. Out: a frame with the
columns of the table, in the order of its key; time stamps are datetime64[ns] without time zone, a
missing number is NaN, a missing text None. Fails with `WarehouseError`.
"""

import json
from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from tasks.warehouse import schema, statements
from tasks.warehouse.engine import Engine, Value
from tasks.warehouse.frames import utc

SERVING = ("forecast", "pipeline", "backfill")  # flows that leave forecasts
KEY_OF_OBSERVATION = ("item_id", "column_name", "timestamp")
END_OF_TIME = datetime(9999, 12, 31)  # noqa: DTZ001 - UTC as all of ours; after every known_at


class Reader:
    """An open warehouse as its readers see it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read_observations(
        self, job: str, *, as_of: datetime | None = None, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """The observations as they were known at a moment, one row per series, column and time.

        Args:
            job: name of the job.
            as_of: what became known later (`known_at`) is not seen; without time zone it is UTC.
                None: see all.
            columns: columns of the panel to read; None: all.
        """
        moment = END_OF_TIME if as_of is None else utc(as_of, "as_of")
        latest = statements.latest_observations(None if columns is None else len(columns))
        sql = statements.ordered(latest, KEY_OF_OBSERVATION)
        return self._query(sql, [job, moment, *(columns or ())])

    def read_items(self, job: str, *, as_of: datetime | None = None) -> list[str]:
        """The series of which observations were known at a moment, sorted; `as_of` as in `read_observations`."""
        moment = END_OF_TIME if as_of is None else utc(as_of, "as_of")
        return list(self._query(statements.known_items(), [job, moment])["item_id"])

    def read_known(self, job: str, as_of: datetime) -> pd.DataFrame:
        """What a run that stood at a moment knew: item_id, column_name, timestamp, value; latest version each.

        Args:
            job: name of the job.
            as_of: the moment; without time zone it is UTC.
        """
        return self.read_observations(job, as_of=as_of)[[*KEY_OF_OBSERVATION, "value"]]

    def read_first_known(self, job: str, after: datetime) -> pd.DataFrame:
        """What nothing was known of at a moment, but later: item_id, column_name, timestamp, known_at, value.

        A key has one row, its first version.

        Args:
            job: name of the job.
            after: the moment; a key first known at it is not among them. Without time zone it is UTC.
        """
        sql = statements.ordered(statements.first_known_later(), KEY_OF_OBSERVATION)
        return self._query(sql, [job, utc(after, "after")])

    def read_served(self, job: str) -> list[datetime]:
        """The moments that forecasts were completed for, each once, rising; in the time of the source."""
        frame = self._query(statements.served(len(SERVING)), [job, *SERVING])
        return [stamp.to_pydatetime() for stamp in frame["as_of"]]

    def read_forecasts(
        self,
        job: str,
        *,
        origin: datetime | None = None,
        model_name: str | None = None,
        model_version: str | None = None,
    ) -> pd.DataFrame:
        """The forecasts of a job, quantile columns last; a level that a row came without is NaN."""
        frame = self._select("forecasts", job, origin=origin, model_name=model_name, model_version=model_version)
        return frame[sorted(frame.columns, key=lambda name: schema.percent(str(name)) or 0)]

    def read_scores(
        self,
        job: str,
        *,
        config_hash: str | None = None,
        panel_digest: str | None = None,
        model_name: str | None = None,
        model_version: str | None = None,
        metric: str | None = None,
    ) -> pd.DataFrame:
        """The backtest scores of a job; one that is not defined is NaN."""
        return self._select(
            "scores",
            job,
            config_hash=config_hash,
            panel_digest=panel_digest,
            model_name=model_name,
            model_version=model_version,
            metric=metric,
        )

    def read_quarantine(self, job: str, *, panel_digest: str | None = None) -> pd.DataFrame:
        """The series that were left out; `first_rows` holds lists of lines."""
        frame = self._select("quarantine", job, panel_digest=panel_digest)
        frame["first_rows"] = [json.loads(text) for text in frame["first_rows"]]
        return frame

    def read_runs(self, job: str) -> pd.DataFrame:
        """The runs of a job, oldest first; `rows` holds dictionaries of counts."""
        sql = statements.select("runs", where=["job"], order=["started_at", "run_id"])
        frame = self._query(sql, [job])
        frame["rows"] = [json.loads(text) for text in frame["rows"]]
        return frame

    def read_accuracy(
        self,
        job: str,
        *,
        origin: datetime | None = None,
        model_name: str | None = None,
        model_version: str | None = None,
    ) -> pd.DataFrame:
        """Forecasts beside what came true, for time stamps whose actual value is known.

        The columns are the key of `forecasts` and those that `schema.accuracy_view` describes.
        """
        return self._select("accuracy", job, origin=origin, model_name=model_name, model_version=model_version)

    def counts(self, job: str) -> dict[str, int]:
        """How many rows each table has for a job."""
        return {table: int(self._engine.query(statements.count(table), [job])["n"][0]) for table in schema.KEYS}

    def _select(self, table: str, job: str, **wanted: Value) -> pd.DataFrame:
        values = {"job": job} | {name: value for name, value in wanted.items() if value is not None}
        order = schema.KEYS["forecasts" if table == "accuracy" else table]
        sql = statements.select(table, where=list(values), order=order)
        return self._query(sql, list(values.values()))

    def _query(self, sql: str, values: Sequence[Value]) -> pd.DataFrame:
        frame = self._engine.query(sql, values)
        stamps = frame.select_dtypes("datetime64").columns
        return frame.astype(dict.fromkeys(stamps, "datetime64[ns]"))
