"""The regular grid of a frequency: which step a time stamp belongs to, and which rows share a step.

Fixed steps that divide a day (15min, h, D) lie on the clock, calendar steps (W, MS, QE, B, ...) on
the calendar. Others (7D, 2W, 6MS) count from the earliest row of the panel. Everything works on
whole arrays: a million rows take milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from moirai.evaluation.seasonality import to_offset

DAY = 86_400_000_000_000  # nanoseconds


@dataclass(frozen=True)
class Grid:
    """The grid points of one frequency that cover a panel, numbered from 0."""

    origin: int  # nanoseconds since 1970 of step 0
    width: int  # nanoseconds between two steps; 0: calendar steps, listed in `points`
    points: np.ndarray  # nanoseconds since 1970 of every step; empty for fixed steps

    @classmethod
    def covering(cls, frequency: str, stamps: pd.Series, ahead: int = 0) -> Self:
        """The grid from the last point at or before the earliest stamp to `ahead` steps behind the latest one."""
        offset = to_offset(frequency)
        start, end = stamps.min(), stamps.max()
        if isinstance(offset, pd.offsets.Tick | pd.offsets.Day):
            unit = DAY if offset.name == "D" else pd.Timedelta(type(offset)(1)).as_unit("ns").value
            width, first = unit * offset.n, start.as_unit("ns").value
            origin = first // width * width if DAY % width == 0 else first // unit * unit
            return cls(origin, width, np.empty(0, dtype=np.int64))
        # business hours begin at 9, which no midnight leads to: they count from the earliest row
        is_clock = isinstance(offset, pd.offsets.BusinessHour)
        points = pd.date_range(offset.rollback(start if is_clock else start.normalize()), end, freq=offset)
        if ahead:
            points = points.append(pd.date_range(points[-1], periods=ahead + 1, freq=offset)[1:])
        numbers = points.to_numpy().astype("datetime64[ns]").astype(np.int64)
        return cls(int(numbers[0]), 0, numbers)

    def steps(self, stamps: pd.Series) -> np.ndarray:
        """Number of the last grid point at or before each time stamp."""
        numbers = stamps.to_numpy().astype("datetime64[ns]").astype(np.int64)
        if self.width:
            return (numbers - self.origin) // self.width
        return np.searchsorted(self.points, numbers, side="right") - 1

    def stamps(self, steps: np.ndarray) -> np.ndarray:
        """Time stamps of the numbered grid points, as datetime64[ns]."""
        numbers = self.origin + steps * self.width if self.width else self.points[steps]
        return numbers.astype("datetime64[ns]")

    def floor(self, stamps: pd.Series) -> np.ndarray:
        """Time stamps moved down to the grid; those that lie on it stay."""
        return self.stamps(self.steps(stamps))


def series_numbers(frame: pd.DataFrame) -> np.ndarray:
    """Number of each row's series in a sorted panel, from 0."""
    ids = frame["item_id"].to_numpy()
    return np.concatenate([[0], np.cumsum(ids[1:] != ids[:-1])]) if len(ids) else np.empty(0, int)


def first_of_stamp(frame: pd.DataFrame) -> np.ndarray:
    """Position of the first row with the series and time stamp of each row of a sorted panel."""
    series, stamps = series_numbers(frame), frame["timestamp"].to_numpy()
    is_new = np.ones(len(frame), dtype=bool)
    is_new[1:] = (series[1:] != series[:-1]) | (stamps[1:] != stamps[:-1])
    return np.maximum.accumulate(np.where(is_new, np.arange(len(frame)), 0))


def differs_from_first(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Whether a value contradicts that of the first row of its time stamp; both missing agree."""
    first = first_of_stamp(frame)
    differs = {}
    for name in columns:
        values = frame[name].to_numpy(dtype=np.float64)
        both_missing = np.isnan(values) & np.isnan(values[first])
        differs[name] = (values != values[first]) & ~both_missing
    return pd.DataFrame(differs)
