"""Forecasts of Moirai 1.x: what they depend on, what they compute, and the choice of patch sizes."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from moirai.errors import ConfigError
from moirai.forecasting.masked_decoding import (
    choose_patch_sizes,
    decode,
    decode_auto,
    decode_chosen,
    latest,
    likeliest,
    score_patch_sizes,
    scored_tokens,
    zero_filled,
)
from moirai.losses import packed_nll_per_row
from moirai.tokens import forecast_tokens, token_layout

LEVELS = torch.tensor([0.1, 0.5, 0.9])
HORIZON = 8


@pytest.fixture(scope="module")
def module(make_distribution_module):
    """A tiny module with patches of 4, 6 and 9."""
    return make_distribution_module("moirai")


def quantiles(module, inputs, size, horizon=HORIZON):
    """Quantiles of every step: `[batch, quantile, horizon, target]`."""
    return decode(module, inputs, horizon=horizon, patch_size=size).quantile(LEVELS).transpose(0, 1)


def assert_near(actual, expected, size=3.0):
    """Equal up to float32, for values of a standard deviation of `size`."""
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=2e-3 * size)


@pytest.mark.parametrize("variates", [(1, 0, 0), (3, 2, 1)])
@pytest.mark.parametrize("size", [4, 9])
def test_equals_the_whole_output(module, make_inputs, variates, size):
    """Projecting only the window, and only inside the patch, gives what a size per token and all tokens give."""
    inputs, targets = make_inputs(*variates, gaps=True), variates[0]
    layout = token_layout(inputs, horizon=HORIZON, patch_size=size)
    tokens = forecast_tokens(inputs, horizon=HORIZON, patch_size=size)
    wide = [functional.pad(x, (0, 9 - size)) for x in (tokens.target, tokens.observed_mask)]
    with torch.no_grad():
        law = module(tokens.replace(target=wide[0], observed_mask=wide[1]), torch.full_like(tokens.time_id, size))
    places = torch.tensor(
        [[layout.future(step)[target] for step in range(layout.future_tokens)] for target in range(targets)]
    )
    expected = law.mean[:, places, :size].flatten(2, 3).transpose(1, 2)[:, :HORIZON]
    found = decode(module, inputs, horizon=HORIZON, patch_size=size)
    assert found.batch_shape == (3, HORIZON, targets)
    assert_near(found.mean, expected)


def test_work(module, make_inputs):
    """The head sees the tokens of the window only, and so do feed-forward and norm of the last layer."""
    seen = {}
    watched = {"head": module.param_proj, "first": module.encoder.layers[0].ffn, "last": module.encoder.layers[-1].ffn}
    handles = [
        part.register_forward_pre_hook(lambda _, given, name=name: seen.update({name: given[0].shape[1]}))
        for name, part in watched.items()
    ]
    decode(module, make_inputs(2, 1), horizon=HORIZON, patch_size=4)
    for handle in handles:
        handle.remove()
    assert seen == {"head": 2 * 2, "first": 3 * (6 + 2), "last": 2 * 2}


@settings(deadline=None, max_examples=8)
@given(st.sampled_from([0.5, 3.0, 100.0]), st.sampled_from([-20.0, 0.0, 40.0]), st.sampled_from([4, 6]))
def test_scale_and_offset(module, make_inputs, factor, offset, size):
    """Scaling and shifting a complete series of whole patches scales and shifts its quantiles.

    What fills an incomplete patch is 0 before and after, so that a shift is seen there.
    """
    inputs = make_inputs(lengths=(24, 24, 24))
    moved = replace(inputs, past_target=inputs.past_target * factor + offset)
    expected = quantiles(module, inputs, size)
    assert_near((quantiles(module, moved, size) - offset) / factor, expected)


@settings(deadline=None, max_examples=6)
@given(st.permutations([0, 1, 2]), st.permutations([0, 1]))
def test_order_of_variates(module, make_inputs, targets, known):
    """Targets in another order give their forecasts in that order; the order of features does not matter."""
    inputs = make_inputs(3, 2, 1, gaps=True)
    turned = replace(
        inputs,
        past_target=inputs.past_target[..., targets],
        past_observed_target=inputs.past_observed_target[..., targets],
        feat_dynamic_real=inputs.feat_dynamic_real[..., known],
        observed_feat_dynamic_real=inputs.observed_feat_dynamic_real[..., known],
    )
    assert_near(quantiles(module, turned, 6), quantiles(module, inputs, 6)[..., targets])


@pytest.mark.parametrize("variates", [(1, 0, 0), (2, 1, 1)])
@pytest.mark.parametrize("context", [36, 72])
def test_left_padding(module, make_inputs, variates, context):
    """Whole patches of padding on the left change nothing, of complete and of short series."""
    inputs = make_inputs(*variates, context=12)
    pad = (0, 0, context - 12, 0)
    fields = {name: x for name, x in vars(inputs).items() if x is not None}
    padded = {name: functional.pad(x, pad) for name, x in fields.items() if x.dim() == 3}
    padded["past_is_pad"] = functional.pad(inputs.past_is_pad, pad[2:], value=True)
    assert_near(quantiles(module, replace(inputs, **padded), 6), quantiles(module, inputs, 6))


@pytest.mark.parametrize("size", [4, 9])
def test_nothing_to_go_by(module, make_inputs, size):
    """Series without any value, constant ones and huge ones give finite quantiles, not even wide ones."""
    inputs = make_inputs(2, lengths=(24, 24, 24, 24))
    target, observed = inputs.past_target.clone(), inputs.past_observed_target.clone()
    target[0], observed[0] = 0.0, False
    target[1], target[2] = 7.0, 0.0
    target[3] *= 1e30
    strange = replace(inputs, past_target=target, past_observed_target=observed)
    found = quantiles(module, strange, size)
    assert found.isfinite().all()
    assert (found[1] - 7).abs().max() < 1
    assert found[2].abs().max() < 1


def test_zero_filled(make_inputs):
    """A missing value of a single target is 0 for Moirai 1.x, where other families take the mean before it."""
    inputs = make_inputs(gaps=True)
    missing = ~inputs.past_observed_target & ~inputs.past_is_pad[..., None]
    assert (inputs.past_target[missing] != 0).any()
    filled = zero_filled(inputs).past_target
    assert (filled[missing] == 0).all()
    assert torch.equal(filled[inputs.past_observed_target], inputs.past_target[inputs.past_observed_target])


def test_inputs_are_left_alone(module, make_inputs):
    """Neither forecast nor choice writes into what it was given."""
    inputs = make_inputs(2, 1, 1, context=32)
    before = {name: value.clone() for name, value in vars(inputs).items()}
    decode_auto(module, inputs, context=24, horizon=HORIZON)
    assert all(torch.equal(getattr(inputs, name), value) for name, value in before.items())


def test_score_is_the_likelihood_of_the_known_steps(module, make_inputs):
    """The score is the likelihood of the last steps, given the ones before, over all tokens."""
    inputs = make_inputs(2, 1, 1, context=32, lengths=(40, 32, 5), gaps=True)
    scores = score_patch_sizes(module, inputs, context=24, horizon=HORIZON)
    for size, score in zip(module.config.patch_sizes, scores, strict=True):
        tokens, _ = scored_tokens(inputs, context=24, patch_size=size)
        with torch.no_grad():
            expected = packed_nll_per_row(module(tokens, size), tokens)
        torch.testing.assert_close(score, expected, rtol=1e-3, atol=1e-3)
        given = torch.where(inputs.past_observed_target, inputs.past_target, 0.0)[:, 24:].sum()
        counted = tokens.observed_mask & tokens.prediction_mask[..., None]
        torch.testing.assert_close(torch.where(counted, tokens.target, 0.0).sum(), given)


def test_short_series_are_padding_in_the_scored_window(module, make_inputs):
    """Patches before a series' first step are padding, also behind the context."""
    inputs = make_inputs(1, 1, context=32, lengths=(40, 3))
    tokens, window = scored_tokens(inputs, context=24, patch_size=4)
    assert tokens.sample_id[:, window].tolist() == [[1, 1], [0, 1]]
    assert score_patch_sizes(module, inputs, context=24, horizon=HORIZON).isfinite().all()


def test_choice():
    """The likeliest size wins, the first of equal ones, and one that is not a number beats all."""
    scores = torch.tensor([[2.0, 1.0, 0.0, 5.0], [1.0, 1.0, float("nan"), -torch.inf], [3.0, 1.0, -9.0, 2.0]])
    assert likeliest(scores, (4, 6, 9)).tolist() == [6, 4, 6, 6]


def test_first_size_without_observations(module, make_inputs):
    """Where the last steps are all missing, every score is 0 and the first size is taken."""
    inputs = make_inputs(context=32, lengths=(40, 40))
    observed = inputs.past_observed_target.clone()
    observed[0, 24:] = False
    scores = score_patch_sizes(module, replace(inputs, past_observed_target=observed), context=24, horizon=HORIZON)
    assert scores[:, 0].tolist() == [0, 0, 0]
    chosen = choose_patch_sizes(module, replace(inputs, past_observed_target=observed), context=24, horizon=HORIZON)
    assert chosen[0] == 4


def test_each_series_once(module, make_inputs):
    """Series are grouped by size and forecast once; each gets what it gets alone, in the order given."""
    inputs, rows = make_inputs(2, 1, 1, lengths=(30, 24, 9, 20)), []
    sizes = torch.tensor([9, 4, 9, 6])
    handle = module.param_proj.register_forward_pre_hook(lambda _, given: rows.append(given[0].shape[0]))
    found = decode_chosen(module, inputs, horizon=HORIZON, patch_sizes=sizes).quantile(LEVELS)
    handle.remove()
    assert rows == [1, 1, 2]
    for row, size in enumerate(sizes.tolist()):
        alone = quantiles(module, inputs, size)[row]
        assert_near(found[:, row], alone)


def test_auto_forecasts_from_the_latest_steps(module, make_inputs):
    """The steps before the context serve the choice only."""
    inputs = make_inputs(1, 1, context=32, lengths=(40, 40, 40))
    chosen = choose_patch_sizes(module, inputs, context=24, horizon=HORIZON)
    found = decode_auto(module, inputs, context=24, horizon=HORIZON).mean
    expected = decode_chosen(module, latest(inputs, 24, horizon=HORIZON), horizon=HORIZON, patch_sizes=chosen).mean
    torch.testing.assert_close(found, expected)
    assert latest(inputs, 24, horizon=HORIZON).past_target.equal(inputs.past_target[:, 8:])
    assert latest(inputs, 24, horizon=HORIZON).feat_dynamic_real.shape[1] == 24 + HORIZON


def test_refusals(module, make_inputs):
    """A size that the model lacks, and a window of another length than the choice needs, are refused."""
    with pytest.raises(ConfigError, match=r"patch_size 5 is none of the model's: \(4, 6, 9\)"):
        decode(module, make_inputs(), horizon=HORIZON, patch_size=5)
    with pytest.raises(ConfigError, match=r"24 \+ 8 past steps, there are 24"):
        choose_patch_sizes(module, make_inputs(), context=24, horizon=HORIZON)
