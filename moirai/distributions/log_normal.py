"""Log-normal distribution: the logarithm is normal.

log p(y) = -z²/2 - log s - log(2π)/2 - log y        z = (log y - m)/s,  y > 0
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from moirai.distributions.base import Distribution, MappedFamily, Numbers
from moirai.distributions.domain import positive, real
from moirai.distributions.normal import Normal


@dataclass(frozen=True)
class LogNormal(Distribution):
    """Log-normal law."""

    loc: Float[Tensor, "*batch"]  # m, of the logarithm
    scale: Float[Tensor, "*batch"]  # s, of the logarithm

    @property
    def logarithm(self) -> Normal:
        """The law of log Y."""
        return Normal(self.loc, self.scale)

    @property
    def mean(self) -> Numbers:
        """exp(m + s²/2)."""
        return torch.exp(self.loc + 0.5 * self.scale**2)

    @property
    def variance(self) -> Numbers:
        """(exp(s²) - 1) exp(2m + s²)."""
        square = self.scale**2
        return torch.expm1(square) * torch.exp(2 * self.loc + square)

    def in_support(self, value: Numbers) -> Bool[Tensor, "..."]:
        """Positive and finite."""
        positive_value = (value > 0) & (value < math.inf)
        return positive_value.expand(torch.broadcast_shapes(value.shape, self.batch_shape))

    @property
    def possible(self) -> float:
        """1, whose logarithm is 0."""
        return 1.0

    def log_density(self, value: Numbers) -> Numbers:
        """See the module."""
        logarithm = value.log()
        return self.logarithm.log_density(logarithm) - logarithm

    def cdf(self, value: Numbers) -> Numbers:
        """Φ(z); 0 at and below 0."""
        return self.logarithm.cdf(value.clamp(min=0).log())

    def icdf(self, probability: Numbers) -> Numbers:
        """exp(m + s Φ⁻¹(p))."""
        return self.logarithm.icdf(probability).exp()

    def sample(self, n: int, generator: torch.Generator | None = None) -> Numbers:
        """Draws, `[n, *batch]`."""
        return self.logarithm.sample(n, generator).exp()


class LogNormalFamily(MappedFamily):
    """Log-normal with learned location and scale."""

    target = "log_normal.LogNormalOutput"
    maps: ClassVar = {"loc": real, "scale": positive}
    makes = LogNormal
