"""What the tests of distributions share: families by name, random raw arguments, their laws."""

import pytest
import torch

from moirai.distributions import distribution_from_config
from moirai.distributions.config import FAMILIES

STANDARD = ("StudentTOutput", "NormalFixedScaleOutput", "NegativeBinomialOutput", "LogNormalOutput")
SINGLE = [family.target.rpartition(".")[2] for family in FAMILIES[1:]]


def named(name):
    """A family with its default constants; `standard` is the mixture of the published models."""
    if name != "standard":
        return distribution_from_config({"_target_": f"uni2ts.distribution.{name}"})
    components = [{"_target_": f"uni2ts.distribution.{one}"} for one in STANDARD]
    return distribution_from_config({"_target_": "uni2ts.distribution.MixtureOutput", "components": components})


def draw(args, n, generator, spread):
    """Random raw arguments, nested as `args`."""
    if isinstance(args, dict):
        return {name: draw(one, n, generator, spread) for name, one in args.items()}
    if isinstance(args, list):
        return [draw(one, n, generator, spread) for one in args]
    return torch.randn(n, args, generator=generator) * spread


@pytest.fixture(scope="session")
def family_named():
    """Make a family by its class name."""
    return named


@pytest.fixture(scope="session")
def make_law():
    """Make the law of random raw arguments."""

    def make(name, n=200, *, seed=0, spread=1.0):
        family = named(name)
        return family.distribution(draw(family.args, n, torch.Generator().manual_seed(seed), spread))

    return make


@pytest.fixture(params=SINGLE)
def single(request):
    """Name of a family."""
    return request.param


@pytest.fixture(params=[*SINGLE, "standard"])
def any_family(request):
    """Name of a family, or of the mixture of the published models."""
    return request.param
