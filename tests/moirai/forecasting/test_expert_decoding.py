"""Roll-out of Moirai-MoE: against plain recomputation, its work, its draws, what it depends on."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from moirai.errors import ConfigError
from moirai.forecasting import paths as paths_module
from moirai.forecasting.expert_decoding import FARTHEST, _draw, _Walk, decode, forced_laws, sample_paths
from moirai.tokens import forecast_tokens, token_layout

LEVELS = torch.tensor([0.1, 0.5, 0.9])
SIZE = 4
KINDS = [(1, 0, 0), (2, 1, 1)]  # targets, known features, past features


@pytest.fixture(scope="module")
def module(make_distribution_module):
    """A tiny module with patches of 4, 6 and 9."""
    return make_distribution_module("moirai_moe")


def plain_means(module, inputs, paths, *, rescale):
    """Mean of every step behind given paths, as specified: a row per path, every pass over the whole row."""
    batch, count, horizon, targets = paths.shape
    layout = token_layout(inputs, horizon=horizon, patch_size=SIZE)
    tokens = forecast_tokens(inputs, horizon=horizon, patch_size=SIZE)
    frozen = module.scaling(tokens.repeat_rows(count))
    rows = tokens.repeat_rows(count)
    padded = functional.pad(paths, (0, 0, 0, layout.future_tokens * SIZE - horizon))
    patches = padded.reshape(batch * count, -1, SIZE, targets).permute(1, 0, 3, 2)
    means = []
    for step in range(layout.future_tokens):
        scaling = module.scaling(rows) if rescale else frozen
        law = module.distribution(module.encode(rows, SIZE, scaling), SIZE, scaling)
        means.append(law.mean[:, layout.future(step - 1) if step else layout.last_past()])
        rows.target[:, layout.future(step)] = patches[step]
        rows.prediction_mask[:, layout.future(step)] = False
    steps = torch.cat(means, dim=-1).transpose(1, 2)[:, :horizon]
    return steps.unflatten(0, (batch, count))


def walked_means(module, inputs, paths, *, rescale):
    """The same by the roll-out, all paths at once."""
    horizon = paths.shape[2]
    walk = _Walk(module, inputs, horizon=horizon, patch_size=SIZE, rescale=rescale)
    padded = functional.pad(paths, (0, 0, 0, walk.patches * SIZE - horizon))
    patches = padded.unflatten(2, (-1, SIZE)).permute(2, 0, 1, 4, 3)
    means = [walk.first().mean[:, None].expand(-1, paths.shape[1], -1, -1)]
    means += [walk.next(patch).mean for patch in patches[:-1]]
    return torch.cat(means, dim=-1).transpose(2, 3)[:, :, :horizon]


@pytest.mark.parametrize("rescale", [True, False], ids=["exact", "cached"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("horizon", [3, 8, 17])
def test_equals_plain_recomputation(module, make_inputs, rescale, kind, horizon):
    """Paths get what recomputing their whole rows gives: exactly, and with the statistics of the context."""
    inputs = make_inputs(*kind, horizon=horizon, gaps=True)
    paths = torch.randn(3, 4, horizon, kind[0], generator=torch.Generator().manual_seed(0)) * 3 + 5
    with torch.inference_mode():
        expected = plain_means(module, inputs, paths, rescale=rescale)
        found = walked_means(module, inputs, paths, rescale=rescale)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
        forced = forced_laws(module, inputs, paths[:, 1], patch_size=SIZE, rescale=rescale)
    torch.testing.assert_close(forced.mean, expected[:, 1], rtol=1e-4, atol=1e-3)


def test_the_two_kinds_differ(module, make_inputs):
    """What a path writes does enter its statistics in the exact roll-out, and does not in the other."""
    inputs = make_inputs(horizon=8)
    far = torch.full((3, 8, 1), 100.0)
    exact, cached = (forced_laws(module, inputs, far, patch_size=SIZE, rescale=rescale) for rescale in (True, False))
    assert torch.equal(cached.scale[:, 0], cached.scale[:, -1])
    assert (exact.scale[:, -1] > 2 * exact.scale[:, 0]).all()
    torch.testing.assert_close(exact.mean[:, :SIZE], cached.mean[:, :SIZE])


def test_passes_of_any_size(module, make_inputs, monkeypatch):
    """Paths are encoded some at a time; how many makes no difference."""
    inputs, seed = make_inputs(2, 1, horizon=12), torch.Generator().manual_seed
    expected = sample_paths(module, inputs, horizon=12, patch_size=SIZE, paths=5, generator=seed(0))
    monkeypatch.setattr(paths_module, "TOKENS_IN_PASS", {True: 50, False: 50})
    found = sample_paths(module, inputs, horizon=12, patch_size=SIZE, paths=5, generator=seed(0))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("rescale", "encoded"), [(True, [(3, 6), (15, 7), (15, 8)]), (False, [(3, 6), (3, 5), (3, 5)])]
)
def test_work(module, make_inputs, rescale, encoded):
    """The context is encoded before there are paths, then the paths up to what they wrote; the cache saves that too."""
    rows, read = [], []
    handles = [
        module.encoder.register_forward_pre_hook(lambda _, given: rows.append(tuple(given[0].shape[:2]))),
        module.param_proj.register_forward_pre_hook(lambda _, given: read.append(tuple(given[0].shape[:2]))),
    ]
    decode(module, make_inputs(horizon=12), horizon=12, patch_size=SIZE, paths=5, rescale=rescale)
    for handle in handles:
        handle.remove()
    assert rows == encoded
    assert read == [(3, 1), (3, 5), (3, 5)]


def test_one_patch_draws_nothing(module, make_inputs):
    """A horizon of one patch is forecast without drawing: quantiles by inversion."""
    inputs, before = make_inputs(2, 1, horizon=3), torch.get_rng_state()
    forecast = decode(module, inputs, horizon=3, patch_size=SIZE)
    assert torch.equal(torch.get_rng_state(), before)
    assert forecast.paths is None
    law = forced_laws(module, inputs, torch.zeros(3, 3, 2), patch_size=SIZE)
    torch.testing.assert_close(forecast.quantile(LEVELS), law.quantile(LEVELS))
    torch.testing.assert_close(forecast.mean, law.mean)


def test_quantiles_of_paths(module, make_inputs):
    """Behind the first patch quantiles and mean are those of the paths."""
    inputs = make_inputs(2, horizon=9)
    forecast = decode(module, inputs, horizon=9, patch_size=SIZE, paths=7, generator=torch.Generator().manual_seed(0))
    assert forecast.paths.shape == (3, 7, 9, 2)
    found = forecast.quantile(LEVELS)
    assert found.shape == (3, 3, 9, 2)
    torch.testing.assert_close(found[:, :, SIZE:], forecast.paths[:, :, SIZE:].quantile(LEVELS, dim=1))
    torch.testing.assert_close(found[:, :, :SIZE], forecast.first.quantile(LEVELS))
    torch.testing.assert_close(forecast.mean[:, SIZE:], forecast.paths[:, :, SIZE:].mean(1))


@pytest.mark.parametrize("rescale", [True, False], ids=["exact", "cached"])
def test_seed(module, make_inputs, rescale):
    """A seed gives its paths again, another seed others, and neither touches the global generator."""
    inputs, before = make_inputs(horizon=9), torch.get_rng_state()
    options = {"horizon": 9, "patch_size": SIZE, "paths": 3, "rescale": rescale}
    first, again, other = (
        sample_paths(module, inputs, **options, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert len({tuple(path) for path in first[0, :, :, 0].tolist()}) == 3


def test_draws_of_one_patch_follow_its_law(module, make_inputs):
    """The paths of one patch are draws of its distribution."""
    inputs = make_inputs(horizon=4)
    drawn = sample_paths(
        module, inputs, horizon=4, patch_size=SIZE, paths=4000, generator=torch.Generator().manual_seed(0)
    )
    law = decode(module, inputs, horizon=4, patch_size=SIZE).first
    below = (drawn <= law.quantile(LEVELS)[:, :, None]).float().mean(2)
    levels = law.cdf(law.quantile(LEVELS))  # at a jump of the distribution function above the level asked for
    assert (below - levels).abs().max() < 5 * (0.25 / 4000) ** 0.5


@pytest.mark.parametrize("rescale", [True, False], ids=["exact", "cached"])
def test_nothing_to_go_by(module, make_inputs, rescale):
    """Series without any value, constant ones and huge ones give finite paths and quantiles."""
    inputs = make_inputs(2, lengths=(24, 24, 24, 24), horizon=12)
    target, observed = inputs.past_target.clone(), inputs.past_observed_target.clone()
    target[0], observed[0] = 0.0, False
    target[1], target[2] = 7.0, 0.0
    target[3] *= 1e30
    strange = replace(inputs, past_target=target, past_observed_target=observed)
    generator = torch.Generator().manual_seed(0)
    forecast = decode(module, strange, horizon=12, patch_size=SIZE, paths=5, rescale=rescale, generator=generator)
    assert forecast.paths.isfinite().all()
    assert forecast.quantile(LEVELS).isfinite().all()


def test_draws_are_held(module):
    """A draw that overflows is held within reach of its scale; one that is undefined stays so."""
    raw = {"weights_logits": torch.zeros(2, 1, 1, 4), "components": [{}, {}, {}, {}]}
    for component, family in zip(raw["components"], module.family.components, strict=True):
        component |= {name: torch.zeros(2, 1, 1, 1) for name in family.args}
    raw["weights_logits"][..., 3] = 1e4  # the log-normal
    raw["components"][3]["loc"][0], raw["components"][3]["loc"][1] = 1e4, float("nan")
    law = module.family.distribution(raw, torch.full((2, 1, 1), 5.0), torch.full((2, 1, 1), 2.0))
    drawn = _draw(law, 3, torch.Generator().manual_seed(0))
    assert (drawn[:, 0] == 2.0 * FARTHEST).all()
    assert drawn[:, 1].isnan().all()


@pytest.mark.parametrize("rescale", [True, False], ids=["exact", "cached"])
@settings(deadline=None, max_examples=5)
@given(st.sampled_from([0.5, 3.0, 100.0]), st.sampled_from([-20.0, 0.0, 40.0]))
def test_scale_and_offset(module, make_inputs, rescale, factor, offset):
    """Scaling and shifting a complete series, and what its path wrote, scales and shifts the laws."""
    inputs = make_inputs(lengths=(24, 24, 24))
    future = torch.linspace(2, 8, 8).expand(3, -1)[..., None]
    moved = replace(inputs, past_target=inputs.past_target * factor + offset)
    law = forced_laws(module, inputs, future, patch_size=SIZE, rescale=rescale)
    other = forced_laws(module, moved, future * factor + offset, patch_size=SIZE, rescale=rescale)
    found = (other.quantile(LEVELS) - offset) / factor
    torch.testing.assert_close(found, law.quantile(LEVELS), rtol=1e-3, atol=1e-2)


@settings(deadline=None, max_examples=4)
@given(st.permutations([0, 1, 2]))
def test_order_of_variates(module, make_inputs, order):
    """Targets in another order give their laws in that order."""
    inputs = make_inputs(3, 1, gaps=True)
    future = torch.randn(3, 8, 3, generator=torch.Generator().manual_seed(0)) * 3 + 5
    turned = replace(
        inputs,
        past_target=inputs.past_target[..., order],
        past_observed_target=inputs.past_observed_target[..., order],
    )
    for rescale in (True, False):
        law = forced_laws(module, inputs, future, patch_size=SIZE, rescale=rescale)
        other = forced_laws(module, turned, future[..., order], patch_size=SIZE, rescale=rescale)
        torch.testing.assert_close(other.mean, law.mean[..., order], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("rescale", [True, False], ids=["exact", "cached"])
def test_left_padding(module, make_inputs, rescale):
    """Whole patches of padding on the left change nothing."""
    inputs, future = make_inputs(context=12), torch.full((3, 8, 1), 4.0)
    padded = replace(
        inputs,
        past_target=functional.pad(inputs.past_target, (0, 0, 8, 0)),
        past_observed_target=functional.pad(inputs.past_observed_target, (0, 0, 8, 0)),
        past_is_pad=functional.pad(inputs.past_is_pad, (8, 0), value=True),
    )
    law, other = (forced_laws(module, x, future, patch_size=SIZE, rescale=rescale) for x in (inputs, padded))
    torch.testing.assert_close(other.mean, law.mean, rtol=1e-3, atol=1e-3)


def test_refusals(module, make_inputs):
    """A patch size that the model lacks, and no paths, are refused."""
    with pytest.raises(ConfigError, match=r"patch_size 5 is none of the model's: \(4, 6, 9\)"):
        decode(module, make_inputs(), horizon=8, patch_size=5)
    with pytest.raises(ConfigError, match="paths must be at least 1, not 0"):
        decode(module, make_inputs(), horizon=8, patch_size=SIZE, paths=0)
