"""The long-sequence protocol: splits, standardisation, origins, errors."""

import numpy as np
import pandas as pd
import pytest

from moirai.errors import ConfigError, DataError
from moirai.evaluation import long_sequence
from moirai.evaluation.forecasters import BaselineForecaster, ModelForecaster
from moirai.evaluation.long_sequence import LongTask, long_tasks_named, score_long, standardised
from moirai.evaluation.public_data import DataSet
from moirai.forecasting.forecast import MoiraiForecast

HALF_DAYS = LongTask("toy-3", DataSet(("toy.csv",), pd.read_csv), "12h", horizon=3, season=2)
TRAIN, START, END = 720, 960, 1200  # steps of 360, 480 and 600 days


@pytest.fixture
def frame():
    """Two series of half days, longer than the protocol's months."""
    rng = np.random.default_rng(0)
    values = {"HUFL": rng.normal(5, 2, END + 40), "OT": rng.normal(-3, 0.5, END + 40).cumsum()}
    return pd.DataFrame(values, index=pd.date_range("2016-07-01", periods=END + 40, freq="12h"))


def test_the_months_are_those_of_the_protocol():
    """Rows of training, validation and test, and windows of one horizon, as published for both files."""
    hourly, quarterly = long_tasks_named(["ETTm1-96", "ETTh1-96"])
    assert (hourly.spans, quarterly.spans) == ((11_520, 14_400), (46_080, 57_600))
    assert (len(hourly.origins()), len(quarterly.origins())) == (2_785, 11_425)
    assert len(hourly.origins(stride=24)) == 117


def test_columns_are_standardised_by_their_training_months(frame):
    """Mean 0 and population deviation 1 there; what lies behind the test months is dropped."""
    values = standardised(HALF_DAYS, frame)
    assert values.shape == (2, END)
    np.testing.assert_allclose(values[:, :TRAIN].mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(values[:, :TRAIN].std(1), 1)


@pytest.mark.parametrize("stride", [1, 7])
def test_errors_are_those_of_every_origin_alone(frame, stride, monkeypatch):
    """Blocks of windows give what a loop over origins gives: repeat the last day, compare, average."""
    monkeypatch.setattr(long_sequence, "WINDOWS_AT_ONCE", 50)
    values = standardised(HALF_DAYS, frame)
    reports = []
    made = score_long(
        HALF_DAYS,
        values,
        BaselineForecaster("seasonal_naive"),
        stride=stride,
        on_batch=lambda *counts: reports.append(counts),
    )
    origins = range(START, END - 3 + 1, stride)
    errors = np.array([values[:, at : at + 3] - values[:, [at - 2, at - 1, at - 2]] for at in origins])
    assert made.windows == len(errors)
    assert made.mse == pytest.approx((errors**2).mean(), rel=1e-12)
    assert made.mae == pytest.approx(np.abs(errors).mean(), rel=1e-12)
    assert reports[-1] == (2 * len(errors), 2 * len(errors))
    assert [done for done, _ in reports] == sorted({done for done, _ in reports})


def test_a_missing_value_is_no_error(frame):
    """It is left out of both means, and carried forward where a baseline repeats it."""
    gap = frame.copy()
    gap.iloc[END - 1] = np.nan
    values = standardised(HALF_DAYS, gap)
    made = score_long(HALF_DAYS, values, BaselineForecaster("seasonal_naive"))
    whole = score_long(HALF_DAYS, standardised(HALF_DAYS, frame), BaselineForecaster("seasonal_naive"))
    assert np.isfinite(made.mse)
    assert made.mse != whole.mse


def test_a_model_sees_its_context_before_each_origin(frame, tiny):
    """Errors of the median of a network, column by column."""
    model = MoiraiForecast(tiny, context_length=24, device="cpu")
    values = standardised(HALF_DAYS, frame)
    made = score_long(HALF_DAYS, values, ModelForecaster("tiny", model), context=24, stride=30)
    origins = HALF_DAYS.origins(30)
    histories = [one[at - 24 : at] for at in origins for one in values]
    median = np.sort(model.predict_arrays(histories, horizon=3), axis=1)[:, 4]
    actual = np.array([one[at : at + 3] for at in origins for one in values])
    assert made.mae == pytest.approx(np.abs(actual - median).mean(), rel=1e-5)


def test_what_cannot_be_scored_is_refused(frame):
    """Too few rows, a column that stands still, an unknown name, a stride of nothing."""
    with pytest.raises(DataError, match=r"toy-3 needs 1200 rows, toy.csv has 1000"):
        standardised(HALF_DAYS, frame[:1000])
    with pytest.raises(DataError, match="column 'OT' is constant"):
        standardised(HALF_DAYS, frame.assign(OT=1.0))
    with pytest.raises(ConfigError, match="unknown LSF task 'ETTh1'; known: ETTh1-96"):
        long_tasks_named(["ETTh1"])
    with pytest.raises(ConfigError, match="stride must be 1 or more"):
        HALF_DAYS.origins(0)
