"""Distributions by the class names of published `config.json` files.

Only names of the table are known; nothing is ever imported by a name read from a file.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from moirai.distributions.base import DistributionFamily
from moirai.distributions.laplace import LaplaceFamily, LaplaceFixedScaleFamily
from moirai.distributions.log_normal import LogNormalFamily
from moirai.distributions.mixture import MixtureFamily
from moirai.distributions.negative_binomial import NegativeBinomialFamily
from moirai.distributions.normal import NormalFamily, NormalFixedScaleFamily
from moirai.distributions.pareto import ParetoFamily, ParetoFixedAlphaFamily
from moirai.distributions.student_t import StudentTFamily
from moirai.errors import ConfigError

PREFIX = "uni2ts.distribution."
FAMILIES: tuple[type[DistributionFamily], ...] = (
    MixtureFamily,
    StudentTFamily,
    NormalFamily,
    NormalFixedScaleFamily,
    NegativeBinomialFamily,
    LogNormalFamily,
    LaplaceFamily,
    LaplaceFixedScaleFamily,
    ParetoFamily,
    ParetoFixedAlphaFamily,
)
# Files name the class with its module, recipes may name it in the package.
KNOWN = {PREFIX + family.target: family for family in FAMILIES} | {
    PREFIX + family.target.rpartition(".")[2]: family for family in FAMILIES
}


def distribution_from_config(settings: Any) -> DistributionFamily:
    """The family that a `distr_output` mapping describes; `to_config` of the family gives it back.

    Args:
        settings: `{"_target_": class name, constants…}`; a mixture has a list of such mappings
            under `components`.

    Raises:
        ConfigError: the class is unknown, a constant is unknown, missing or impossible.
    """
    if not isinstance(settings, Mapping) or "_target_" not in settings:
        raise ConfigError(f"a distribution is a mapping with the key '_target_', not {settings!r}")
    target = settings["_target_"]
    if not isinstance(target, str) or target not in KNOWN:
        names = ", ".join(sorted(PREFIX + family.target for family in FAMILIES))
        raise ConfigError(f"unknown distribution {target!r}; known: {names}")
    family = KNOWN[target]
    given = {name: value for name, value in settings.items() if name != "_target_"}
    known = sorted(field.name for field in fields(family))
    if unknown := sorted(set(given) - set(known)):
        raise ConfigError(f"unknown field {unknown[0]!r} of {target}; known: {known}")
    if family is MixtureFamily:
        components = given.get("components")
        if not isinstance(components, list | tuple):
            raise ConfigError(f"components of {target} must be a list of distributions, not {components!r}")
        return MixtureFamily(components=tuple(distribution_from_config(one) for one in components))
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{name} of {target} must be a positive number, not {value!r}")
    return family(**given)
