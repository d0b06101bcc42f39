"""GluonTS adapter: its data entries in, its quantile forecasts out."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from gluonts.model.forecast import QuantileForecast
from gluonts.model.predictor import Predictor

from moirai.forecasting.inputs import SeriesInput

if TYPE_CHECKING:
    from moirai.forecasting.forecast import MoiraiForecast

CHUNK = 1024  # entries read ahead, so that series of similar length can share a batch


class MoiraiPredictor(Predictor):
    """Forecasts the entries of a GluonTS data set in order.

    An entry has `start`, `target` ([time] or [target, time]) and optionally `feat_dynamic_real`
    (over history and horizon) and `past_feat_dynamic_real` (over the history).
    """

    def __init__(self, forecast: "MoiraiForecast") -> None:
        super().__init__(prediction_length=forecast.prediction_length)
        self.forecast = forecast

    def predict(self, dataset: Iterable[dict[str, Any]], **_: Any) -> Iterator[QuantileForecast]:
        """One quantile forecast per entry, at the model's trained levels and with its own values.

        Raises:
            DataError: an entry is empty or its features do not span history and horizon.
        """
        entries = iter(dataset)
        while chunk := list(islice(entries, CHUNK)):
            quantiles = self.forecast.predict_inputs([_series(entry) for entry in chunk])
            for entry, one in zip(chunk, quantiles, strict=True):
                target = np.asarray(entry["target"])
                yield QuantileForecast(
                    forecast_arrays=one[..., 0] if target.ndim == 1 else one,
                    forecast_keys=[f"{level:g}" for level in self.forecast.quantile_levels],
                    start_date=entry["start"] + target.shape[-1],
                    item_id=entry.get("item_id"),
                )


def _series(entry: dict[str, Any]) -> SeriesInput:
    def rows(name: str) -> np.ndarray | None:
        return None if entry.get(name) is None else np.atleast_2d(np.asarray(entry[name], np.float32))

    target = rows("target")
    assert target is not None, "every GluonTS entry has a target"
    return SeriesInput(
        target=target,
        feat_dynamic_real=rows("feat_dynamic_real"),
        past_feat_dynamic_real=rows("past_feat_dynamic_real"),
        name=str(entry.get("item_id", "series")),
    )
