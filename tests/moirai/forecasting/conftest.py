"""Series of many kinds and a forecaster for them."""

import numpy as np
import pytest

from moirai.forecasting.forecast import MoiraiForecast
from moirai.forecasting.inputs import SeriesInput, stack_inputs


@pytest.fixture(scope="session")
def forecaster(tiny):
    """The tiny model as a forecaster: 8 steps in one pass, contexts of up to 24."""
    return MoiraiForecast(tiny, context_length=24, device="cpu")


@pytest.fixture(scope="session")
def many_series():
    """Series of 1 to 60 steps around level 10, some with gaps."""
    rng = np.random.default_rng(0)
    series = [rng.normal(10, 3, length).astype(np.float32) for length in (1, 60, 7, 24, 25, 3, 40, 12)]
    for one in series[::2]:
        one[rng.random(len(one)) < 0.2] = np.nan
    return series


@pytest.fixture(scope="session")
def make_inputs():
    """Make inputs of series of several lengths, around `level`, some values missing if `gaps`."""

    def make(targets=1, known=0, past=0, *, horizon=8, context=24, lengths=(30, 24, 9), level=5.0, gaps=False):
        rng = np.random.default_rng(3)

        def series(length):
            target = rng.normal(level, 3, size=(targets, length))
            if gaps:
                target[:, 1:][rng.random((targets, length - 1)) < 0.2] = np.nan
            features = {}
            if known:
                features["feat_dynamic_real"] = rng.normal(size=(known, length + horizon))
            if past:
                features["past_feat_dynamic_real"] = rng.normal(size=(past, length))
            return SeriesInput(target=target, **features)

        return stack_inputs([series(length) for length in lengths], context=context, horizon=horizon)

    return make
