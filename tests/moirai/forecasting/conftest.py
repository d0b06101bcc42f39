"""Series of many kinds and a forecaster for them."""

import numpy as np
import pytest

from moirai.forecasting.forecast import MoiraiForecast


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
