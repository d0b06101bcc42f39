"""Distributions of the heads against the reference."""

import pytest
import torch

from moirai.distributions import distribution_from_config

SINGLE = (
    "distribution_laplace",
    "distribution_laplace_fixed",
    "distribution_log_normal",
    "distribution_negative_binomial",
    "distribution_normal",
    "distribution_normal_fixed",
    "distribution_normal_fixed_05",
    "distribution_pareto",
    "distribution_pareto_fixed",
    "distribution_student_t",
)
MIXTURES = ("distribution_mixture_other", "distribution_mixture_standard")


def named(name, constants):
    """The mapping of a config file."""
    return {"_target_": f"uni2ts.distribution.{name}", **constants}


@pytest.fixture(params=SINGLE)
def single(request, stored):
    """Stored tensors of one family, the family, and its raw arguments."""
    t, meta = stored(f"components/{request.param}")
    family = distribution_from_config(named(meta["class"], meta["constants"]))
    return t, family, {name: t[f"in.raw.{name}"] for name in meta["args"]}


@pytest.fixture(params=MIXTURES)
def mixture(request, stored):
    """Stored tensors of a mixture, the family, and its raw arguments, which take gradients."""
    t, meta = stored(f"components/{request.param}")
    components = [named(*one) for one in zip(meta["components"], meta["constants"], strict=True)]
    family = distribution_from_config({**named("MixtureOutput", {}), "components": components})

    def leaf(name):
        return t[f"in.raw.{name}"].clone().requires_grad_()

    raw = {
        "weights_logits": leaf("weights_logits"),
        "components": [
            {name: leaf(f"components.{k}.{name}") for name in args} for k, args in enumerate(family.args["components"])
        ],
    }
    return t, family, raw


def test_parameters(single, assert_close):
    """Raw arguments are mapped into the same parameters."""
    t, family, raw = single
    law = family.distribution(raw)
    assert set(family.args) == set(raw)
    for name in raw:
        assert_close(getattr(law, name), t[f"out.param.{name}"], "parameter")


def test_domain_maps(single, assert_close):
    """The maps agree on a wide sweep of raw values."""
    t, family, raw = single
    law = family.distribution(dict.fromkeys(raw, t["in.sweep"]))
    for name in raw:
        assert_close(getattr(law, name), t[f"out.sweep.{name}"], "domain map")


def test_law(single, assert_close):
    """Support, log density, moments and, where stored, distribution function and quantiles agree."""
    t, family, raw = single
    law, inside = family.distribution(raw), t["in.value_in_support"]
    assert torch.equal(law.in_support(t["in.value"]), t["out.in_support"])
    assert_close(law.log_prob(inside), t["out.log_prob"], "log density")
    assert_close(law.mean, t["out.mean"], "data units")
    assert_close(law.variance, t["out.variance"], "variance")
    if "out.cdf" in t:
        assert_close(law.cdf(inside), t["out.cdf"], "component")
        assert_close(law.icdf(t["in.u"]), t["out.icdf"], "component")


def test_affine(single, assert_close):
    """Shifted and stretched to data units, log density and moments agree."""
    t, family, raw = single
    loc, scale = t["in.affine_loc"], t["in.affine_scale"]
    law = family.distribution(raw, loc, scale)
    assert_close(law.log_prob(t["in.value_in_support"] * scale + loc), t["out.affine.log_prob"], "log density")
    assert_close(law.mean, t["out.affine.mean"], "component")
    assert_close(law.variance, t["out.affine.variance"], "variance")


def test_mixture_parameters(mixture, assert_close):
    """Raw arguments are mapped into the same nested parameters."""
    t, family, raw = mixture
    law = family.distribution(raw)
    assert_close(law.weights_logits, t["out.param.weights_logits"], "parameter")
    assert_close(law.weights, t["out.weights"], "component")
    for k, component in enumerate(raw["components"]):
        for name in component:
            assert_close(getattr(law.components[k], name), t[f"out.param.components.{k}.{name}"], "parameter")


def test_mixture_law(mixture, assert_close):
    """Log density, also outside the support of some components, and moments agree."""
    t, family, raw = mixture
    law = family.distribution(raw)
    assert_close(law.log_prob(t["in.value"]), t["out.log_prob"], "log density")
    assert_close(law.mean, t["out.mean"], "data units")
    assert_close(law.variance, t["out.variance"], "variance")


def test_mixture_gradients(mixture, assert_close):
    """Gradients of the log likelihood with respect to every raw argument agree."""
    t, family, raw = mixture
    family.distribution(raw).log_prob(t["in.value"]).sum().backward()
    assert_close(raw["weights_logits"].grad, t["out.grad.weights_logits"], "gradient")
    for k, component in enumerate(raw["components"]):
        for name, leaf in component.items():
            assert_close(leaf.grad, t[f"out.grad.components.{k}.{name}"], "gradient")


def test_mixture_sampling(mixture, assert_close):
    """The distribution function is that of the reference's samples, counts on whole numbers."""
    t, family, raw = mixture
    values = family.distribution(raw).cdf(t["in.cdf_points"].T).T
    assert_close(values, t["out.sampling_cdf"], "component")


def test_mixture_affine(mixture, assert_close):
    """Shifted and stretched to data units, log density and moments agree."""
    t, family, raw = mixture
    law = family.distribution(raw, t["in.affine_loc"], t["in.affine_scale"])
    assert_close(law.log_prob(t["in.affine_value"]), t["out.affine.log_prob"], "log density")
    assert_close(law.mean, t["out.affine.mean"], "component")
    assert_close(law.variance, t["out.affine.variance"], "variance")
