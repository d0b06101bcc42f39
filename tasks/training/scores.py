"""Before and after: scores on the windows that fine-tuning held out, of the model with and without it.

In: the series of a training span, and models. Out: WQL and MASE of each model and of the seasonal naive forecast on the
same windows, forecast as a backtest forecasts. Fails as a forecast does. The windows also chose the weights that were
kept, so that they flatter the fine-tuned model a little; those of the backtest do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from moirai.evaluation.baselines import seasonal_naive
from moirai.evaluation.metrics import score, seasonal_error
from tasks.training.request import Request, Series

if TYPE_CHECKING:
    from moirai.models.pretrained import PretrainedModule

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the weighted quantile loss, as in a backtest
METRICS = ("wql", "mase")
ZERO_SHOT, FINE_TUNED = "zero_shot", "fine_tuned"
HeldOutScores = dict[str, dict[str, float | None]]  # model -> metric -> value; None: nothing to divide by


@dataclass(frozen=True)
class Window:
    """One held-out window: whose it is and where it begins."""

    series: int
    seen: int  # steps before it


def held_out_windows(values: list[np.ndarray], *, horizon: int, windows: int, most: int) -> list[Window]:
    """The windows at the end of every series that training holds out, spread evenly where there are more than `most`.

    As training does, a window without anything seen or anything to compare with is left out.
    """
    found = [
        Window(index, len(one) - back * horizon)
        for back in range(windows, 0, -1)
        for index, one in enumerate(values)
        if len(one) > back * horizon
        and not np.isnan(one[: len(one) - back * horizon]).all()
        and not np.isnan(one[len(one) - back * horizon :][:horizon]).all()
    ]
    if not found:
        return []
    return [found[index] for index in np.unique(np.linspace(0, len(found) - 1, most).astype(int))]


def score_held_out(request: Request, series: Series, models: "Mapping[str, PretrainedModule]") -> HeldOutScores:
    """WQL and MASE of every model and of seasonal naive on the held-out windows.

    Args:
        request: horizon, context, season and how the models forecast.
        series: the training span; nothing behind it is looked at.
        models: by the name that they are told by.
    """
    from moirai import MoiraiForecast  # noqa: PLC0415 - torch waits until needed
    from moirai.forecasting.inputs import SeriesInput  # noqa: PLC0415 - see above
    from moirai.training.holdout import MAX_FORECASTS  # noqa: PLC0415 - see above

    horizon, values = int(request.settings["horizon"]), series.values
    windows = held_out_windows(
        values, horizon=horizon, windows=int(request.settings["validation_windows"]), most=MAX_FORECASTS
    )
    seen = [
        SeriesInput(
            target=values[one.series][None, : one.seen],
            past_feat_dynamic_real=None if series.covariates is None else series.covariates[one.series][:, : one.seen],
            name=f"series {request.item_ids[one.series]!r}",
        )
        for one in windows
    ]
    device = "cpu" if request.trainer.get("accelerator") == "cpu" else "auto"
    options = {"prediction_length": horizon, "context_length": request.context, "device": device, **request.inference}
    quantiles = {}
    for name, module in models.items():
        forecaster = MoiraiForecast(module, **options)
        made = forecaster.predict_inputs(seen, levels=LEVELS, freq=request.frequency, whole_patches=True)
        quantiles[name] = np.sort(made[..., 0], axis=1).astype(np.float64)
    histories = [values[one.series][: one.seen].astype(np.float64) for one in windows]
    quantiles[f"seasonal_naive:{request.season}"] = np.stack(
        [seasonal_naive(one, horizon=horizon, season=request.season).quantiles(LEVELS) for one in histories]
    )
    actual = np.stack([values[one.series][one.seen :][:horizon] for one in windows]).astype(np.float64)
    scale = np.array([float(seasonal_error(one, request.season)) for one in histories])
    totals = {name: score(actual, one, levels=LEVELS, scale=scale).pooled() for name, one in quantiles.items()}
    return {name: {metric: _known(getattr(sums, metric)) for metric in METRICS} for name, sums in totals.items()}


def written(value: float | None, digits: int) -> str:
    """A score for people."""
    return "n/a" if value is None else f"{value:.{digits}f}"


def _known(value: np.ndarray) -> float | None:
    return None if np.isnan(value) else float(value)
