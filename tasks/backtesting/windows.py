"""Which windows a backtest has: rolling origins on the end of every series.

In: a job and its series. Out: windows, how many series are too short for them, and how many windows begin too early for
`backtest.after`. Fails with `DataError` when no window is left.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moirai.errors import DataError
from moirai.evaluation.windows import origins
from tasks.job import Job
from tasks.panel import TargetSeries

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """One forecast to make: a series and how much of it is seen."""

    series: TargetSeries
    seen: int  # steps before the window, which is also the index of its first step

    @property
    def history(self) -> np.ndarray:
        """Values before the origin."""
        return self.series.values[: self.seen]

    @property
    def first_step(self) -> np.datetime64:
        """Time stamp of the first step that is forecast."""
        return self.series.timestamps[self.seen]


def make_windows(job: Job, series: Sequence[TargetSeries]) -> tuple[list[Window], int]:
    """All windows, and how many series are too short for them.

    Raises:
        DataError: no series is long enough.
    """
    windows, too_short = [], []
    for one in series:
        try:
            seen = origins(len(one.values), horizon=job.horizon, windows=job.backtest.windows)
        except DataError as error:
            too_short.append(f"{one.item_id}/{one.target_name}: {error}")
            continue
        windows += [Window(one, int(steps)) for steps in seen]
    if not windows:
        raise DataError(f"no series can be backtested; {too_short[0] if too_short else 'the panel is empty'}")
    if too_short:
        logger.warning("backtest leaves out %d series; the first: %s", len(too_short), too_short[0])
    return windows, len(too_short)


def later_windows(job: Job, windows: Sequence[Window]) -> list[Window]:
    """The windows whose first step lies on a later day than `backtest.after`; all where that is not set.

    Raises:
        DataError: there is none.
    """
    if job.backtest.after is None:
        return list(windows)
    begin = (pd.Timestamp(job.backtest.after) + pd.Timedelta(days=1)).to_datetime64()
    later = [one for one in windows if one.first_step >= begin]
    if not later:
        latest = pd.Timestamp(max(one.first_step for one in windows))
        raise DataError(
            f"no backtest window begins on a later day than backtest.after, {job.backtest.after}; the latest begins at "
            f"{latest}: name an earlier day, or wait for more data"
        )
    if len(later) < len(windows):
        logger.info("backtest.after leaves out %d of %d windows", len(windows) - len(later), len(windows))
    return later
