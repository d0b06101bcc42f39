"""Moirai 2.0 as a function of packed tokens: sizes, packing, permutation, scaling, causality."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moirai.tokens import PackedTokens


def run(module, tokens):
    """The module's predictions, without a graph."""
    with torch.no_grad():
        return module(tokens)


def reorder(tokens, order):
    """The tokens of a row in another order."""
    return tokens.select(torch.as_tensor(order))


@pytest.mark.parametrize(
    "sizes",
    [
        {"d_model": 128},
        {"num_layers": 1},
        {"patch_size": 1},
        {"patch_size": 7},
        {"num_predict_token": 1},
        {"num_predict_token": 5},
        {"quantile_levels": (0.5,)},
        {"quantile_levels": (0.01, 0.3, 0.99)},
        {"scaling": False},
    ],
    ids=str,
)
def test_any_size(make_module, make_sample, sizes):
    """Any width, depth, patch size, number of predicted tokens and set of levels gives its own shape, finite."""
    module = make_module(**sizes)
    config = module.config
    predicted = run(module, make_sample(0, patch=config.patch_size))
    assert predicted.shape == (1, 10, config.num_predict_token, config.num_quantiles, config.patch_size)
    assert predicted.isfinite().all()


@settings(deadline=None, max_examples=15)
@given(st.permutations([0, 1, 2]), st.integers(0, 4))
def test_packing(tiny, make_sample, pack, order, padding):
    """A sample's predictions do not depend on its neighbours in the row, their order or padding behind them."""
    samples = [make_sample(seed, tokens=3 + seed, variates=1 + seed % 2) for seed in range(3)]
    alone = [run(tiny, sample) for sample in samples]
    packed = run(tiny, pack(*(samples[i] for i in order), padding=padding))
    expected = torch.cat([alone[i] for i in order], dim=1)
    torch.testing.assert_close(packed[:, : expected.shape[1]], expected, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(10)))
def test_order_of_tokens(tiny, make_sample, order):
    """Ids say where a token stands: its place in the row does not matter."""
    sample = make_sample(1)
    shuffled = run(tiny, reorder(sample, order))
    torch.testing.assert_close(shuffled, run(tiny, sample)[:, order], rtol=1e-4, atol=1e-4)


def test_names_of_variates(tiny, make_sample):
    """Only whether two tokens share a variate counts, not how the variates are numbered."""
    sample = make_sample(2, variates=3)
    renamed = sample.replace(variate_id=torch.tensor([11, 0, 4])[sample.variate_id])
    torch.testing.assert_close(run(tiny, renamed), run(tiny, sample), rtol=1e-4, atol=1e-4)


def test_rows_do_not_mix(tiny, make_sample):
    """A batch of rows gives each row what it gets alone."""
    rows = [make_sample(seed) for seed in range(3)]
    batch = PackedTokens(**{f.name: torch.cat([getattr(r, f.name) for r in rows]) for f in fields(PackedTokens)})
    expected = torch.cat([run(tiny, row) for row in rows])
    torch.testing.assert_close(run(tiny, batch), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("factor", "offset"), [(8.0, 0.0), (0.25, 0.0), (1.0, 64.0), (4.0, -1024.0), (-1.0, 0.0)])
def test_scale_and_offset(tiny, make_sample, factor, offset):
    """Predictions move with the series: the network itself only sees standardised values."""
    sample = make_sample(3)
    moved = sample.replace(target=sample.target * factor + offset)
    scaled, reference = (tiny.encode_scaled(s, tiny.scaling(s)) for s in (moved, sample))
    if factor > 0:
        torch.testing.assert_close(scaled, reference, rtol=1e-2, atol=1e-2)
        expected = run(tiny, sample) * factor + offset
        torch.testing.assert_close(run(tiny, moved), expected, rtol=2e-3, atol=2e-3 * (factor + abs(offset) / 10))
    else:
        assert not torch.allclose(scaled, reference, atol=0.1)


@pytest.mark.parametrize("changed", [3, 4])
def test_causality(tiny, make_sample, changed):
    """With given statistics, no token sees a later patch; every later one does see it."""
    sample = make_sample(4, variates=2)
    scaling = tiny.scaling(sample)
    later = sample.time_id >= changed
    target = torch.where((sample.time_id == changed)[..., None], sample.target + 1, sample.target)
    with torch.no_grad():
        before, after = (tiny.encode_scaled(s, scaling) for s in (sample, sample.replace(target=target)))
    assert torch.equal(before[~later], after[~later])
    assert (before[later] - after[later]).abs().amax(-1).min() > 1e-4


def test_statistics_leave_the_prediction_out(tiny, make_sample):
    """Values to be predicted, and missing ones, do not enter location and scale."""
    sample = make_sample(5)
    hidden = sample.prediction_mask[..., None] | ~sample.observed_mask
    changed = tiny.scaling(sample.replace(target=torch.where(hidden, 1e6, sample.target)))
    expected = tiny.scaling(sample)
    assert torch.equal(changed.loc, expected.loc)
    assert torch.equal(changed.scale, expected.scale)


def test_without_scaling(make_module, make_sample):
    """A model without scaling works on values as they are."""
    scaling = make_module(scaling=False).scaling(make_sample(6))
    assert (scaling.loc == 0).all()
    assert (scaling.scale == 1).all()


def test_gradients_reach_every_parameter(make_module, make_sample):
    """Every parameter is used: with several variates all of them get a gradient."""
    module = make_module()
    module(make_sample(7)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
