"""The GluonTS adapter."""

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.common import ListDataset
from gluonts.dataset.split import split
from gluonts.ev.metrics import MASE
from gluonts.model.evaluation import evaluate_model

from moirai.errors import DataError
from moirai.forecasting import gluonts
from moirai.forecasting.forecast import MoiraiForecast


def entries(*lengths):
    """Data entries of these lengths."""
    rng = np.random.default_rng(0)
    start = pd.Period("2024-01-01", "D")
    return [{"item_id": f"s{n}", "start": start, "target": rng.normal(size=n)} for n in lengths]


@pytest.mark.parametrize("chunk", [1, 2, 1024])
def test_order_and_values(forecaster, monkeypatch, chunk):
    """Entries are forecast in order, as arrays are, however many are read ahead."""
    monkeypatch.setattr(gluonts, "CHUNK", chunk)
    given = entries(20, 3, 30)
    found = list(forecaster.create_predictor().predict(iter(given)))
    assert [one.item_id for one in found] == ["s20", "s3", "s30"]
    expected = forecaster.predict_arrays([entry["target"] for entry in given])
    np.testing.assert_allclose([one.forecast_array for one in found], expected, rtol=1e-3, atol=1e-3)
    assert found[1].start_date == pd.Period("2024-01-04", "D")
    np.testing.assert_allclose(found[0].quantile("0.5"), expected[0, 4], rtol=1e-3, atol=1e-3)


def test_no_entries(forecaster):
    """A data set without entries has no forecasts."""
    assert list(forecaster.create_predictor().predict([])) == []


def test_batch_size_of_the_predictor(forecaster):
    """A predictor's batch size is its own: the forecaster keeps the one it had."""
    predictor = forecaster.create_predictor(batch_size=2)
    assert (predictor.forecast.batch_size, forecaster.batch_size) == (2, 64)


def test_features_that_are_too_short(forecaster):
    """An entry whose known feature ends with its history is refused by name."""
    entry = entries(20)[0] | {"feat_dynamic_real": np.ones((1, 20))}
    with pytest.raises(DataError, match="s20: feat_dynamic_real must span 28 steps"):
        list(forecaster.create_predictor().predict([entry]))


def test_evaluation_by_gluonts(tiny):
    """GluonTS evaluates the predictor on its own data sets."""
    data = ListDataset([{"start": "2024-01-01", "target": np.sin(np.arange(40))}], freq="D")
    _, template = split(data, offset=-10)
    predictor = MoiraiForecast(tiny, prediction_length=5, device="cpu").create_predictor()
    test_data = template.generate_instances(prediction_length=5, windows=2)
    scores = evaluate_model(predictor, test_data=test_data, metrics=[MASE()])
    assert np.isfinite(scores.to_numpy()).all()
