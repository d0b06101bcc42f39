"""Long frames to arrays and back: sort once, find the series' bounds, no objects per series."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from moirai.errors import DataError
from moirai.evaluation.seasonality import to_offset
from moirai.forecasting.covariates import future_stamps
from moirai.forecasting.levels import at_levels, mean_of_quantiles, quantile_name


@dataclass(frozen=True)
class LongSeries:
    """The series of a long frame, in order of item_id."""

    item_ids: list[str]
    last_timestamps: pd.DatetimeIndex
    starts: np.ndarray  # first row of each series
    rows: pd.DataFrame  # sorted by item_id and timestamp

    def values(self, column: str) -> list[np.ndarray]:
        """A numeric column as one float32 array [time] per series."""
        return np.split(self.rows[column].to_numpy(np.float32, na_value=np.nan), self.starts[1:])


def split_frame(df: pd.DataFrame, *, freq: str, targets: Sequence[str], covariates: Sequence[str] = ()) -> LongSeries:
    """The series of a long frame; the frame is left alone.

    Args:
        df: columns item_id, timestamp, the targets and the covariates; any order of rows.
        freq: distance of two time stamps.
        targets: names of the target columns; NaN where a value is missing.
        covariates: names of further columns to keep.

    Raises:
        DataError: a column is absent or of the wrong kind, the frame is empty, a time stamp is not on the grid.
    """
    for name in ("item_id", "timestamp", *targets, *covariates):
        if name not in df.columns:
            raise DataError(f"the frame has no column {name!r}; it has {', '.join(map(repr, df.columns))}")
    if df.empty:
        raise DataError("the frame has no rows")
    for name in ("item_id", "timestamp"):
        if df[name].isna().any():
            raise DataError(f"column {name!r} has missing values; drop those rows or name them")
    for name in targets:
        if not pd.api.types.is_numeric_dtype(df[name]):
            raise DataError(f"column {name!r} holds {df[name].dtype} values; a target is numeric")
    if not pd.api.types.is_datetime64_any_dtype(df["timestamp"]):
        raise DataError(f"column 'timestamp' holds {df['timestamp'].dtype} values; convert it with pandas.to_datetime")
    if (zone := df["timestamp"].dt.tz) is not None:
        raise DataError(
            f"column 'timestamp' has the time zone {zone}; convert it with .dt.tz_convert(None), or drop it with "
            ".dt.tz_localize(None)"
        )
    columns = ["item_id", "timestamp", *dict.fromkeys((*targets, *covariates))]
    ordered = df[columns].sort_values(["item_id", "timestamp"], kind="stable", ignore_index=True)
    items = ordered["item_id"].to_numpy()
    starts = np.flatnonzero(np.concatenate(([True], items[1:] != items[:-1])))
    times = pd.DatetimeIndex(ordered["timestamp"])
    _check_grid(items, times, starts, freq)
    last = times[np.append(starts[1:], len(items)) - 1]
    return LongSeries([str(item) for item in items[starts]], last, starts, ordered)


def split_horizon(df: pd.DataFrame, targets: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part a frame that goes on into the horizon: rows up to each series' last target, and those behind it.

    Args:
        df: columns item_id, timestamp and the targets.
        targets: where there are several, the last row with any of them ends a series.

    Raises:
        DataError: a column is absent, or a series has no target at all.
    """
    for name in ("item_id", "timestamp", *targets):
        if name not in df.columns:
            raise DataError(f"the frame has no column {name!r}; it has {', '.join(map(repr, df.columns))}")
    has_target = df[list(targets)].notna().any(axis=1)
    last = df["timestamp"].where(has_target).groupby(df["item_id"]).transform("max")
    if last.isna().any():
        item = df["item_id"][last.isna()].iloc[0]
        raise DataError(f"series {item!r} has no value of {' or '.join(map(repr, targets))} to forecast from")
    is_behind = df["timestamp"] > last
    return df[~is_behind], df[is_behind]


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
    series: LongSeries,
    quantiles: Float[np.ndarray, "series quantile step"],
    *,
    means: Float[np.ndarray, "series step"] | None = None,
    trained: Sequence[float],
    levels: Sequence[float],
    freq: str,
    target_names: Sequence[str],
) -> pd.DataFrame:
    """The forecast frame; a row's quantiles are sorted at this edge.

    Args:
        series: what was forecast.
        quantiles: of all series, target by target, at the trained levels; they may cross.
        means: of the distributions; None: there are quantiles only.
        trained: rising levels of the quantiles.
        levels: levels wanted, each a trained one or between two of them.
        freq: distance of two time stamps.
        target_names: names of the targets.

    Returns:
        item_id, target_name, origin, timestamp, mean and a column per level, in the order asked for.
    """
    horizon, items, targets = quantiles.shape[2], len(series.item_ids), len(target_names)
    future = future_stamps(series.last_timestamps, freq, horizon)
    ordered = np.sort(quantiles, axis=1)
    mean = mean_of_quantiles(ordered, trained)
    if means is not None:  # that of a heavy tail may be infinite
        mean = np.where(np.isfinite(means), means, mean)
    columns = {
        "item_id": np.tile(np.repeat(np.asarray(series.item_ids, dtype=object), horizon), targets),
        "target_name": np.repeat(np.asarray(target_names, dtype=object), items * horizon),
        "origin": np.tile(np.repeat(series.last_timestamps.to_numpy(), horizon), targets),
        "timestamp": np.tile(future.ravel(), targets),
        "mean": mean.ravel(),
    }
    chosen = at_levels(ordered, trained, levels, interpolate=True)
    for index, level in enumerate(levels):
        columns[quantile_name(level)] = chosen[:, index].ravel()
    return pd.DataFrame(columns)
