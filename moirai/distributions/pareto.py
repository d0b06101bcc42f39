"""Pareto distribution, with a learned or a fixed tail index.

log p(y) = log(a) + a log(s) - (a + 1) log(y)        y ≥ s
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from moirai.distributions.base import Distribution, MappedFamily, Numbers
from moirai.distributions.domain import positive, tail_index


@dataclass(frozen=True)
class Pareto(Distribution):
    """Pareto law."""

    scale: Float[Tensor, "*batch"]  # s, the smallest value
    alpha: Float[Tensor, "*batch"]  # a

    @property
    def mean(self) -> Numbers:
        """Equal to a s/(a - 1); infinite where a ≤ 1."""
        return self.scale * torch.where(self.alpha > 1, self.alpha / (self.alpha - 1), math.inf)

    @property
    def variance(self) -> Numbers:
        """Equal to a s²/((a - 1)² (a - 2)); infinite where a ≤ 2."""
        ratio = self.alpha / ((self.alpha - 1) ** 2 * (self.alpha - 2))
        return self.scale**2 * torch.where(self.alpha > 2, ratio, math.inf)  # noqa: PLR2004 - as the formula says

    def in_support(self, value: Numbers) -> Bool[Tensor, "..."]:
        """From the scale on."""
        return (value >= self.scale) & (value < math.inf)

    @property
    def possible(self) -> Tensor:
        """The smallest value."""
        return self.scale.detach()

    def log_density(self, value: Numbers) -> Numbers:
        """See the module."""
        return self.alpha.log() + self.alpha * self.scale.log() - (self.alpha + 1) * value.log()

    def cdf(self, value: Numbers) -> Numbers:
        """1 - (s/y)^a; 0 below s."""
        ratio = self.scale.log() - torch.maximum(value, self.scale).log()
        return -torch.expm1(self.alpha * ratio)

    def icdf(self, probability: Numbers) -> Numbers:
        """The value s (1 - p)^(-1/a)."""
        return self.scale * torch.exp(-torch.log1p(-probability) / self.alpha)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Numbers:
        """Draws, `[n, *batch]`: the logarithm is exponential."""
        waits = self.alpha.new_empty(n, *self.batch_shape).exponential_(generator=generator)
        return self.scale * torch.exp(waits / self.alpha)


class ParetoFamily(MappedFamily):
    """Pareto with learned scale and tail index."""

    target = "pareto.ParetoOutput"
    maps: ClassVar = {"scale": positive, "alpha": tail_index}
    makes = Pareto


@dataclass(frozen=True, kw_only=True)
class ParetoFixedAlphaFamily(MappedFamily):
    """Pareto with learned scale and one tail index."""

    target = "pareto.ParetoFixedAlphaOutput"
    maps: ClassVar = {"scale": positive}
    makes = Pareto

    alpha: float | int = 3.0
