"""Families from published configuration files, and back."""

import json

import pytest

from moirai.config import STANDARD_MIXTURE
from moirai.distributions import distribution_from_config
from moirai.distributions.config import FAMILIES, PREFIX
from moirai.distributions.mixture import MixtureFamily
from moirai.errors import ConfigError

NORMAL = {"_target_": "uni2ts.distribution.normal.NormalOutput"}


def test_published_mixture():
    """The head of the published models is read, and written as it stands in their files."""
    family = distribution_from_config(STANDARD_MIXTURE)
    assert json.dumps(family.to_config()) == json.dumps(STANDARD_MIXTURE)
    assert family.args == {
        "weights_logits": 4,
        "components": [
            {"df": 1, "loc": 1, "scale": 1},
            {"loc": 1},
            {"total_count": 1, "logits": 1},
            {"loc": 1, "scale": 1},
        ],
    }


@pytest.mark.parametrize("family", FAMILIES[1:])
def test_every_family_comes_back(family):
    """Both spellings of a class are read; the one with the module is written."""
    settings = family().to_config()
    name = family.target.rpartition(".")[2]
    assert settings["_target_"] == PREFIX + family.target
    assert distribution_from_config(settings) == family()
    assert distribution_from_config({**settings, "_target_": PREFIX + name}) == family()


@pytest.mark.parametrize("module", ["normal.NormalFixedScaleOutput", "laplace.LaplaceFixedScaleOutput"])
def test_constants(module):
    """A constant is read and reported."""
    family = distribution_from_config({"_target_": PREFIX + module, "scale": 0.5})
    assert family.constants == {"scale": 0.5}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"_target_": "os.system"}, r"'os.system'; known: .*StudentTOutput"),
        ({"_target_": "uni2ts.distribution.beta.BetaOutput"}, "BetaOutput"),
        ({"_target_": 3}, "unknown distribution 3"),
        ({}, "_target_"),
        ([], "_target_"),
        ({**NORMAL, "scale": 1.0}, "'scale'"),
        ({"_target_": PREFIX + "normal.NormalFixedScaleOutput", "scale": 0}, "positive"),
        ({"_target_": PREFIX + "normal.NormalFixedScaleOutput", "scale": "1"}, "positive"),
        ({"_target_": PREFIX + "pareto.ParetoFixedAlphaOutput", "alpha": float("inf")}, "positive"),
        ({"_target_": PREFIX + "mixture.MixtureOutput"}, "components"),
        ({"_target_": PREFIX + "mixture.MixtureOutput", "components": NORMAL}, "list"),
        ({"_target_": PREFIX + "mixture.MixtureOutput", "components": []}, "one or more"),
        ({"_target_": PREFIX + "mixture.MixtureOutput", "components": [STANDARD_MIXTURE]}, "no mixtures"),
        ({"_target_": PREFIX + "mixture.MixtureOutput", "components": [NORMAL, {"_target_": "x.Y"}]}, "x.Y"),
    ],
)
def test_impossible_settings(settings, message):
    """What is wrong is named, with what is known instead."""
    with pytest.raises(ConfigError, match=message):
        distribution_from_config(settings)


def test_families_are_values():
    """Equal settings make equal families, which may be keys."""
    first, second = (distribution_from_config(STANDARD_MIXTURE) for _ in range(2))
    assert first == second
    assert len({first, second}) == 1
    assert isinstance(first, MixtureFamily)
