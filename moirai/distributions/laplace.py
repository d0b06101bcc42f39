"""Laplace distribution, with a learned or a fixed scale.

log p(y) = -|z| - log 2s        z = (y - m)/s
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from moirai.distributions.base import Distribution, MappedFamily, Numbers
from moirai.distributions.domain import positive, real


@dataclass(frozen=True)
class Laplace(Distribution):
    """Laplace law."""

    loc: Float[Tensor, "*batch"]  # m
    scale: Float[Tensor, "*batch"]  # s

    @property
    def mean(self) -> Numbers:
        """The location m."""
        return self.loc

    @property
    def variance(self) -> Numbers:
        """2s²."""
        return 2 * self.scale**2

    def log_density(self, value: Numbers) -> Numbers:
        """See the module."""
        return -((value - self.loc) / self.scale).abs() - self.scale.log() - math.log(2)

    def cdf(self, value: Numbers) -> Numbers:
        """exp(z)/2 below m, 1 - exp(-z)/2 above."""
        z = (value - self.loc) / self.scale
        tail = 0.5 * torch.exp(-z.abs())
        return torch.where(z < 0, tail, 1 - tail)

    def icdf(self, probability: Numbers) -> Numbers:
        """The value m + s log 2p below the median, m - s log 2(1 - p) above."""
        below = probability <= 0.5  # noqa: PLR2004 - the median
        tail = torch.log(2 * torch.where(below, probability, 1 - probability))
        return self.loc + self.scale * torch.where(below, tail, -tail)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Numbers:
        """Draws, `[n, *batch]`: the difference of two exponential ones."""
        waits = self.loc.new_empty(2, n, *self.batch_shape).exponential_(generator=generator)
        return self.loc + self.scale * (waits[0] - waits[1])


class LaplaceFamily(MappedFamily):
    """Laplace with learned location and scale."""

    target = "laplace.LaplaceOutput"
    maps: ClassVar = {"loc": real, "scale": positive}
    makes = Laplace


@dataclass(frozen=True, kw_only=True)
class LaplaceFixedScaleFamily(MappedFamily):
    """Laplace with learned location and one scale."""

    target = "laplace.LaplaceFixedScaleOutput"
    maps: ClassVar = {"loc": real}
    makes = Laplace

    scale: float | int = 1e-3
