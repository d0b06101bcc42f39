"""`MoiraiForecast` on arrays: batching, lengths, missing values, horizons, levels, precision."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moirai.errors import ConfigError, DataError
from moirai.forecasting.forecast import MoiraiForecast
from moirai.forecasting.inputs import SeriesInput

NAN = float("nan")


def close(actual, expected):
    """Equal up to the order of sums."""
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("horizon", [1, 8, 11, 20])
def test_batches_equal_single_series(forecaster, many_series, horizon):
    """Series of many lengths get in a batch what each gets alone, in one pass and in a roll-out."""
    together = forecaster.predict_arrays(many_series, horizon=horizon)
    alone = [forecaster.predict_arrays([one], horizon=horizon)[0] for one in many_series]
    assert together.shape == (8, 9, horizon)
    close(together, alone)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batch_size(tiny, forecaster, many_series, batch_size):
    """The batch size changes nothing but the work at a time."""
    other = MoiraiForecast(tiny, context_length=24, batch_size=batch_size, device="cpu")
    close(other.predict_arrays(many_series, horizon=11), forecaster.predict_arrays(many_series, horizon=11))


@settings(deadline=None, max_examples=5)
@given(st.permutations(range(8)))
def test_order_of_series(forecaster, many_series, order):
    """Forecasts come back in the order of the series."""
    shuffled = forecaster.predict_arrays([many_series[index] for index in order])
    close(shuffled, forecaster.predict_arrays(many_series)[order])


@pytest.mark.parametrize("horizon", [1, 3, 8, 9, 16, 17, 100])
def test_horizons(forecaster, horizon):
    """Any horizon is met, however many passes it takes, and its steps are finite."""
    quantiles = forecaster.predict_arrays([np.sin(np.arange(30.0))], horizon=horizon)
    assert quantiles.shape == (1, 9, horizon)
    assert np.isfinite(quantiles).all()


def test_shorter_horizon_is_a_prefix(forecaster, many_series):
    """A forecast does not depend on how far beyond it one looks."""
    long = forecaster.predict_arrays(many_series, horizon=30)
    for horizon in (1, 8, 13, 29):
        close(forecaster.predict_arrays(many_series, horizon=horizon), long[:, :, :horizon])


@pytest.mark.parametrize(
    "series",
    [
        [5.0],
        [NAN],
        [NAN] * 30,
        [NAN, NAN, 3.0],
        [3.0, NAN, NAN],
        [7.0] * 30,
        [0.0] * 30,
        [1e-30, 2e-30] * 10,
        [1e30, -1e30] * 10,
        [1e7, 1e7 + 1] * 10,
        [1.0] * 29 + [1e6],
        [0.0, 1.0, 2.0],
    ],
    ids=lambda series: f"{len(series)} steps from {series[0]}",
)
@pytest.mark.parametrize("horizon", [5, 20])
def test_no_nan_leaves_the_model(forecaster, series, horizon):
    """Short, missing, constant, tiny, huge and jumping series all get finite forecasts."""
    assert np.isfinite(forecaster.predict_arrays([np.array(series)], horizon=horizon)).all()


@settings(deadline=None, max_examples=15)
@given(st.lists(st.one_of(st.none(), st.floats(-1e4, 1e4, width=32)), min_size=1, max_size=30), st.integers(1, 12))
def test_any_series_is_finite(forecaster, values, horizon):
    """Whatever the values and gaps, the forecast is finite."""
    series = np.array([NAN if value is None else value for value in values])
    assert np.isfinite(forecaster.predict_arrays([series], horizon=horizon)).all()


def test_only_the_context_counts(forecaster):
    """Values before the context change nothing."""
    series = np.random.default_rng(0).normal(size=50)
    changed = series.copy()
    changed[:26] += 100
    close(forecaster.predict_arrays([changed]), forecaster.predict_arrays([series]))


@settings(deadline=None, max_examples=15)
@given(st.integers(-6, 10), st.sampled_from([5, 20]))
def test_power_of_two(forecaster, exponent, horizon):
    """A series times a power of two gets the forecast times the same, as far as the floor of the scale allows."""
    series = np.random.default_rng(0).normal(size=20)
    scaled = forecaster.predict_arrays([series * 2.0**exponent], horizon=horizon) / 2.0**exponent
    np.testing.assert_allclose(scaled, forecaster.predict_arrays([series], horizon=horizon), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("offset", [128.0, -4096.0, 65_536.0])
def test_offset(forecaster, offset):
    """A moved series gets the moved forecast, as far as float32 resolves the values at that level."""
    series = np.round(np.random.default_rng(0).normal(size=20) * 64) / 64
    moved = forecaster.predict_arrays([series + offset]) - offset
    resolution = abs(offset) * np.finfo(np.float32).eps * 200
    np.testing.assert_allclose(moved, forecaster.predict_arrays([series]), atol=1e-3 + resolution)


def test_missing_is_not_the_filler(forecaster):
    """A gap is not the same as an observed value equal to its filler."""
    series = np.random.default_rng(0).normal(size=20)
    gap, filled = series.copy(), series.copy()
    gap[12:15], filled[12:15] = NAN, series[:12].mean()
    assert np.abs(forecaster.predict_arrays([gap]) - forecaster.predict_arrays([filled])).max() > 1e-3


def test_input_is_left_alone(forecaster, many_series):
    """Forecasting does not change the caller's arrays."""
    before = [one.copy() for one in many_series]
    forecaster.predict_arrays(many_series, horizon=20)
    assert all(np.array_equal(x, y, equal_nan=True) for x, y in zip(many_series, before, strict=True))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types_of_input(forecaster, dtype):
    """Floats of any width are taken, the answer is float32."""
    series = np.arange(20).astype(dtype)
    assert forecaster.predict_arrays([series]).dtype == np.float32


def test_several_targets_and_features(forecaster):
    """Targets with features of both kinds are forecast together, and the features matter."""
    rng = np.random.default_rng(0)
    values = {"target": rng.normal(size=(2, 30)), "past_feat_dynamic_real": rng.normal(size=(1, 30))}
    given = SeriesInput(**values, feat_dynamic_real=rng.normal(size=(3, 41)))
    other = SeriesInput(**values, feat_dynamic_real=rng.normal(size=(3, 41)))
    first, second = forecaster.predict_inputs([given, other], horizon=11)
    assert first.shape == (9, 11, 2)
    assert np.isfinite(first).all()
    assert np.abs(first - second).max() > 1e-2


def test_progress(forecaster, many_series):
    """Every batch is reported, with the series done and the series in all."""
    calls = []
    small = MoiraiForecast(forecaster.module, batch_size=3, device="cpu")
    small.predict_arrays(many_series, on_batch=lambda done, total: calls.append((done, total)))
    assert calls == [(3, 8), (6, 8), (8, 8)]


def test_bfloat16_is_close(tiny, forecaster, many_series):
    """In bfloat16 the forecast is the same to about two digits."""
    rough = MoiraiForecast(tiny, context_length=24, device="cpu", precision="bf16").predict_arrays(many_series)
    exact = forecaster.predict_arrays(many_series)
    assert rough.dtype == np.float32
    spread = exact.max((1, 2)) - exact.min((1, 2))
    assert (np.abs(rough - exact).max((1, 2)) < 0.1 * spread + 0.1).all()


def test_levels(forecaster, many_series):
    """Levels come in the order asked for; between trained ones they are interpolated when allowed."""
    trained = forecaster.predict_arrays(many_series)
    asked = forecaster.predict_arrays(many_series, levels=[0.9, 0.1])
    assert np.array_equal(asked, trained[:, [8, 0]])
    between = forecaster.predict_arrays(many_series, levels=[0.25], interpolate=True)
    close(between[:, 0], (trained[:, 1] + trained[:, 2]) / 2)


def test_refused_before_the_work(tiny, many_series):
    """A level that the model cannot give is refused before anything is computed."""
    calls = []
    with pytest.raises(ConfigError, match=r"quantile 0\.05 is not among"):
        MoiraiForecast(tiny, device="cpu").predict_arrays(
            many_series, levels=[0.05], on_batch=lambda *call: calls.append(call)
        )
    assert not calls


@pytest.mark.parametrize("name", ["prediction_length", "context_length", "batch_size"])
def test_impossible_settings(tiny, name):
    """A setting below one is named."""
    with pytest.raises(ConfigError, match=f"{name} must be at least 1, not 0"):
        MoiraiForecast(tiny, device="cpu", **{name: 0})


@pytest.mark.parametrize("horizon", [0, -3])
def test_impossible_horizon(forecaster, horizon):
    """A horizon below one is refused, not replaced by the default."""
    with pytest.raises(ConfigError, match=f"horizon must be at least 1, not {horizon}"):
        forecaster.predict_arrays([np.ones(5)], horizon=horizon)


def test_unknown_precision(tiny):
    """A precision that does not exist is refused, by us or by the run-time check of types before us."""
    with pytest.raises((ConfigError, TypeError), match="precision"):
        MoiraiForecast(tiny, device="cpu", precision="fp8")


@pytest.mark.parametrize(
    ("series", "says"),
    [
        ([], "no series to forecast"),
        ([[1.0], []], "series 1: no time steps"),
        ([[1.0, float("inf")]], "series 0: .*infinite"),
    ],
)
def test_impossible_series(forecaster, series, says):
    """No series, an empty one and infinite values are refused, naming the series."""
    with pytest.raises(DataError, match=says):
        forecaster.predict_arrays([np.array(one) for one in series])


def test_default_horizon_is_one_pass(tiny):
    """Without a horizon one forward pass decides: predicted tokens times patch size."""
    assert MoiraiForecast(tiny, device="cpu").predict_arrays([np.ones(5)]).shape[-1] == 8


def test_from_pretrained(tiny, tmp_path, many_series):
    """A saved model forecasts as the one in memory; settings are passed on."""
    tiny.save_pretrained(tmp_path)
    loaded = MoiraiForecast.from_pretrained(
        tmp_path, prediction_length=5, context_length=24, batch_size=2, device="cpu", precision="fp32"
    )
    expected = MoiraiForecast(tiny, context_length=24, device="cpu").predict_arrays(many_series, horizon=5)
    close(loaded.predict_arrays(many_series), expected)
    assert loaded.quantile_levels == tiny.config.quantile_levels


def test_dropout_is_off(make_module):
    """A model that was in training forecasts without dropout."""
    module = make_module(dropout_p=0.5, attn_dropout_p=0.5).train()
    forecaster = MoiraiForecast(module, device="cpu")
    first, second = (forecaster.predict_arrays([np.arange(20.0)]) for _ in range(2))
    assert np.array_equal(first, second)


def test_no_gradients(forecaster):
    """A forecast keeps no graph."""
    quantiles = forecaster.predict_arrays([np.arange(20.0)])
    assert isinstance(quantiles, np.ndarray)
    assert torch.is_grad_enabled()
