"""Mixtures: supports, quantiles without sampling, samples, moments, data units."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moirai.distributions.log_normal import LogNormal
from moirai.distributions.mixture import Mixture
from moirai.distributions.negative_binomial import NegativeBinomial
from moirai.distributions.normal import Normal
from moirai.distributions.pareto import Pareto
from moirai.errors import ConfigError

LEVELS = torch.tensor([1e-4, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1 - 1e-4], dtype=torch.float64)


def one(*numbers):
    """Parameters of a batch of one."""
    return tuple(torch.tensor([number], dtype=torch.float64) for number in numbers)


def mixture(weights, *laws):
    """A mixture with these weights, batch of one."""
    return Mixture(torch.tensor([weights], dtype=torch.float64).log(), laws)


def assert_quantiles(law, levels):
    """Just above a quantile the level is reached, just below it is not passed."""
    quantiles = law.quantile(levels)
    margin = 2e-8 * (1 + quantiles**2).sqrt()
    level = levels.reshape(-1, *[1] * (quantiles.dim() - 1))
    assert quantiles.isfinite().all()
    assert (law.cdf(quantiles + margin) >= level - 1e-10).all()
    assert (law.cdf(quantiles - margin) <= level + 1e-10).all()


def test_impossible_component_adds_nothing():
    """Outside the support of a component its density counts 0."""
    law = mixture([0.25, 0.75], Normal(*one(0.0, 1.0)), LogNormal(*one(0.0, 1.0)))
    expected = math.log(0.25) + law.components[0].log_prob(torch.tensor([-1.0]).double())
    assert law.log_prob(torch.tensor([-1.0]).double()).item() == pytest.approx(expected.item())


def test_impossible_for_all():
    """Outside every support the density is 0, and gradients are 0, not NaN."""
    leaves = [torch.zeros(1, requires_grad=True) for _ in range(4)]
    logits = torch.zeros(1, 2, requires_grad=True)
    law = Mixture(logits, (LogNormal(leaves[0], leaves[1].exp()), Pareto(leaves[2].exp(), leaves[3].exp())))
    log_prob = law.log_prob(torch.tensor([-3.0]))
    torch.where(log_prob.isfinite(), log_prob, 0.0).sum().backward()
    assert log_prob.item() == -math.inf
    assert all(leaf.grad.abs().sum() == 0 for leaf in (*leaves, logits))


def test_impossible_component_gets_no_gradient():
    """A component that cannot explain the value learns nothing from it."""
    loc = torch.zeros(1, requires_grad=True)
    law = Mixture(torch.zeros(1, 2), (Normal(torch.zeros(1), torch.ones(1)), LogNormal(loc, torch.ones(1))))
    law.log_prob(torch.tensor([-1.0])).sum().backward()
    assert loc.grad.item() == 0


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0, 10.0])
def test_quantiles_invert_the_distribution_function(make_law, spread):
    """Narrow or wild, with steps at whole numbers and nearly vertical parts, quantiles are exact."""
    assert_quantiles(make_law("standard", 300, spread=spread).map(torch.Tensor.double), LEVELS)


@settings(deadline=None, max_examples=60)
@given(
    weights=st.lists(st.floats(1e-3, 1), min_size=3, max_size=3),
    locs=st.lists(st.floats(-5, 5), min_size=2, max_size=2),
    scale=st.floats(1e-4, 5),
    count=st.floats(0.01, 50),
    logits=st.floats(-5, 5),
)
def test_quantiles_of_any_mixture(weights, locs, scale, count, logits):
    """Counts, a normal of any width and a log-normal, mixed with any weights."""
    total = sum(weights)
    laws = (Normal(*one(locs[0], scale)), NegativeBinomial(*one(count, logits)), LogNormal(*one(locs[1], 1.0)))
    assert_quantiles(mixture([weight / total for weight in weights], *laws), LEVELS)


def test_quantile_on_a_count():
    """Where a count carries the level, the quantile is that whole number exactly."""
    law = mixture([0.1, 0.9], Normal(*one(0.5, 0.1)), NegativeBinomial(*one(1.0, 0.0)))  # P(0) = 1/2
    assert law.quantile(torch.tensor([0.3]).double()).item() == 0
    assert law.quantile(torch.tensor([0.7]).double()).item() == 1


def test_quantile_between_counts():
    """Where the level falls between the jumps, the smooth part carries it."""
    law = mixture([0.5, 0.5], Normal(*one(0.5, 0.01)), NegativeBinomial(*one(1.0, 0.0)))
    assert law.quantile(torch.tensor([0.5]).double()).item() == pytest.approx(0.5)


def test_quantile_in_a_gap():
    """Between two far components the distribution function is flat; the quantile is a finite value of the gap."""
    law = mixture([0.5, 0.5], Normal(*one(-100.0, 1.0)), Normal(*one(100.0, 1.0)))
    assert -100 < law.quantile(torch.tensor([0.5]).double()).item() < 100


def test_quantiles_repeat_and_rise(make_law):
    """The same call gives the same numbers, and higher levels no lower values."""
    law = make_law("standard", 500)
    first, second = (law.quantile(torch.arange(1, 100) / 100) for _ in range(2))
    assert first.shape == (99, 500)
    assert torch.equal(first, second)
    assert (first.diff(dim=0) >= -1e-6).all()


def test_quantiles_do_not_depend_on_neighbours(make_law):
    """A law has the same quantiles alone and in a batch."""
    law = make_law("standard", 50)
    levels = torch.tensor([0.1, 0.5, 0.9])
    alone = law.take(torch.tensor([17])).quantile(levels)
    assert torch.allclose(law.quantile(levels)[:, 17:18], alone, rtol=0, atol=1e-7)


@pytest.mark.parametrize("place", [(0, "df"), (0, "loc"), (2, "total_count"), (2, "logits"), (3, "scale")])
def test_undefined_parameters(make_law, place):
    """A NaN among the parameters makes that law's quantiles NaN, ends, and leaves its neighbours alone."""
    law, levels = make_law("standard", 3), torch.tensor([0.1, 0.9])
    expected = law.quantile(levels)
    component, name = place
    getattr(law.components[component], name)[1] = float("nan")
    quantiles = law.quantile(levels)
    assert quantiles[:, 1].isnan().all()
    assert torch.allclose(quantiles[:, [0, 2]], expected[:, [0, 2]], rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", [(), (0, 3)])
def test_batches_without_axes_or_members(family_named, shape):
    """A single law without batch axes and an empty batch work."""
    raw = {name: torch.zeros(*shape, 1) for name in ("df", "loc", "scale")}
    law = family_named("StudentTOutput").distribution(raw)
    assert law.quantile(torch.tensor([0.1, 0.5])).shape == (2, *shape)
    assert law.sample(3).shape == (3, *shape)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, float("nan")])
def test_impossible_level(make_law, level):
    """Levels at or beyond the ends are refused."""
    with pytest.raises(ConfigError, match="inside"):
        make_law("standard", 1).quantile(torch.tensor([0.5, level]))


def test_samples_follow_the_distribution_function(make_law):
    """The share of samples at or below a value is its probability."""
    law = make_law("standard", 40)
    samples = law.sample(20_000, torch.Generator().manual_seed(1))
    points = torch.tensor([-2.987, -0.987, 0.013, 1.013, 3.013])[:, None].expand(-1, 40)
    share = (samples[None] <= points[:, None]).double().mean(1)
    expected = law.cdf(points).double()
    allowed = 5 * (expected * (1 - expected) / 20_000).sqrt() + 1e-3
    assert ((share - expected).abs() <= allowed).double().mean() >= 0.995


def test_moments_agree_with_samples():
    """Mean and variance are those of many samples."""
    law = mixture([0.3, 0.7], Normal(*one(-2.0, 0.5)), NegativeBinomial(*one(3.0, 0.2)))
    samples = law.sample(200_000, torch.Generator().manual_seed(0))
    assert samples.mean().item() == pytest.approx(law.mean.item(), abs=0.03)
    assert samples.var().item() == pytest.approx(law.variance.item(), rel=0.03)


def test_component_without_weight_does_not_count():
    """An infinite mean that never happens does not spoil the mean."""
    law = Mixture(torch.tensor([[0.0, -1e4]]), (Normal(*one(1.0, 1.0)), LogNormal(*one(800.0, 1.0))))
    assert law.mean.item() == 1
    assert law.variance.item() == 1


def test_data_units(family_named):
    """In data units quantiles, samples and moments are moved and stretched, densities pay the scale."""
    family = family_named("standard")
    generator = torch.Generator().manual_seed(0)
    raw = {
        "weights_logits": torch.randn(2, 3, 5, 4, generator=generator),
        "components": [
            {name: torch.randn(2, 3, 5, 1, generator=generator) for name in args} for args in family.args["components"]
        ],
    }
    loc, scale = torch.full((2, 3, 1), 100.0), torch.full((2, 3, 1), 8.0)
    scaled, law = family.distribution(raw), family.distribution(raw, loc, scale)
    levels, value = torch.tensor([0.1, 0.9]), torch.randn(2, 3, 5, generator=generator)
    assert torch.equal(law.quantile(levels), scaled.quantile(levels) * 8 + 100)
    assert torch.allclose(law.log_prob(value * 8 + 100), scaled.log_prob(value) - math.log(8), atol=1e-2)
    assert torch.allclose(law.mean, scaled.mean * 8 + 100)
    assert torch.allclose(law.variance, scaled.variance * 64)
    draws = [one.sample(4, torch.Generator().manual_seed(3)) for one in (law, scaled)]
    assert torch.equal(draws[0], draws[1] * 8 + 100)
    assert law.take(torch.tensor([7])).mean.item() == law.mean.flatten()[7].item()


def test_half_precision_is_widened(family_named):
    """Raw arguments of a network in bfloat16 make a law in float32."""
    raw = {name: torch.zeros(3, 1, dtype=torch.bfloat16) for name in ("df", "loc", "scale")}
    assert family_named("StudentTOutput").distribution(raw).mean.dtype == torch.float32
