"""GluonTS adapter: its data entries in, its quantile or sample forecasts out."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from gluonts.model.forecast import Forecast, QuantileForecast, SampleForecast
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

    def __init__(self, forecast: "MoiraiForecast", *, samples: int | None = None) -> None:
        super().__init__(prediction_length=forecast.prediction_length)
        self.forecast, self.samples = forecast, samples

    def predict(self, dataset: Iterable[dict[str, Any]], **_: Any) -> Iterator[Forecast]:
        """One forecast per entry, with the model's own values: quantiles, or samples where asked for.

        Raises:
            ConfigError: samples of a family that has none.
            DataError: an entry is empty or its features do not span history and horizon.
        """
        entries = iter(dataset)
        while chunk := list(islice(entries, CHUNK)):
            series = [_series(entry) for entry in chunk]
            freq = chunk[0]["start"].freqstr
            arrays = self._samples(series, freq) if self.samples else self._quantiles(series, freq)
            for entry, one in zip(chunk, arrays, strict=True):
                target = np.asarray(entry["target"])
                values = one[..., 0] if target.ndim == 1 else one
                yield self._forecast(values, entry["start"] + target.shape[-1], entry.get("item_id"))

    def _samples(self, series: list[SeriesInput], freq: str) -> np.ndarray:
        assert self.samples is not None, "asked for"
        return self.forecast.sample_inputs(series, samples=self.samples, freq=freq)

    def _quantiles(self, series: list[SeriesInput], freq: str) -> np.ndarray:
        """Quantiles, and behind them the mean where there is one: [series, key, horizon, target]."""
        return self.forecast.predict_inputs(series, freq=freq, with_mean=True)

    def _forecast(self, values: np.ndarray, start: Any, item_id: Any) -> Forecast:
        if self.samples:
            return SampleForecast(samples=values, start_date=start, item_id=item_id)
        keys = [f"{level:g}" for level in self.forecast.quantile_levels]
        keys += ["mean"] if len(values) > len(keys) else []
        return QuantileForecast(forecast_arrays=values, forecast_keys=keys, start_date=start, item_id=item_id)


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
