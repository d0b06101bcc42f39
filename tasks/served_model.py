"""The model that MLflow serves, as code: it is stored with each version, beside the checkpoint.

In: a long frame (`item_id`, `timestamp` and the job's target columns; missing or null where a value is missing), its
rows in any order. Time stamps are datetimes or ISO 8601 text without a time zone, numbers are of any kind. Out: the
forecast frame of `MoiraiForecast.predict_frame`, value for value. The parameters `horizon`, `quantiles`, `frequency`,
`seed`, `num_samples` and `decoding` default to the job's, which the signature carries. Fails with `Refused`: one
sentence that names column, series or parameter, which MLflow's server answers with status 400.

A version that was fine-tuned with covariates takes their columns as well, under their own names: numbers, or the names
of a categorical one. With known covariates the frame goes on into the horizon: behind the last target of every series
stand rows with the known values and without target, one for each step of the job's horizon, also where fewer are asked
for. Rows without target at the end of a series are the horizon there; in other versions they are missing values. Static
columns are no input.

It needs `moirai` alone, never `tasks`; nobody imports it but MLflow.
"""

import json
from collections.abc import Sequence
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc import PythonModel, PythonModelContext

from moirai import MoiraiError, MoiraiForecast
from moirai.errors import ConfigError, DataError
from moirai.forecasting.covariates import CovariateEncoding
from moirai.forecasting.frame import split_horizon
from moirai.hub import load_module, resolve

LONGEST_HORIZON = 10_000  # steps; a request for millions would keep the server from all others
MOST_SAMPLES = 10_000  # the same
LARGEST_SEED = 2**63 - 1
ZONE = r"[T ]\d\S*(?:Z|[+-]\d{2}(?::?\d{2})?)$"  # behind the time of an ISO 8601 text
PER_REQUEST = ("seed", "num_samples", "decoding")  # options of `MoiraiForecast` that a request may change


class Refused(MlflowException):
    """A request that cannot be answered, said in one sentence."""

    def serialize_as_json(self) -> str:
        """What the server answers: the sentence alone, where MLflow would put the request's rows in front."""
        return json.dumps({"error_code": self.error_code, "message": str(self)})


class ServedForecast(PythonModel):
    """A checkpoint behind MLflow's `predict`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the checkpoint that was stored with the version."""
        checkpoint = context.artifacts["checkpoint"]
        self.options = dict(context.model_config)
        self.targets: list[str] = self.options.pop("targets")
        self.module = load_module(resolve(checkpoint))
        MoiraiForecast(self.module, **self.options)  # a choice that does not fit fails now, not with the first request
        self.encoding = CovariateEncoding.read(checkpoint)

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any],
    ) -> pd.DataFrame:
        """Forecast every series of a long frame; MLflow fills in the defaults of `params`."""
        try:
            return self._forecast(model_input, params)
        except MoiraiError as error:
            raise Refused(str(error), error_code=BAD_REQUEST) from error

    def _forecast(self, rows: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
        check_params(params)
        model = MoiraiForecast(self.module, **self.options | {name: params[name] for name in PER_REQUEST})
        encoding = self.encoding or CovariateEncoding(lead=0)
        numeric = [name for name in (*self.targets, *encoding.columns) if name not in encoding.names]
        history, future = read_rows(rows, numeric, list(encoding.names)), None
        if encoding.known:
            history, future = split_horizon(history, self.targets)
        check_values(history, self.targets)
        return model.predict_frame(
            history,
            target=self.targets,
            future=future,
            encoding=self.encoding,
            freq=params["frequency"],
            horizon=params["horizon"],
            levels=params["quantiles"],
        )


def check_params(params: dict[str, Any]) -> None:
    """Refuse what the library would not, or only after the work. `ConfigError`."""
    if unset := [name for name, value in params.items() if value is None]:
        raise ConfigError(f"{unset[0]} is null; leave it out for the job's own")
    if not 1 <= params["horizon"] <= LONGEST_HORIZON:
        raise ConfigError(f"horizon must be between 1 and {LONGEST_HORIZON:,}, not {params['horizon']}")
    if not 1 <= params["num_samples"] <= MOST_SAMPLES:
        raise ConfigError(f"num_samples must be between 1 and {MOST_SAMPLES:,}, not {params['num_samples']}")
    if not 0 <= params["seed"] <= LARGEST_SEED:
        raise ConfigError(f"seed must be between 0 and 2**63 - 1, not {params['seed']}")
    levels = list(params["quantiles"])
    if not levels:
        raise ConfigError("quantiles is empty; name at least one level, such as 0.5")
    if twice := [level for level in levels if levels.count(level) > 1]:
        raise ConfigError(f"quantiles names {twice[0]:g} twice; name each level once")


def read_rows(rows: pd.DataFrame, numeric: Sequence[str], named: Sequence[str]) -> pd.DataFrame:
    """The rows of a request with item ids as text, time stamps as such and numbers as float64; any index.

    Args:
        rows: of the request.
        numeric: columns of numbers.
        named: columns of names.

    Raises:
        DataError: there are no rows, or a cell is not what its column holds.
    """
    if rows.empty:
        raise DataError("the request has no rows")
    read = rows.reset_index(drop=True)
    if (unnamed := read["item_id"].isna()).any():
        raise DataError(f"row {unnamed.idxmax() + 1} has no item_id; every row names its series")
    read["item_id"] = read["item_id"].astype(str)
    read["timestamp"] = read_times(read)
    twice = read.duplicated(["item_id", "timestamp"])
    if twice.any():
        row = read.loc[twice.idxmax()]
        raise DataError(f"series {row['item_id']!r} has {row['timestamp']} twice; keep one row for each time stamp")
    for name in numeric:
        read[name] = read_numbers(read, name)
    for name in named:
        if (wrong := ~read[name].map(pd.api.types.is_scalar)).any():
            row = read.loc[wrong.idxmax()]
            raise DataError(f"column {name!r} of series {row['item_id']!r} holds {row[name]}, which is no name")
    return read


def read_times(rows: pd.DataFrame) -> pd.Series:
    """The column `timestamp`; numbers are refused, as nobody can tell their unit."""
    given = rows["timestamp"]
    if pd.api.types.is_datetime64_any_dtype(given):
        if given.dt.tz is not None:
            raise DataError(f"timestamp has the time zone {given.dt.tz}; send time stamps without one")
        times = given.astype("datetime64[ns]")
    else:
        texts = given.astype(object).where(given.map(lambda one: isinstance(one, str)))
        if (zoned := texts.str.contains(ZONE, na=False)).any():
            raise DataError(f"timestamp {given[zoned.idxmax()]!r} has a time zone; send time stamps without one")
        times = pd.to_datetime(texts, format="ISO8601", errors="coerce")
    if (wrong := times.isna()).any():
        row = wrong.idxmax()
        raise DataError(
            f"timestamp of series {rows['item_id'][row]!r} holds {shown(given[row])}, which is no time that can be "
            "read; write ISO 8601 text, such as '2024-01-31T18:00:00'"
        )
    return times


def read_numbers(rows: pd.DataFrame, name: str) -> pd.Series:
    """A column of numbers, missing where it has none; the infinite and the unreadable is refused."""
    given = rows[name]
    numbers = pd.to_numeric(given, errors="coerce").astype("float64")
    wrong = numbers.isna() & given.notna() | np.isinf(numbers)
    if wrong.any():
        row = wrong.idxmax()
        raise DataError(
            f"column {name!r} of series {rows['item_id'][row]!r} holds {shown(given[row])}, which is no number"
        )
    return numbers


def check_values(history: pd.DataFrame, targets: Sequence[str]) -> None:
    """Refuse a series of which nothing is known. `DataError`."""
    known = history[list(targets)].notna().groupby(history["item_id"]).any()
    for name in targets:
        if not known[name].all():
            raise DataError(f"series {known[name].idxmin()!r} has no value of {name!r} to forecast from")


def shown(value: Any) -> str:
    """A cell in an error: text in quotes."""
    return repr(value) if isinstance(value, str) else str(value)


mlflow.models.set_model(ServedForecast())
