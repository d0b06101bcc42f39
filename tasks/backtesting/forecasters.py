"""Models and baselines as what a backtest asks of all of them: windows in, quantiles out.

In: a job, a clean panel, a resolved model or the name of a baseline. Out: a `Forecaster`. Fails as the model does.
Every model sees exactly the values before a window's origin, and of known covariates those of its horizon.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from moirai.evaluation.baselines import season_of, seasonal_naive
from tasks.backtesting.windows import Window
from tasks.covariates import model_encoding, panel_covariates
from tasks.job import Job
from tasks.model_reference import ModelRef
from tasks.panel import PanelRef

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the weighted quantile loss, as in GIFT-Eval
BASELINE_VERSION = "1"  # raise when a baseline's formula changes


@dataclass(frozen=True)
class Forecaster:
    """Something that forecasts: a model or a baseline."""

    name: str
    version: str
    quantiles: Callable[[Sequence[Window]], Float[np.ndarray, "window quantile step"]]


def baselines(job: Job, also: Sequence[str] = ()) -> list[Forecaster]:
    """The job's baselines and others, each once; `seasonal_naive` without a number takes the job's season."""
    made = {}
    for reference in [*job.backtest.baselines, *also]:
        season = season_of(reference, job.season_length)
        name = "naive" if reference == "naive" else f"seasonal_naive:{season}"
        made[name] = Forecaster(name, BASELINE_VERSION, partial(_repeat_season, horizon=job.horizon, season=season))
    return list(made.values())


def _repeat_season(windows: Sequence[Window], *, horizon: int, season: int) -> np.ndarray:
    """Quantiles of the (seasonal) naive forecast: [window, quantile, step]."""
    return np.stack([seasonal_naive(one.history, horizon=horizon, season=season).quantiles(LEVELS) for one in windows])


def model_forecaster(job: Job, panel: PanelRef, model: ModelRef) -> Forecaster:
    """A model that forecasts as the job says."""
    from moirai import MoiraiForecast  # noqa: PLC0415 - torch waits until needed
    from moirai.forecasting.inputs import SeriesInput  # noqa: PLC0415 - see above

    encoding = model_encoding(job, model)

    def seen_by_model(windows: Sequence[Window]) -> list[SeriesInput]:
        """Cut at the origin, covariates show what is known there: of known ones the horizon, of past ones nothing."""
        beside = {} if encoding is None else panel_covariates(job, panel, encoding)
        return [
            SeriesInput(
                target=one.history[None],
                past_feat_dynamic_real=None if encoding is None else beside[one.series.item_id][:, : one.seen],
                name=f"series {one.series.item_id!r}",
            )
            for one in windows
        ]

    def quantiles(windows: Sequence[Window]) -> np.ndarray:
        forecaster = MoiraiForecast.from_pretrained(
            model.folder, prediction_length=job.horizon, context_length=job.context, **job.inference.model_dump()
        )
        made = forecaster.predict_inputs(seen_by_model(windows), levels=LEVELS, freq=job.frequency, whole_patches=True)
        return np.sort(made[..., 0], axis=1).astype(np.float64)

    return Forecaster(model.name, model.version, quantiles)
