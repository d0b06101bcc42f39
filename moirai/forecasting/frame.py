"""Long frames to arrays and back: sort once, find the series' bounds, no objects per series."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from moirai.errors import DataError
from moirai.evaluation.seasonality import to_offset
from moirai.forecasting.levels import mean_of_quantiles, quantile_name


@dataclass(frozen=True)
class LongSeries:
    """The series of a long frame, in order of item_id."""

    item_ids: list[str]
    last_timestamps: pd.DatetimeIndex
    values: list[np.ndarray]  # one float32 array [time] per series


def split_frame(df: pd.DataFrame, *, freq: str, target: str) -> LongSeries:
    """Arrays of every series of a long frame; the frame is left alone.

    Args:
        df: columns item_id, timestamp and the target; any order of rows.
        freq: distance of two time stamps.
        target: name of the target column; NaN where a value is missing.

    Raises:
        DataError: a column is absent, the frame is empty, a time stamp is doubled or not on the grid.
    """
    for name in ("item_id", "timestamp", target):
        if name not in df.columns:
            raise DataError(
                f"the frame has no column {name!r}; it has {', '.join(map(repr, df.columns))}"
            )
    if df.empty:
        raise DataError("the frame has no rows")
    ordered = df[["item_id", "timestamp", target]].sort_values(
        ["item_id", "timestamp"], kind="stable"
    )
    items = ordered["item_id"].to_numpy()
    starts = np.flatnonzero(np.concatenate(([True], items[1:] != items[:-1])))
    ends = np.append(starts[1:], len(items))
    times = pd.DatetimeIndex(ordered["timestamp"])
    _check_grid(items, times, starts, freq)
    values = ordered[target].to_numpy(np.float32)
    return LongSeries(
        [str(item) for item in items[starts]],
        times[ends - 1],
        [values[start:end] for start, end in zip(starts, ends, strict=True)],
    )


def _check_grid(items: np.ndarray, times: pd.DatetimeIndex, starts: np.ndarray, freq: str) -> None:
    """Every time stamp is one step after the one before it in its series."""
    offset = to_offset(freq)
    follows = np.ones(len(times), bool)
    follows[starts] = False
    stepped = (
        times[:-1] + offset
    )  # vectorised for ticks; calendar offsets go by element inside pandas
    wrong = np.flatnonzero(follows[1:] & (stepped != times[1:])) + 1
    if len(wrong):
        row = wrong[0]
        raise DataError(
            f"series {items[row]!r}: {times[row]} does not follow {times[row - 1]} by one step of {freq!r}; "
            "put the series on its grid first, with NaN where a value is missing"
        )


def forecast_frame(
    series: LongSeries,
    quantiles: Float[np.ndarray, "series quantile step"],
    *,
    levels: Sequence[float],
    freq: str,
    target_name: str,
) -> pd.DataFrame:
    """The forecast frame: item_id, target_name, origin, timestamp, mean and a column per level, sorted at this edge."""
    count, _, horizon = quantiles.shape
    offset = to_offset(freq)
    unique, place = np.unique(series.last_timestamps, return_inverse=True)
    future = np.stack(
        [pd.date_range(last, periods=horizon + 1, freq=offset)[1:].to_numpy() for last in unique]
    )
    ordered = np.sort(quantiles, axis=1)
    columns = {
        "item_id": np.repeat(np.asarray(series.item_ids, dtype=object), horizon),
        "target_name": np.full(count * horizon, target_name, dtype=object),
        "origin": np.repeat(series.last_timestamps.to_numpy(), horizon),
        "timestamp": future[place].ravel(),
        "mean": mean_of_quantiles(ordered, levels).ravel(),
    }
    for index, level in enumerate(levels):
        columns[quantile_name(level)] = ordered[:, index].ravel()
    return pd.DataFrame(columns)
