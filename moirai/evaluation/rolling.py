"""Score a forecaster on a task: every series on its own, on the task's windows, each seeing all that came before.

In: a task's wide frame, a forecaster. Out: `Sums`, of which all scores are quotients. Fails with `DataError` where the
frame is too short for the windows.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from moirai.evaluation.forecasters import Forecaster, Progress, Question
from moirai.evaluation.metrics import Sums, score, seasonal_error
from moirai.evaluation.tasks import Task
from moirai.evaluation.windows import origins, target_steps

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the weighted quantile loss


@dataclass(frozen=True)
class Rolling:
    """What is forecast in a task, window by window and series by series.

    Attributes:
        task: whose windows these are.
        contexts: what each forecast sees, from the first value of its series on.
        actual: what came, NaN where missing.
        scale: seasonal error of each history, of which MASE is a multiple.
    """

    task: Task
    contexts: list[Float[np.ndarray, "_time"]]  # lengths differ
    actual: Float[np.ndarray, "forecast step"]
    scale: Float[np.ndarray, "forecast"]

    def score(self, forecaster: Forecaster, on_batch: Progress | None = None) -> Sums:
        """Sums over all series, windows and steps."""
        task = self.task
        question = Question(horizon=task.horizon, levels=LEVELS, freq=task.freq, season=task.season)
        quantiles = forecaster.quantiles(self.contexts, question, on_batch)
        return score(self.actual, quantiles, levels=LEVELS, scale=self.scale).pooled()


def rolling(task: Task, frame: pd.DataFrame) -> Rolling:
    """The windows of a task.

    Args:
        task: which windows.
        frame: what `task.data` loads.

    Raises:
        DataError: the frame is too short for them.
    """
    values = frame.to_numpy(dtype=np.float64).T  # [series, time]
    starts = origins(values.shape[1], horizon=task.horizon, windows=task.windows)
    seen = np.isfinite(values)
    begun = np.where(seen.any(1), seen.argmax(1), 0)
    return Rolling(
        task,
        # a series that has not begun by an origin is shown as one missing value
        contexts=[
            one[min(first, start - 1) : start] for start in starts for one, first in zip(values, begun, strict=True)
        ],
        actual=np.concatenate([values[:, steps] for steps in target_steps(starts, task.horizon)]),
        scale=np.concatenate([seasonal_error(values[:, :start], task.season) for start in starts]),
    )
