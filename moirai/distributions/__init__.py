"""Distributions of the heads of Moirai 1.x and Moirai-MoE: families, their laws, and quantiles without sampling."""

from moirai.distributions.base import Distribution, DistributionFamily
from moirai.distributions.config import distribution_from_config

__all__ = ["Distribution", "DistributionFamily", "distribution_from_config"]
