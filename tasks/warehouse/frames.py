"""What a frame must be like to be stored; every check comes before the first write.

In: a frame. Out: an Arrow table of the same rows: texts as dictionaries, time stamps in
microseconds, which is how finely databases count. Fails with `WarehouseError`, which names the
column, the value and the rule.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import WarehouseError
from tasks.panel import KEYS
from tasks.quality import Quarantine
from tasks.warehouse.schema import percent

EARLIEST, LATEST = np.datetime64("1678-01-01"), np.datetime64("2262-01-01")  # what pandas can hold


@dataclass(frozen=True)
class Shape:
    """Columns of a frame by kind, and what its numbers may be."""

    what: str  # what the frame holds, for errors
    key: tuple[str, ...]  # columns that tell the rows apart
    texts: tuple[str, ...]
    times: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    may_be_missing: bool = False  # numbers may be NaN, which becomes NULL
    may_be_infinite: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns; a frame must have these and no other."""
        return (*self.texts, *self.times, *self.numbers)


OBSERVATIONS = Shape(
    what="observations",
    key=("item_id", "column_name", "timestamp"),
    texts=("item_id", "column_name"),
    times=("timestamp",),
    numbers=("value",),
    may_be_missing=True,
)
SCORES = Shape(
    what="scores",
    key=("model_name", "model_version", "item_id", "target_name", "window_origin", "metric"),
    texts=("model_name", "model_version", "item_id", "target_name", "metric"),
    times=("window_origin",),
    numbers=("value",),
    may_be_missing=True,  # a metric that is not defined, such as the MASE of a constant series
    may_be_infinite=True,
)
QUARANTINE = Shape(
    what="quarantine",
    key=("item_id", "rule"),
    texts=("item_id", "rule", "why", "first_rows"),
)


def forecast_shape(frame: pd.DataFrame) -> Shape:
    """Shape of a forecast frame, whose quantile columns are those it brings.

    Raises:
        WarehouseError: a further column is not named like a quantile.
    """
    texts = ("item_id", "target_name", "model_name", "model_version")
    known = {*texts, "origin", "timestamp", "mean"}
    quantiles = tuple(name for name in frame.columns if name not in known)
    for name in quantiles:
        if not isinstance(name, str) or percent(name) is None:
            raise WarehouseError(
                f"forecasts: {name!r} is no column of a forecast; quantile columns are named by "
                "percent between 0 and 100, such as q10 or q2.5"
            )
    return Shape(
        what="forecasts",
        key=("item_id", "target_name", "origin", "timestamp", "model_name", "model_version"),
        texts=texts,
        times=("origin", "timestamp"),
        numbers=("mean", *quantiles),
    )


def observation_rows(frame: pd.DataFrame, values: Sequence[str]) -> pd.DataFrame:
    """The value columns of a panel below each other, one row per observed value.

    Args:
        frame: a panel: item_id, timestamp and the value columns.
        values: value columns to take, whatever their names.

    Returns:
        Columns item_id, column_name, timestamp, value; missing values have no row.
    """
    parts = []
    for place, name in enumerate(values):
        seen = frame[name].notna().to_numpy()
        part = frame.loc[seen, KEYS].copy()
        part["column_name"] = pd.Categorical.from_codes([place] * len(part), pd.Index(values))
        part["value"] = frame[name].to_numpy(dtype=np.float64)[seen]
        parts.append(part[["item_id", "column_name", "timestamp", "value"]])
    return pd.concat(parts, ignore_index=True)


def to_arrow(frame: pd.DataFrame, shape: Shape) -> pa.Table:
    """Check a frame and turn it into what a database takes.

    Raises:
        WarehouseError: a column is missing, unknown, twice there or of the wrong kind; a text is
            empty; a time stamp is missing, has a time zone or is finer than a microsecond; a number
            is missing or infinite where it may not be; two rows have the same key.
    """
    _check_columns(frame, shape)
    texts = {name: _texts(frame[name], shape.what) for name in shape.texts}
    times = {name: _times(frame[name], shape.what) for name in shape.times}
    numbers = {name: _numbers(frame[name], shape) for name in shape.numbers}
    codes = {name: codes for name, (codes, _) in texts.items()}
    _check_key(frame, pd.DataFrame({**codes, **times}), shape)
    arrays = {
        name: pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(known, pa.string()))
        for name, (codes, known) in texts.items()
    }
    arrays |= {name: pa.array(stamps, pa.timestamp("us")) for name, stamps in times.items()}
    arrays |= {name: pa.array(values, from_pandas=True) for name, values in numbers.items()}
    return pa.table(arrays)


def forecast_rows(frame: pd.DataFrame, shape: Shape) -> pa.Table:
    """A forecast frame as `to_arrow` makes it; every time stamp must be after its origin."""
    rows = to_arrow(frame, shape)
    early = pc.less_equal(rows["timestamp"], rows["origin"])
    if pc.any(early).as_py():
        row = frame.iloc[pc.index(early, value=True).as_py()]
        place = f"{row['item_id']} at {row['timestamp']}"
        raise WarehouseError(f"forecasts: {place} is not after its origin {row['origin']}")
    return rows


def quarantine_frame(records: Sequence[Quarantine]) -> pd.DataFrame:
    """One row per record; the lines of the source as JSON."""
    rows = [(r.item_id, r.rule, r.why, json.dumps(r.first_rows)) for r in records]
    return pd.DataFrame(rows, columns=list(QUARANTINE.texts), dtype=object)


def _check_columns(frame: pd.DataFrame, shape: Shape) -> None:
    given = list(frame.columns)
    absent = [name for name in shape.columns if name not in given]
    unknown = [name for name in given if name not in shape.columns]
    twice = [name for name in shape.columns if given.count(name) > 1]
    for names, problem in (
        (absent, "is missing"),
        (unknown, "is unknown"),
        (twice, "is there twice"),
    ):
        if names:
            wanted = ", ".join(shape.columns)
            raise WarehouseError(f"{shape.what}: column {names[0]!r} {problem}; columns are {wanted}")


def _texts(column: pd.Series, what: str) -> tuple[np.ndarray, list[str]]:
    """Code of each row and the distinct texts that the codes count."""
    try:
        codes, uniques = pd.factorize(column)
    except TypeError as error:  # lists and the like
        raise WarehouseError(f"{what}: column {column.name!r} holds no texts: {error}") from error
    if (codes < 0).any():
        raise WarehouseError(f"{what}: column {column.name!r} lacks a text in row {_first(codes < 0)}")
    known = list(uniques)
    for text in known:
        checked_text(text, f"{what}: column {column.name!r}")
    return codes.astype(np.int32), known


def _times(column: pd.Series, what: str) -> np.ndarray:
    place = f"{what}: column {column.name!r}"
    if not len(column):
        return np.array([], dtype="datetime64[us]")
    if not pd.api.types.is_datetime64_dtype(column):  # false for one with a time zone, too
        raise WarehouseError(f"{place} is {column.dtype}; it takes time stamps (datetime64) without a time zone")
    stamps = column.to_numpy()
    fine = stamps.astype("datetime64[us]")
    if np.isnat(stamps).any():
        raise WarehouseError(f"{place} lacks a time stamp in row {_first(np.isnat(stamps))}")
    if (fine != stamps).any():
        row = _first(fine != stamps)
        raise WarehouseError(f"{place}: {stamps[row]} is finer than a microsecond; round it")
    beyond = (fine < EARLIEST) | (fine > LATEST)
    if beyond.any():
        raise WarehouseError(f"{place}: {stamps[_first(beyond)]} is not between 1678 and 2262")
    return fine


def _numbers(column: pd.Series, shape: Shape) -> np.ndarray:
    place = f"{shape.what}: column {column.name!r}"
    if not len(column):
        return np.array([], dtype=np.float64)
    is_number = pd.api.types.is_float_dtype(column) or pd.api.types.is_integer_dtype(column)
    if not is_number:
        raise WarehouseError(f"{place} is {column.dtype}; it takes numbers")
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if not shape.may_be_missing and np.isnan(values).any():
        raise WarehouseError(f"{place} lacks a number in row {_first(np.isnan(values))}")
    if not shape.may_be_infinite and np.isinf(values).any():
        raise WarehouseError(f"{place} is infinite in row {_first(np.isinf(values))}")
    return values


def _check_key(frame: pd.DataFrame, codes: pd.DataFrame, shape: Shape) -> None:
    again = codes.duplicated(list(shape.key)).to_numpy()
    if again.any():
        row = frame.iloc[_first(again)]
        key = ", ".join(f"{name} {row[name]!s}" for name in shape.key)
        raise WarehouseError(f"{shape.what}: two rows have the same key: {key}")


def _first(mask: np.ndarray) -> int:
    return int(mask.argmax())


def checked_text(value: object, place: str) -> str:
    """A text that every database can store; raises `WarehouseError` for any other value."""
    if not isinstance(value, str) or not value:
        raise WarehouseError(f"{place}: {value!r} is no text, or an empty one")
    if storable(value) != value:
        raise WarehouseError(f"{place}: {value!r} has characters that cannot be stored")
    return value


def storable(text: str) -> str:
    """A text without the characters that databases refuse: NUL, halves of surrogate pairs."""
    return text.replace("\x00", "?").encode("utf-8", "replace").decode()


def utc(moment: datetime, place: str) -> datetime:
    """A moment as UTC without time zone, in microseconds; one without time zone is UTC already.

    Raises:
        WarehouseError: it is no moment (NaT).
    """
    stamp = pd.Timestamp(moment)
    if pd.isna(stamp):
        raise WarehouseError(f"{place} is missing")
    stamp = stamp.tz_convert(UTC).tz_localize(None) if stamp.tzinfo else stamp
    return stamp.floor("us").to_pydatetime()


def local(moment: datetime, place: str) -> datetime:
    """A moment in the time of the source; raises `WarehouseError` for one with a time zone."""
    if pd.Timestamp(moment).tzinfo is not None:
        raise WarehouseError(f"{place} {moment} has a time zone; it is in the time of the source")
    return utc(moment, place)
