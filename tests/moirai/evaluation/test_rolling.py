"""Models and baselines scored on the windows of a task."""

import numpy as np
import pandas as pd
import pytest

from moirai.errors import ConfigError, DataError
from moirai.evaluation.baselines import seasonal_naive
from moirai.evaluation.forecasters import BaselineForecaster, ModelForecaster, Question
from moirai.evaluation.public_data import DataSet
from moirai.evaluation.rolling import LEVELS, rolling
from moirai.evaluation.tasks import Task
from moirai.forecasting.forecast import MoiraiForecast

TASK = Task("toy", DataSet(("toy.csv",), pd.read_csv), "h", horizon=3, season=4, windows=2)
QUESTION = Question(horizon=3, levels=LEVELS, freq="h", season=4)


def frame_of(**columns):
    """A wide frame of hourly series."""
    values = pd.DataFrame(columns)
    return values.set_index(pd.date_range("2024-01-01", periods=len(values), freq="h"))


@pytest.fixture
def frame():
    """Two series of 20 hours, one of which begins at the eighth and has a gap."""
    rng = np.random.default_rng(0)
    late = rng.normal(10, 2, 20)
    late[:7] = late[12] = np.nan
    return frame_of(full=rng.normal(5, 1, 20), late=late)


@pytest.fixture
def model(tiny):
    """The tiny model, which sees 12 steps."""
    return MoiraiForecast(tiny, context_length=12, device="cpu")


def test_windows_lie_on_the_end_of_every_series(frame):
    """Two windows of three hours; each history ends where its window begins, and begins with its first value."""
    made = rolling(TASK, frame)
    np.testing.assert_array_equal(made.actual[:2], frame.to_numpy()[14:17].T)
    np.testing.assert_array_equal(made.actual[2:], frame.to_numpy()[17:20].T)
    assert [len(one) for one in made.contexts] == [14, 7, 17, 10]
    np.testing.assert_array_equal(made.contexts[3], frame["late"].to_numpy()[7:17])


def test_what_a_forecaster_sees_ends_at_the_origin(frame):
    """Whatever comes after the first origin changes no context of the first window and no scale."""
    changed = frame.copy()
    changed.iloc[14:] = 1e6
    before, after = rolling(TASK, frame), rolling(TASK, changed)
    np.testing.assert_array_equal(np.concatenate(before.contexts[:2]), np.concatenate(after.contexts[:2]))
    np.testing.assert_array_equal(before.scale[:2], after.scale[:2])


def test_a_series_that_has_not_begun_is_one_missing_value(model):
    """It is forecast like any other, and counts where it has values."""
    late = np.full(20, np.nan)
    late[18:] = 3.0
    made = rolling(TASK, frame_of(full=np.arange(20.0), late=late))
    assert np.isnan(made.contexts[3]).all()
    for forecaster in (ModelForecaster("tiny", model), BaselineForecaster("seasonal_naive")):
        assert made.score(forecaster).observed == 8


def test_a_frame_that_is_too_short_is_refused():
    """Windows need history before them."""
    with pytest.raises(DataError, match="6 steps is too short for 2 windows"):
        rolling(TASK, frame_of(one=np.arange(6.0)))


def test_a_baseline_of_many_lengths_is_that_of_each_alone():
    """Histories are forecast in groups of equal length, and come back in their order."""
    rng = np.random.default_rng(1)
    contexts = [rng.normal(size=length) for length in (9, 5, 9, 30)]
    reports = []
    made = BaselineForecaster("seasonal_naive:2").quantiles(contexts, QUESTION, lambda *counts: reports.append(counts))
    for one, context in zip(made, contexts, strict=True):
        np.testing.assert_allclose(one, seasonal_naive(context, horizon=3, season=2).quantiles(LEVELS))
    assert reports == [(1, 4), (3, 4), (4, 4)]


def test_a_model_forecasts_sorted_quantiles(model, frame):
    """Quantiles rise, and are those that the model gives for the same histories."""
    contexts = rolling(TASK, frame).contexts
    made = ModelForecaster("tiny", model).quantiles(contexts, QUESTION)
    assert (np.diff(made, axis=1) >= 0).all()
    raw = model.predict_arrays(contexts, horizon=3, levels=LEVELS)
    np.testing.assert_array_equal(made, np.sort(raw, axis=1))


@pytest.mark.parametrize("family", ["moirai2", "moirai", "moirai_moe"])
def test_a_single_level_can_be_asked_of_every_family(family, tiny, make_distribution_module):
    """The median alone is the median among others."""
    module = tiny if family == "moirai2" else make_distribution_module(family)
    patch = None if family == "moirai2" else 6
    forecaster = ModelForecaster(family, MoiraiForecast(module, context_length=12, device="cpu", patch_size=patch))
    contexts = [np.random.default_rng(0).normal(5, 1, 20)]
    alone = forecaster.quantiles(contexts, Question(horizon=3, levels=(0.5,), freq="h", season=4))
    np.testing.assert_allclose(alone[:, 0], forecaster.quantiles(contexts, QUESTION)[:, 4], rtol=1e-6)


def test_a_level_that_was_not_trained_is_refused(model):
    """Moirai 2.0 has its own levels."""
    with pytest.raises(ConfigError, match=r"0\.55 is not among"):
        ModelForecaster("tiny", model).quantiles([np.ones(9)], Question(horizon=3, levels=(0.55,), freq="h", season=4))
