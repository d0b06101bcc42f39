"""`MoiraiForecast` for the families with a distribution: levels, patch sizes, batches, covariates, samples."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.model.forecast import QuantileForecast, SampleForecast

from moirai.errors import ConfigError, DataError
from moirai.forecasting.forecast import MoiraiForecast
from moirai.forecasting.inputs import SeriesInput, stack_inputs
from moirai.forecasting.masked_decoding import decode_auto, zero_filled

CHECKPOINTS = Path(__file__).parents[2] / "parity"
KINDS = {
    "fixed": ("moirai", {"patch_size": 8}),
    "auto": ("moirai", {}),
    "frequency": ("moirai", {"patch_size": "frequency"}),
    "single distribution": ("moirai_2h", {"patch_size": 16}),
    "experts": ("moirai_moe", {"patch_size": 8, "num_samples": 20}),
    "experts, cached": ("moirai_moe", {"patch_size": 8, "num_samples": 20, "decoding": "cached"}),
}


def load(kind, **options):
    """A forecaster of the reference's random weights."""
    folder, choices = KINDS[kind]
    return MoiraiForecast.from_pretrained(
        CHECKPOINTS / folder / "checkpoint", **{"context_length": 24, "device": "cpu", **choices, **options}
    )


def long_frame(*lengths, columns=("target",)):
    """Daily series of these lengths, with one value missing."""
    rng = np.random.default_rng(0)
    frames = []
    for number, length in enumerate(lengths):
        values = {name: rng.normal(10, 3, length) for name in columns}
        days = pd.date_range("2024-01-01", periods=length)
        frames.append(pd.DataFrame({"item_id": f"s{number}", "timestamp": days, **values}))
    frames[0].loc[2, "target"] = np.nan
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("kind", KINDS)
def test_any_level_in_order_and_finite(kind):
    """Levels need not be trained ones; they come sorted within a row, in the order of columns asked for."""
    made = load(kind).predict_frame(long_frame(40, 9), freq="D", horizon=11, levels=[0.5, 0.025, 0.99])
    assert list(made.columns[-4:]) == ["mean", "q50", "q2.5", "q99"]
    assert len(made) == 22
    assert np.isfinite(made[["mean", "q2.5", "q50", "q99"]].to_numpy()).all()
    assert (made["q2.5"] <= made["q50"]).all()
    assert (made["q50"] <= made["q99"]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_twice(kind):
    """Nothing is left to chance: paths are seeded."""
    series = [np.arange(30.0), np.arange(9.0) % 4]
    np.testing.assert_array_equal(
        load(kind).predict_arrays(series, horizon=11, freq="D"), load(kind).predict_arrays(series, horizon=11, freq="D")
    )


@pytest.mark.parametrize("kind", ["fixed", "auto", "frequency", "single distribution"])
def test_a_series_is_forecast_as_if_it_were_alone(kind, many_series):
    """What shares a batch with a series leaves its forecast alone."""
    together = load(kind).predict_arrays(many_series, horizon=5, freq="D")
    alone = [load(kind).predict_arrays([one], horizon=5, freq="D")[0] for one in many_series]
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-3)


def test_auto_looks_at_a_full_window_however_short_the_series(many_series):
    """Short series are scored and forecast as if they had been padded to context and horizon, as published."""
    forecaster = load("auto")
    found = forecaster.predict_arrays(many_series, horizon=5)
    inputs = [SeriesInput(target=one[None]) for one in many_series]
    window = zero_filled(stack_inputs(inputs, context=24 + 5, horizon=5))
    law = decode_auto(forecaster.module, window, context=24, horizon=5)
    expected = law.quantile(torch.tensor(forecaster.quantile_levels))[..., 0].transpose(0, 1)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["fixed", "experts"])
def test_known_covariates_keep_their_future(kind):
    """What is known behind the origin changes the forecast; without it the call is refused by name."""
    df = long_frame(40, 30, columns=("target", "promo"))
    ends = df.groupby("item_id")["timestamp"].max()
    future = pd.concat(
        [
            pd.DataFrame({"item_id": item, "timestamp": pd.date_range(end, periods=12)[1:], "promo": 1.0})
            for item, end in ends.items()
        ]
    )
    asked = {"freq": "D", "horizon": 11, "known": ["promo"]}
    one = load(kind).predict_frame(df, future=future, **asked)
    other = load(kind).predict_frame(df, future=future.assign(promo=np.arange(len(future)) * 5.0), **asked)
    assert not np.allclose(one["q50"], other["q50"])
    with pytest.raises(DataError, match="promo"):
        load(kind).predict_frame(df, future=future.iloc[1:], **asked)


@pytest.mark.parametrize("kind", ["fixed", "experts"])
def test_samples_are_seeded_and_follow_the_quantiles(kind):
    """The same seed draws the same paths, another one others; their median is near the model's."""
    series = [SeriesInput(target=np.sin(np.arange(24.0))[None])]
    drawn = load(kind, seed=1).sample_inputs(series, samples=400, horizon=8)
    assert drawn.shape == (1, 400, 8, 1)
    np.testing.assert_array_equal(drawn, load(kind, seed=1).sample_inputs(series, samples=400, horizon=8))
    assert not np.array_equal(drawn, load(kind, seed=2).sample_inputs(series, samples=400, horizon=8))
    low, high = load(kind).predict_inputs(series, horizon=8, levels=[0.35, 0.65])[0, :, :, 0]
    median = np.median(drawn[0, :, :, 0], axis=0)
    assert (low - 1e-3 <= median).all()
    assert (median <= high + 1e-3).all()


def test_quantile_models_have_no_samples(forecaster):
    """Moirai 2.0 says what to ask for instead."""
    with pytest.raises(ConfigError, match="no sample paths; ask for levels"):
        forecaster.sample_inputs([SeriesInput(target=np.ones((1, 9)))], samples=3)


@pytest.mark.parametrize("kind", ["fixed", "experts"])
def test_gluonts_gets_quantiles_with_a_mean_or_samples(kind):
    """The predictor's forecast type follows what was asked for."""
    entry = {"item_id": "a", "start": pd.Period("2024-01-01", "D"), "target": np.arange(30.0) % 7}
    model = load(kind, prediction_length=5)
    (quantiles,) = model.create_predictor(batch_size=2).predict([entry])
    assert isinstance(quantiles, QuantileForecast)
    assert quantiles.forecast_keys == [*(f"0.{n}" for n in range(1, 10)), "mean"]
    assert quantiles.mean.shape == (5,)
    (samples,) = model.create_predictor(samples=7).predict([entry])
    assert isinstance(samples, SampleForecast)
    assert samples.samples.shape == (7, 5)
    assert samples.start_date == pd.Period("2024-01-31", "D")


def test_several_targets_at_once():
    """A multivariate series comes out with all its targets."""
    series = [SeriesInput(target=np.random.default_rng(0).normal(size=(3, 20)))]
    assert load("fixed").predict_inputs(series, horizon=5).shape == (1, 9, 5, 3)
    assert load("experts").predict_inputs(series, horizon=9).shape == (1, 9, 9, 3)


@pytest.mark.parametrize("kind", ["fixed", "experts"])
def test_targets_of_a_frame_together_or_one_by_one(kind):
    """Jointly, a target sees the others; either way the frame has the same rows."""
    df = long_frame(40, 30, columns=("target", "other"))
    asked = {"freq": "D", "horizon": 8, "target": ["target", "other"]}
    apart, together = load(kind).predict_frame(df, **asked), load(kind).predict_frame(df, joint=True, **asked)
    keys = ["item_id", "target_name", "origin", "timestamp"]
    pd.testing.assert_frame_equal(apart[keys], together[keys])
    assert not np.allclose(apart["q50"], together["q50"])
    expected = load(kind).predict_inputs(
        [SeriesInput(target=df[df["item_id"] == "s1"][["target", "other"]].to_numpy().T)], horizon=8
    )[0, 4]
    chosen = together[(together["item_id"] == "s1") & (together["target_name"] == "other")]
    np.testing.assert_allclose(chosen["q50"], expected[:, 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("fixed", {"patch_size": 7}, r"patch_size 7 is none of the model's \(8, 16"),
        ("experts", {"patch_size": "auto"}, "'auto' is for Moirai 1.x"),
        ("experts", {"num_samples": 0}, "num_samples must be at least 1"),
    ],
)
def test_choices_that_do_not_fit_are_refused(kind, options, message):
    """The sentence names the choice and what there is."""
    with pytest.raises(ConfigError, match=message):
        load(kind, **options)


def test_unknown_decoding():
    """A way that does not exist is refused, by us or by the run-time check of types before us."""
    with pytest.raises((ConfigError, TypeError), match="decoding"):
        load("fixed", decoding="fast")


def test_frequency_must_be_known_where_the_patch_depends_on_it():
    """Arrays have no frequency of their own."""
    with pytest.raises(ConfigError, match="needs freq"):
        load("frequency").predict_arrays([np.arange(30.0)], horizon=5)


def test_defaults_alone_forecast():
    """A model loaded by name alone forecasts its stated number of steps."""
    model = MoiraiForecast.from_pretrained(CHECKPOINTS / "moirai" / "checkpoint")
    assert model.predict_arrays([np.sin(np.arange(300.0))]).shape == (1, 9, 64)


def test_levels_outside_are_refused():
    """0 and 1 are no levels."""
    with pytest.raises(ConfigError, match=r"quantile 1 is no level"):
        load("fixed").predict_arrays([np.arange(9.0)], horizon=2, levels=[0.5, 1.0])
