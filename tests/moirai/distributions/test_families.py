"""Single families against scipy, and their gradients at the edges."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from moirai.distributions.laplace import Laplace
from moirai.distributions.log_normal import LogNormal
from moirai.distributions.negative_binomial import NegativeBinomial
from moirai.distributions.normal import Normal
from moirai.distributions.pareto import Pareto
from moirai.distributions.student_t import StudentT

EXTREME = torch.tensor([-200.0, -104.0, -30.0, 0.0, 30.0, 90.0, 200.0, 1e4])


def scipy_law(law):
    """The same law in scipy."""
    p = [parameter.double().numpy() for parameter in law.parameters]
    if isinstance(law, StudentT):
        return stats.t(p[0], p[1], p[2])
    if isinstance(law, NegativeBinomial):
        return stats.nbinom(p[0], 1 / (1 + np.exp(p[1])))
    if isinstance(law, LogNormal):
        return stats.lognorm(p[1], scale=np.exp(p[0]))
    if isinstance(law, Pareto):
        return stats.pareto(p[1], scale=p[0])
    return {Normal: stats.norm, Laplace: stats.laplace}[type(law)](p[0], p[1])


def inside(law, n, seed=1):
    """Values that occur, `[n, *batch]`."""
    return law.sample(n, torch.Generator().manual_seed(seed))


def test_log_density(make_law, single):
    """The log density is scipy's, for counts the log mass."""
    law = make_law(single)
    values = inside(law, 20)
    expected = scipy_law(law)
    log_density = expected.logpmf if law.is_lattice else expected.logpdf
    np.testing.assert_allclose(law.log_prob(values), log_density(values.double().numpy()), rtol=1e-4, atol=2e-3)


def test_distribution_function(make_law, single):
    """The distribution function is scipy's, at values that occur and far outside."""
    law = make_law(single).map(torch.Tensor.double)
    values = torch.cat([inside(law, 20), torch.tensor([-1e6, -1.0, 0.0, 0.5, 1e6])[:, None].expand(-1, 200).double()])
    np.testing.assert_allclose(law.cdf(values), scipy_law(law).cdf(values.numpy()), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("df", [2.0, 2.125, 3.0, 10.0, 30.0, 30.5, 100.0, 999.0, 1001.0, 1e5])
def test_distribution_function_of_student_t_in_all_its_ranges(df):
    """In the middle and far into the tail, for few degrees of freedom and for many, also in relation to its size."""
    values = torch.cat([-torch.logspace(8, 0.5, 60), torch.linspace(-6, 6, 301), torch.logspace(0.5, 8, 60)]).double()
    law = StudentT(*(torch.full_like(values, one) for one in (df, 0.0, 1.0)))
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = stats.t.cdf(values.numpy(), df)
    np.testing.assert_allclose(law.cdf(values), expected, rtol=1e-5, atol=1e-250)
    np.testing.assert_allclose(law.cdf(values), expected, rtol=0, atol=3e-12)


def test_quantiles(make_law, single):
    """Quantiles are scipy's, far into the tails; of counts exactly."""
    law = make_law(single).map(torch.Tensor.double)
    levels = torch.tensor([1e-6, 0.01, 0.1, 0.5, 0.9, 0.99, 1 - 1e-6], dtype=torch.float64)
    expected = np.stack([scipy_law(law).ppf(level) for level in levels.numpy()])
    np.testing.assert_allclose(law.quantile(levels), expected, rtol=1e-5, atol=0 if law.is_lattice else 1e-6)


def test_moments(make_law, single):
    """Mean and variance are scipy's."""
    law = make_law(single).map(torch.Tensor.double)
    mean, variance = scipy_law(law).stats("mv")
    np.testing.assert_allclose(law.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(law.variance, variance, rtol=1e-6)


def test_samples(make_law, single):
    """Samples follow the distribution function: the share of samples below a value is its probability."""
    law = make_law(single, 8).map(torch.Tensor.double)
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    values = law.quantile(levels)
    samples = law.sample(20_000, torch.Generator().manual_seed(0))
    share = (samples[None] <= values[:, None]).double().mean(1)
    expected = law.cdf(values)
    allowed = 5 * (expected * (1 - expected) / 20_000).sqrt() + 1e-3
    assert ((share - expected).abs() <= allowed).all()


def test_samples_come_from_the_generator(make_law, any_family):
    """The same generator draws the same samples; leading axis is the draw."""
    law = make_law(any_family, 5)
    first, second = (law.sample(3, torch.Generator().manual_seed(7)) for _ in range(2))
    assert first.shape == (3, 5)
    assert torch.equal(first, second)


def leaves_of(args, leaves):
    """Extreme raw arguments, nested as `args`; every pair of extremes occurs in neighbouring arguments."""
    if isinstance(args, dict):
        return {name: leaves_of(one, leaves) for name, one in args.items()}
    if isinstance(args, list):
        return [leaves_of(one, leaves) for one in args]
    first, second = EXTREME.repeat(len(EXTREME)), EXTREME.repeat_interleave(len(EXTREME))
    columns = [first if (len(leaves) + k) % 2 else second for k in range(args)]
    leaves.append(torch.stack(columns, dim=-1).requires_grad_())
    return leaves[-1]


@pytest.mark.parametrize("value", [-1e30, -1e3, -1.0, 0.0, 1e-30, 0.5, 1.0, 1e3, 1e30])
def test_gradients_are_finite(family_named, any_family, value):
    """Neither extreme raw arguments nor values outside the support make NaN, in value or gradient."""
    family = family_named(any_family)
    leaves = []
    raw = leaves_of(family.args, leaves)
    log_prob = family.distribution(raw).log_prob(torch.full((len(EXTREME) ** 2,), value))
    assert not log_prob.isnan().any()
    assert not (log_prob == math.inf).any()
    torch.where(log_prob.isfinite(), log_prob, 0.0).sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)
