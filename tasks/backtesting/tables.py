"""The tables of a backtest: forecasts, and scores per window, per step and over all.

In: windows and forecasters. Out: four Parquet files (docs/architecture.md, "A backtest on disk"), which grow forecaster
by forecaster, and the sums over all windows. Fails as the forecasters do, and with `DataError` where one forecasts
nothing for a step that was observed.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from moirai.evaluation.metrics import Sums, score, seasonal_error
from moirai.forecasting.levels import mean_of_quantiles, quantile_name
from tasks.backtesting.forecasters import LEVELS, Forecaster
from tasks.backtesting.windows import Window
from tasks.job import Job

METRICS = ("mase", "wql", "nd", "coverage_80")

logger = logging.getLogger(__name__)


def score_all(
    job: Job,
    windows: Sequence[Window],
    forecasters: Sequence[Forecaster],
    folder: Path,
    on_model: Callable[[int, int], None] | None,
) -> dict[str, Sums]:
    """Forecast and score with each forecaster in turn, writing as it goes; only one forecaster's forecasts are held."""
    actual = np.stack([one.series.values[one.seen : one.seen + job.horizon] for one in windows])
    scale = np.array([float(seasonal_error(one.history, job.season_length)) for one in windows])
    totals = {}
    names = [one.name for one in forecasters]
    with _Tables(folder) as tables:
        for forecaster in forecasters:
            quantiles = forecaster.quantiles(windows)
            sums = score(actual, quantiles, levels=LEVELS, scale=scale)  # [window, step]
            unique = names.count(forecaster.name) == 1  # several versions of one model are told apart by it
            label = forecaster.name if unique else f"{forecaster.name} ({forecaster.version})"
            totals[label] = sums.pooled()
            for name, frame in _frames(job, windows, actual, quantiles, sums):
                frame.insert(0, "model_name", forecaster.name)
                frame.insert(1, "model_version", forecaster.version)
                tables.append(name, frame)
            made = totals[label].named()
            logger.info("%s: MASE %.3f, WQL %.4f on %d windows", label, made["mase"], made["wql"], len(windows))
            if on_model is not None:
                on_model(len(totals), len(forecasters))
    return totals


def _frames(
    job: Job,
    windows: Sequence[Window],
    actual: Float[np.ndarray, "window step"],
    quantiles: Float[np.ndarray, "window quantile step"],
    sums: Sums,
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The four tables of one forecaster."""
    keys = pd.DataFrame(
        {
            "item_id": [one.series.item_id for one in windows],
            "target_name": [one.series.target_name for one in windows],
            "window_origin": [one.series.timestamps[one.seen - 1] for one in windows],
        }
    )
    forecasts = keys.loc[keys.index.repeat(job.horizon)].reset_index(drop=True)
    forecasts["timestamp"] = np.concatenate(
        [one.series.timestamps[one.seen : one.seen + job.horizon] for one in windows]
    )
    forecasts["step"] = np.tile(np.arange(1, job.horizon + 1), len(windows))
    forecasts["target"] = actual.ravel()
    forecasts["mean"] = mean_of_quantiles(quantiles, LEVELS).ravel()
    for index, level in enumerate(LEVELS):
        forecasts[quantile_name(level)] = quantiles[:, index].ravel()
    yield "forecasts", forecasts

    per_window = pd.concat([keys, pd.DataFrame(sums.pooled(1).named())], axis=1)
    names = ["item_id", "target_name", "window_origin"]
    scores = per_window.melt(names, var_name="metric", value_name="value")
    yield "scores", scores.dropna(subset="value").reset_index(drop=True)

    total = sums.pooled().named()
    yield (
        "summary",
        pd.DataFrame({"metric": METRICS, "value": [float(total[name]) for name in METRICS]}),
    )

    by_step = pd.DataFrame({name: values for name, values in sums.pooled(0).named().items() if name in METRICS})
    by_step.insert(0, "step", np.arange(1, job.horizon + 1))
    yield "steps", by_step.melt("step", var_name="metric", value_name="value")


class _Tables:
    """Parquet files that grow part by part."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack, self._writers = ExitStack(), dict[str, pq.ParquetWriter]()

    def __enter__(self) -> Self:
        return self

    def append(self, name: str, frame: pd.DataFrame) -> None:
        """Add rows to `<name>.parquet`."""
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if name not in self._writers:
            writer = pq.ParquetWriter(self.folder / f"{name}.parquet", table.schema)
            self._writers[name] = self._stack.enter_context(writer)
        self._writers[name].write_table(table)

    def __exit__(self, *error: object) -> None:
        self._stack.close()
