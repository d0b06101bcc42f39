"""Forecasts against the reference: token layout, roll-out, GluonTS predictor, list of arrays."""

import numpy as np
import pandas as pd
import pytest
import torch

from moirai.forecasting.decoding import _write, decode_quantiles
from moirai.forecasting.forecast import MoiraiForecast
from moirai.forecasting.inputs import SeriesInput, stack_inputs
from moirai.tokens import ForecastInputs, forecast_tokens, token_layout

FORECASTS = (
    "single_uni",
    "single_multi_feat",
    "ar_uni",
    "ar_uni_long",
    "ar_multi",
    "ar_multi_feat",
)
PREDICTORS = ("uni", "multi", "long")
SERIES_FIELDS = ("target", "feat_dynamic_real", "past_feat_dynamic_real")
LAYOUT = ("target", "observed_mask", "sample_id", "time_id", "variate_id", "prediction_mask")


@pytest.fixture(params=FORECASTS)
def case(request, stored):
    """A stored forecast and its inputs."""
    t, meta = stored(f"moirai2/forecast_{request.param}")
    inputs = {name.removeprefix("in."): x for name, x in t.items() if name.startswith("in.")}
    return t, meta, ForecastInputs(**inputs)


@pytest.fixture(params=PREDICTORS)
def gluonts_case(request, stored):
    """A stored data set: entries as GluonTS delivers them, and what the reference made of them."""
    t, meta = stored(f"moirai2/gluonts_forecast_{request.param}")
    entries = []
    for index, item_id in enumerate(meta["item_ids"]):
        given = {name: t.get(f"in.series.{index}.{name}") for name in SERIES_FIELDS}
        entry = {name: value.numpy() for name, value in given.items() if value is not None}
        if meta["tgt"] == 1:
            entry["target"] = entry["target"][0]
        forecast_start = pd.Period(meta["forecast_start"], "h")
        start = forecast_start - entry["target"].shape[-1]
        entries.append(entry | {"item_id": item_id, "start": start})
    return t, meta, entries


def test_token_layout(case, reference):
    """Every field of every token is exactly the reference's."""
    t, meta, inputs = case
    tokens = forecast_tokens(inputs, horizon=meta["pred"], patch_size=reference.config.patch_size)
    for name in LAYOUT:
        assert torch.equal(getattr(tokens, name), t[f"convert.{name}"].to(getattr(tokens, name))), name


def test_first_forward(case, reference, assert_close, magnitude):
    """The forward over the whole row, unwritten future included, agrees at every token of a sample."""
    t, meta, inputs = case
    tokens = forecast_tokens(inputs, horizon=meta["pred"], patch_size=reference.config.patch_size)
    with torch.no_grad():
        predicted = reference(tokens).flatten(2)
    level = magnitude(tokens.target, tokens.observed_mask)
    used = tokens.sample_id > 0
    assert_close(
        predicted[used],
        t["out.first_preds"][used],
        "data units",
        magnitude=level[:, None, None].expand(*used.shape, 1)[used],
    )


def test_second_forward(case, reference, assert_close, magnitude):
    """The copies of the roll-out hold the reference's values and give its predictions.

    The stored copies were written on after this forward, so the tokens of later steps are left out.
    """
    t, meta, inputs = case
    if meta["n_module_calls"] == 1:
        assert "out.second_target" not in t
        return
    config = reference.config
    tokens = forecast_tokens(inputs, horizon=meta["pred"], patch_size=config.patch_size)
    layout = token_layout(inputs, horizon=meta["pred"], patch_size=config.patch_size)
    with torch.no_grad():
        first = reference(tokens)[:, layout.last_past()]
        copies = _write(tokens.repeat_rows(config.num_quantiles), layout, first, at=0)
        second = reference(copies).flatten(2)
    level = magnitude(inputs.past_target, inputs.past_observed_target)
    level = level.repeat_interleave(config.num_quantiles)[:, None, None]
    seen = layout.up_to(config.num_predict_token)
    assert not copies.prediction_mask[:, seen].any()
    target, predicted = (t[f"out.second_{name}"].flatten(0, 1) for name in ("target", "preds"))
    assert_close(copies.target[:, seen], target[:, seen], "data units", magnitude=level)
    used = copies.sample_id > 0
    level = level.expand(*used.shape, 1)[used]
    assert_close(second[used], predicted[used], "data units", magnitude=level)


def test_quantiles(case, reference, assert_close, magnitude):
    """The quantile forecast agrees, over one pass and over many."""
    t, meta, inputs = case
    expected = t["out.quantiles"]
    if meta["tgt"] == 1:
        expected = expected[..., None]
    quantiles = decode_quantiles(reference, inputs, horizon=meta["pred"])
    level = magnitude(inputs.past_target, inputs.past_observed_target)
    assert_close(quantiles, expected, "data units", magnitude=level[:, None, None, None])


def test_network_inputs(gluonts_case, assert_close):
    """Raw series reach the network as after the reference's transform and splitter."""
    t, meta, entries = gluonts_case
    series = [SeriesInput(**{name: np.atleast_2d(e[name]) for name in SERIES_FIELDS if name in e}) for e in entries]
    inputs = stack_inputs(series, context=meta["ctx"], horizon=meta["pred"])
    names = [name.removeprefix("net.") for name in t if name.startswith("net.")]
    assert {"past_target", "past_observed_target", "past_is_pad"} <= set(names)
    for name in names:
        actual = getattr(inputs, name)
        assert_close(actual.float(), t[f"net.{name}"].float(), "network input")


def test_gluonts_predictor(gluonts_case, reference, assert_close, magnitude):
    """The predictor's forecasts agree in values, keys, start and item."""
    t, meta, entries = gluonts_case
    forecast = MoiraiForecast(reference, prediction_length=meta["pred"], context_length=meta["ctx"], device="cpu")
    found = list(forecast.create_predictor().predict(entries))
    level = magnitude(t["net.past_target"], t["net.past_observed_target"])
    for index, one in enumerate(found):
        expected = t["out.forecast_array"][index]
        actual = torch.from_numpy(one.forecast_array)
        assert_close(actual, expected, "data units", magnitude=level[index])
        assert list(map(str, one.forecast_keys)) == meta["forecast_keys"]
        assert one.start_date == pd.Period(meta["forecast_start"], "h")
    assert [one.item_id for one in found] == meta["item_ids"]


@pytest.mark.parametrize("name", ["short", "long"])
def test_numpy_predict(stored, reference, assert_close, magnitude, name):
    """Lists of arrays: complete series agree; gaps and short series differ, by design.

    The reference's entry replaces every missing value by 0, and pads short series with their first
    value as if it had been observed. We fill and pad as its GluonTS predictor does. Given what the
    reference's network saw, the network agrees on all of them.
    """
    t, meta = stored(f"moirai2/numpy_predict_{name}")
    series = [t[f"in.series.{k}"].numpy() for k in range(len(meta["lens"]))]
    forecast = MoiraiForecast(reference, prediction_length=meta["pred"], context_length=meta["ctx"], device="cpu")
    ours = torch.from_numpy(forecast.predict_arrays(series))
    expected = t["out.quantiles"]
    fields = {key.removeprefix("net."): x for key, x in t.items() if key.startswith("net.")}
    level = magnitude(fields["past_target"], fields["past_observed_target"])[:, None, None]
    replayed = forecast.predict_tensors(ForecastInputs(**fields))[..., 0]
    assert_close(replayed, expected, "data units", magnitude=level)

    complete = torch.tensor([not np.isnan(s).any() and len(s) >= meta["ctx"] for s in series])
    assert complete.tolist() == [True, False, False, False, False]
    assert_close(ours[complete], expected[complete], "data units", magnitude=level[complete])
    apart = ((ours - expected).abs() / level).amax((1, 2))
    assert (apart[~complete] > 1e-3).all()
