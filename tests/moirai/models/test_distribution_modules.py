"""Moirai 1.x and Moirai-MoE as functions of packed tokens: sizes, packing, masks, patch sizes."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moirai.config import MoiraiConfig, MoiraiMoEConfig
from moirai.errors import ConfigError
from moirai.models.moirai1 import MoiraiModule
from moirai.models.moirai_moe import MoiraiMoEModule
from moirai.tokens import PackedTokens

FAMILIES = ("moirai", "moirai_moe")
SINGLE = {"_target_": "uni2ts.distribution.student_t.StudentTOutput"}
OTHER_MIXTURE = {
    "_target_": "uni2ts.distribution.mixture.MixtureOutput",
    "components": [
        {"_target_": "uni2ts.distribution.normal.NormalOutput"},
        {"_target_": "uni2ts.distribution.laplace.LaplaceFixedScaleOutput", "scale": 0.2},
    ],
}


@pytest.fixture(params=FAMILIES, scope="module")
def module(request, make_distribution_module):
    """A tiny module of each family, with patches of 4, 6 and 9."""
    return make_distribution_module(request.param)


def encode(module, tokens, patch_size):
    """Encoded tokens, without a graph."""
    with torch.no_grad():
        return module.encode(tokens, patch_size, module.scaling(tokens))


def density(module, tokens, patch_size, **options):
    """Log density of the tokens' own values, without a graph."""
    with torch.no_grad():
        return module(tokens, patch_size, **options).log_prob(tokens.target)


def widened(tokens, width):
    """The tokens with a wider patch axis: nothing is observed there."""
    extra = (0, width - tokens.target.shape[-1])
    pad = torch.nn.functional.pad
    return tokens.replace(target=pad(tokens.target, extra), observed_mask=pad(tokens.observed_mask, extra))


def sized(tokens, size):
    """A patch size for every token; padding has none."""
    return (tokens.sample_id > 0).long() * size


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "sizes",
    [
        {"d_model": 128},
        {"d_model": 192, "num_layers": 1},
        {"patch_sizes": (5,)},
        {"patch_sizes": (500, 5, 37)},
        {"patch_sizes": (8, 16, 32, 64, 128)},
        {"distr_output": SINGLE},
        {"distr_output": OTHER_MIXTURE, "patch_sizes": (5, 12)},
        {"scaling": False},
    ],
    ids=str,
)
def test_any_size(make_distribution_module, make_sample, family, sizes):
    """Any width, number of heads, depth, list of patch sizes and distribution gives a density of every value."""
    module = make_distribution_module(family, **sizes)
    for size in module.config.patch_sizes:
        sample = make_sample(0, patch=size)
        law = module(sample, size)
        assert law.batch_shape == (1, 10, size)
        assert law.log_prob(sample.target).isfinite().all()


@pytest.mark.parametrize("size", [4, 6, 9])
def test_one_patch_size_equals_the_general_path(module, make_sample, pack, size):
    """One size for all tokens gives what sizes per token give, on values as wide as the patch or wider."""
    tokens = pack(make_sample(1, patch=size), make_sample(2, patch=size), padding=2)
    wide, valid = widened(tokens, 9), (tokens.sample_id > 0)[0]
    expected = density(module, wide, sized(tokens, size))[:, valid, :size]
    torch.testing.assert_close(density(module, tokens, size)[:, valid], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(encode(module, wide, size), encode(module, tokens, size), rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=10)
@given(st.permutations([0, 1, 2]), st.integers(0, 4))
def test_packing(module, make_sample, pack, order, padding):
    """A sample does not depend on its neighbours, their patch sizes, their order, or padding behind them."""
    sizes = (4, 9, 6)
    samples = [make_sample(i, tokens=3 + i, variates=1 + i % 2, patch=sizes[i]) for i in range(3)]
    alone = [encode(module, sample, size) for sample, size in zip(samples, sizes, strict=True)]
    tokens = pack(*(widened(samples[i], 9) for i in order), padding=padding)
    patch_size = torch.cat([*(sized(samples[i], sizes[i]) for i in order), torch.zeros(1, padding).long()], dim=1)
    packed = encode(module, tokens, patch_size)
    expected = torch.cat([alone[i] for i in order], dim=1)
    torch.testing.assert_close(packed[:, : expected.shape[1]], expected, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=10)
@given(st.permutations(range(10)))
def test_order_of_tokens(module, make_sample, order):
    """Ids say where a token stands: its place in the row does not matter, to experts neither."""
    sample = make_sample(1)
    shuffled = encode(module, sample.select(torch.as_tensor(order)), 4)
    torch.testing.assert_close(shuffled, encode(module, sample, 4)[:, order], rtol=1e-4, atol=1e-4)


def test_rows_do_not_mix(module, make_sample):
    """A batch of rows gives each row what it gets alone."""
    rows = [make_sample(seed) for seed in range(3)]
    batch = PackedTokens(**{f.name: torch.cat([getattr(r, f.name) for r in rows]) for f in fields(PackedTokens)})
    expected = torch.cat([encode(module, row, 4) for row in rows])
    torch.testing.assert_close(encode(module, batch, 4), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("general", [False, True])
def test_positions(module, make_sample, general):
    """The distribution of some tokens is that of all tokens, cut."""
    sample, positions = make_sample(3, patch=9), torch.tensor([4, 9, 0])
    patch_size = sized(sample, 9) if general else 9
    with torch.no_grad():
        some, every = module(sample, patch_size, positions=positions), module(sample, patch_size)
    assert some.batch_shape == (1, 3, 9)
    values = sample.target[:, positions]
    torch.testing.assert_close(some.log_prob(values), every.log_prob(sample.target)[:, positions])
    torch.testing.assert_close(some.mean, every.mean[:, positions])


@pytest.mark.parametrize("changed", [2, 4])
def test_what_a_token_sees(module, make_sample, changed):
    """With given statistics, Moirai 1.x sees all values but the predicted ones; Moirai-MoE those up to its time."""
    sample = make_sample(4)
    scaling, at = module.scaling(sample), sample.time_id == changed
    target = torch.where(at[..., None], sample.target + 1, sample.target)
    with torch.no_grad():
        before, after = (module.encode(s, 4, scaling) for s in (sample, sample.replace(target=target)))
    moved = (before - after).abs().amax(-1) > 1e-5
    if isinstance(module, MoiraiMoEModule):
        assert torch.equal(moved, sample.time_id >= changed)
    else:
        assert bool(moved.all()) == (not bool(sample.prediction_mask[at].any()))
        assert bool(moved.any()) == bool(moved.all())


def test_statistics_leave_the_prediction_out(module, make_sample):
    """Values to be predicted, and missing ones, do not enter location and scale."""
    sample = make_sample(5)
    hidden = sample.prediction_mask[..., None] | ~sample.observed_mask
    changed = module.scaling(sample.replace(target=torch.where(hidden, 1e6, sample.target)))
    expected = module.scaling(sample)
    assert torch.equal(changed.loc, expected.loc)
    assert torch.equal(changed.scale, expected.scale)


@pytest.mark.parametrize(("factor", "offset"), [(8.0, 0.0), (0.25, 0.0), (1.0, 64.0)])
def test_scale_and_offset(module, make_sample, factor, offset):
    """The mean moves with the series: the network itself only sees standardised values."""
    sample = make_sample(3)
    moved = sample.replace(target=sample.target * factor + offset)
    torch.testing.assert_close(encode(module, moved, 4), encode(module, sample, 4), rtol=1e-2, atol=1e-2)
    with torch.no_grad():
        expected = module(sample, 4).mean * factor + offset
        torch.testing.assert_close(module(moved, 4).mean, expected, rtol=2e-3, atol=2e-3 * (factor + abs(offset) / 10))


def test_gradients_reach_every_parameter(module, make_sample, pack):
    """Every parameter but those of experts that no token visits gets a gradient."""
    tokens = pack(*(widened(make_sample(i, patch=size), 9) for i, size in enumerate((4, 6, 9))))
    patch_size = torch.tensor([[4] * 10 + [6] * 10 + [9] * 10])
    module.zero_grad()
    raw = module.head(module.encode(tokens, patch_size, module.scaling(tokens)), patch_size)
    components = [x for component in raw["components"] for x in component.values()]
    sum(x.sum() for x in (raw["weights_logits"], *components)).backward()  # densities would underflow
    unused = {name for name, p in module.named_parameters() if p.grad is None or p.grad.abs().sum() == 0}
    assert all(".experts." in name for name in unused)
    module.zero_grad()


@pytest.mark.parametrize(
    "module_from_scratch",
    [
        lambda: MoiraiModule(MoiraiConfig(d_model=64, num_layers=2)),
        lambda: MoiraiMoEModule(MoiraiMoEConfig(d_model=64, num_layers=2, d_ff=16)),
    ],
    ids=FAMILIES,
)
def test_from_scratch(module_from_scratch, make_sample):
    """A new module can be used and trained at once: densities and their gradients are finite."""
    module = module_from_scratch()
    size = module.config.patch_sizes[0]
    sample = make_sample(6, patch=size)
    likelihood = module(sample, size).log_prob(sample.target)
    assert likelihood.isfinite().all()
    likelihood.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def test_unknown_patch_size(module, make_sample):
    """A patch size that the model was not made for is refused, naming those it was made for."""
    with pytest.raises(ConfigError, match=r"patch_size 5 is none of the model's: \(4, 6, 9\)"):
        module(make_sample(0, patch=5), 5)


@pytest.mark.parametrize("general", [False, True])
def test_half_precision(module, make_sample, general):
    """In automatic bfloat16 densities stay finite, and tokens near those of float32; a few may be routed otherwise."""
    sample = make_sample(8, patch=9)
    patch_size = sized(sample, 9) if general else 9
    expected = encode(module, sample, patch_size)
    with torch.autocast("cpu", torch.bfloat16):
        nearly = encode(module, sample, patch_size).float()
        likelihood = density(module, sample, patch_size)
    assert likelihood.isfinite().all()
    assert likelihood.dtype == torch.float32
    assert (nearly - expected).square().mean(-1).median() < 0.01
