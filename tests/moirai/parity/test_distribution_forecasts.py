"""Forecasts of Moirai 1.x and Moirai-MoE against the reference: layout, laws, patch choice, inputs."""

from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from moirai.forecasting import expert_decoding, masked_decoding
from moirai.forecasting.inputs import SeriesInput, stack_inputs
from moirai.forecasting.masked_decoding import zero_filled
from moirai.hub import load_module, resolve
from moirai.tokens import ForecastInputs, forecast_tokens

# On the flank of the component of scale 0.001 a difference of 4e-7 in its location, which is rounding, makes one of
# 1e-3 in the log density: at one point of auto_multi_feat the reference lies 0.96 times the tolerance from its own
# float64 value, this library 0.2 times, to the other side.
WITHIN = 0.99  # of the log densities lie within the tolerance, all within twice of it
MASKED = ("moirai/fixed_uni", "moirai/fixed_uni_nan_pad", "moirai/fixed_multi_feat", "moirai_2h/fixed_uni")
AUTO = ("moirai/auto_uni", "moirai/auto_multi_feat")
ONE_PATCH = ("moirai_moe/single_uni", "moirai_moe/single_multi_feat")
ROLL_OUT = ("moirai_moe/ar_uni", "moirai_moe/ar_multi_feat")
FIXED = (*MASKED, *ONE_PATCH, *ROLL_OUT)
NETWORK_INPUTS = (
    "moirai/gluonts_inputs_uni_fixed",
    "moirai/gluonts_inputs_uni_auto",
    "moirai/gluonts_inputs_multi_fixed",
    "moirai/gluonts_inputs_multi_auto",
    "moirai_moe/gluonts_inputs_uni",
    "moirai_moe/gluonts_inputs_multi",
)
LAYOUT = ("target", "observed_mask", "sample_id", "time_id", "variate_id", "prediction_mask")
PATHS = 500


class Case(NamedTuple):
    """A module, a stored forecast, its settings and inputs."""

    module: Any
    expected: dict[str, torch.Tensor]
    meta: dict[str, Any]
    inputs: ForecastInputs


@pytest.fixture(scope="module")
def case(request, parity, stored):
    """The stored forecast `<folder>/<name>`."""
    folder, name = request.param.split("/")
    t, meta = stored(f"{folder}/forecast_{name}")
    given = {key.removeprefix("in."): x for key, x in t.items() if key.startswith("in.")}
    given.pop("future_target")
    return Case(load_module(resolve(parity / folder / "checkpoint")), t, meta, ForecastInputs(**given))


def law_of(case):
    """The distribution that the case asks for: `[batch, horizon, target]`."""
    module, t, meta, inputs = case
    if meta["patch"] == "auto":
        return masked_decoding.decode_auto(module, inputs, context=meta["ctx"], horizon=meta["pred"])
    if module.config.FAMILY == "Moirai 1.x":
        return masked_decoding.decode(module, inputs, horizon=meta["pred"], patch_size=meta["patch"])
    return expert_decoding.forced_laws(module, inputs, t["in.future_target"], patch_size=meta["patch"])


def parameters(law):
    """Parameters by the names of the fixtures."""
    found = {"affine_loc": law.loc, "affine_scale": law.scale}
    found |= {field.name: getattr(law.base, field.name) for field in fields(law.base)}
    for k, component in enumerate(found.pop("components", ())):
        found |= {f"components.{k}.{field.name}": getattr(component, field.name) for field in fields(component)}
    return found


def assert_law(law, t, prefix, assert_close, level):
    """Every stored parameter, the mean and the density of the given future agree."""
    ours = parameters(law)
    theirs = {name.removeprefix(f"{prefix}.dist."): x for name, x in t.items() if name.startswith(f"{prefix}.dist.")}
    assert theirs.keys() <= ours.keys()  # ours has the constants as well
    for name, parameter in theirs.items():
        assert_close(ours[name], parameter, "data units")
    assert_close(law.mean, t[f"{prefix}.mean"], "data units", magnitude=level[:, None, None])
    assert_close(law.log_prob(t["in.future_target"]), t[f"{prefix}.log_prob"], "log density", share=WITHIN)


@pytest.mark.parametrize("case", FIXED, indirect=True)
def test_token_layout(case):
    """Every field of every token is exactly the reference's, inside the patch."""
    size = case.meta["patch"]
    tokens = forecast_tokens(case.inputs, horizon=case.meta["pred"], patch_size=size)
    for name in LAYOUT:
        actual, expected = getattr(tokens, name), case.expected[f"convert.{name}"]
        inside = expected[..., :size] if expected.dim() == 3 else expected
        assert torch.equal(actual, inside.to(actual)), name


@pytest.mark.parametrize("case", FIXED, indirect=True)
def test_laws(case, assert_close, magnitude):
    """Parameters, mean, density and variance agree; of a roll-out those behind the given future."""
    law, level = law_of(case), magnitude(case.inputs.past_target, case.inputs.past_observed_target)
    assert_law(law, case.expected, "out", assert_close, level)
    assert_close(law.variance, case.expected["out.variance"], "variance")


@pytest.mark.parametrize("case", [*MASKED, *AUTO, *ONE_PATCH], indirect=True)
def test_distribution_function(case):
    """The probabilities of the stored points are the exact ones."""
    points, expected = (case.expected[f"out.cdf_{name}"].transpose(0, 1) for name in ("points", "values"))
    apart = (law_of(case).cdf(points) - expected).abs()
    assert (apart <= 1e-3).float().mean() >= 0.995  # a point within rounding of a jump may fall on its other side


@pytest.mark.parametrize("case", [*MASKED, *AUTO, *ONE_PATCH], indirect=True)
def test_quantiles_without_sampling(case):
    """Quantiles by inversion lie within the sampling error of the reference's samples."""
    quantiles = law_of(case).quantile(torch.arange(1, 10) / 10).transpose(0, 1)
    assert_statistically(quantiles, case, share=0.0)


@pytest.mark.parametrize("case", ROLL_OUT, indirect=True)
def test_roll_out(case):
    """Quantiles of free paths lie within the sampling errors of both sides."""
    _, _, meta, _ = case
    forecast = expert_decoding.decode(
        case.module,
        case.inputs,
        horizon=meta["pred"],
        patch_size=meta["patch"],
        paths=PATHS,
        generator=torch.Generator().manual_seed(0),
    )
    quantiles = forecast.quantile(torch.arange(1, 10) / 10).transpose(0, 1)
    assert_statistically(quantiles, case, share=meta["n_samples"] / PATHS)


def assert_statistically(quantiles, case, *, share):
    """Differences of quantiles are at most five standard errors; `share`: of our variance in the reference's."""
    error = case.expected["out.sample_quantiles_se"] * (1 + share) ** 0.5
    apart = (quantiles - case.expected["out.sample_quantiles"]).abs()
    level = case.inputs.past_target.abs().mean().clamp(min=1)
    assert (apart <= 5 * error + 1e-4 * level).float().mean() >= 0.99  # some errors are estimated at a jump


@pytest.mark.parametrize("case", AUTO, indirect=True)
def test_patch_choice(case, assert_close, magnitude):
    """Scores of the sizes, the choice, the laws of every size and of the chosen one agree."""
    module, t, meta, inputs = case
    steps = {"context": meta["ctx"], "horizon": meta["pred"]}
    assert_close(masked_decoding.score_patch_sizes(module, inputs, **steps), t["out.val_loss"], "log density")
    chosen = masked_decoding.choose_patch_sizes(module, inputs, **steps)
    assert torch.equal(chosen, t["out.chosen_patch_size"])
    sizes = torch.tensor(module.config.patch_sizes)
    assert torch.equal(sizes[t["out.chosen_index"]], chosen)
    level = magnitude(inputs.past_target, inputs.past_observed_target)
    latest = masked_decoding.latest(inputs, meta["ctx"], horizon=meta["pred"])
    for size in module.config.patch_sizes:
        law = masked_decoding.decode(module, latest, horizon=meta["pred"], patch_size=size)
        assert_law(law, t, f"out.p{size}", assert_close, level)
    assert_close(law_of(case).mean, t["out.mean"], "data units", magnitude=level[:, None, None])


@pytest.mark.parametrize("name", NETWORK_INPUTS)
def test_network_inputs(stored, assert_close, name):
    """Raw series reach the network as after the reference's transform and splitter."""
    t, meta = stored(name)
    names = ("target", "feat_dynamic_real", "past_feat_dynamic_real")
    series = []
    for index in range(len(meta["lens"])):
        given = {field: t.get(f"in.series.{index}.{field}") for field in names}
        series.append(SeriesInput(**{field: np.asarray(x) for field, x in given.items() if x is not None}))
    # Moirai 1.x chooses a patch size on steps before the context
    context = meta["ctx"] + (meta["pred"] if meta["patch"] == "auto" else 0)
    inputs = stack_inputs(series, context=context, horizon=meta["pred"])
    if name.startswith("moirai/"):
        inputs = zero_filled(inputs)
    received = [field.removeprefix("net.") for field in t if field.startswith("net.")]
    assert {"past_target", "past_observed_target", "past_is_pad"} <= set(received)
    for field in received:
        assert_close(getattr(inputs, field).float(), t[f"net.{field}"].float(), "network input")
