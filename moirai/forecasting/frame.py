"""Long frames to arrays and back: sort once, find the series' bounds, no objects per series."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from moirai.errors import DataError
from moirai.evaluation.seasonality import to_offset
from moirai.forecasting.levels import at_levels, mean_of_quantiles, quantile_name


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
        DataError: a column is absent or of the wrong kind, the frame is empty, a time stamp is not on the grid.
    """
    for name in ("item_id", "timestamp", target):
        if name not in df.columns:
            raise DataError(f"the frame has no column {name!r}; it has {', '.join(map(repr, df.columns))}")
    if df.empty:
        raise DataError("the frame has no rows")
    for name in ("item_id", "timestamp"):
        if df[name].isna().any():
            raise DataError(f"column {name!r} has missing values; drop those rows or name them")
    if not pd.api.types.is_numeric_dtype(df[target]):
        raise DataError(f"column {target!r} holds {df[target].dtype} values; a target is numeric")
    if not pd.api.types.is_datetime64_any_dtype(df["timestamp"]):
        raise DataError(f"column 'timestamp' holds {df['timestamp'].dtype} values; convert it with pandas.to_datetime")
    if (zone := df["timestamp"].dt.tz) is not None:
        raise DataError(
            f"column 'timestamp' has the time zone {zone}; convert it with .dt.tz_convert(None), or drop it with "
            ".dt.tz_localize(None)"
        )
    ordered = df[["item_id", "timestamp", target]].sort_values(["item_id", "timestamp"], kind="stable")
    items = ordered["item_id"].to_numpy()
    starts = np.flatnonzero(np.concatenate(([True], items[1:] != items[:-1])))
    ends = np.append(starts[1:], len(items))
    times = pd.DatetimeIndex(ordered["timestamp"])
    _check_grid(items, times, starts, freq)
    values = ordered[target].to_numpy(np.float32, na_value=np.nan)
    return LongSeries(
        [str(item) for item in items[starts]],
        times[ends - 1],
        [values[start:end] for start, end in zip(starts, ends, strict=True)],
    )


def _check_grid(items: np.ndarray, times: pd.DatetimeIndex, starts: np.ndarray, freq: str) -> None:
    """Every time stamp is one step after the one before it in its series, and the first one is on the grid."""
    offset = to_offset(freq)
    for row in starts:
        if not offset.is_on_offset(times[row]):
            raise DataError(
                f"series {items[row]!r}: {times[row]} is no time stamp of {freq!r}; put the series on its grid first"
            )
    follows = np.ones(len(times), bool)
    follows[starts] = False
    stepped = times[:-1] + offset  # by arrays; a few calendar offsets go by element inside pandas
    wrong = np.flatnonzero(follows[1:] & (stepped != times[1:])) + 1
    if len(wrong):
        row = wrong[0]
        raise DataError(
            f"series {items[row]!r}: {times[row]} does not follow {times[row - 1]} "
            f"by one step of {freq!r}; put the series on its grid first, "
            "with NaN where a value is missing"
        )


def forecast_frame(
    targets: Sequence[LongSeries],
    quantiles: Float[np.ndarray, "series quantile step"],
    *,
    trained: Sequence[float],
    levels: Sequence[float],
    freq: str,
    target_names: Sequence[str],
) -> pd.DataFrame:
    """The forecast frame; a row's quantiles are sorted at this edge.

    Args:
        targets: what was forecast, per target.
        quantiles: of all series, target by target, at the trained levels; they may cross.
        trained: rising levels of the model.
        levels: levels wanted, each a trained one or between two of them.
        freq: distance of two time stamps.
        target_names: names of the targets.

    Returns:
        item_id, target_name, origin, timestamp, mean and a column per level, in the order asked for.
    """
    horizon = quantiles.shape[2]
    offset = to_offset(freq)
    item_ids = [item for series in targets for item in series.item_ids]
    origins = np.concatenate([series.last_timestamps.to_numpy() for series in targets])
    counts = [len(series.item_ids) for series in targets]
    unique, place = np.unique(origins, return_inverse=True)
    future = np.stack([pd.date_range(last, periods=horizon + 1, freq=offset)[1:].to_numpy() for last in unique])
    ordered = np.sort(quantiles, axis=1)
    columns = {
        "item_id": np.repeat(np.asarray(item_ids, dtype=object), horizon),
        "target_name": np.repeat(np.repeat(np.asarray(target_names, dtype=object), counts), horizon),
        "origin": np.repeat(origins, horizon),
        "timestamp": future[place].ravel(),
        "mean": mean_of_quantiles(ordered, trained).ravel(),
    }
    chosen = at_levels(ordered, trained, levels, interpolate=True)
    for index, level in enumerate(levels):
        columns[quantile_name(level)] = chosen[:, index].ravel()
    return pd.DataFrame(columns)
