"""Normal distribution, with a learned or a fixed scale.

log p(y) = -z²/2 - log s - log(2π)/2        z = (y - m)/s
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from moirai.distributions.base import Distribution, MappedFamily, Numbers
from moirai.distributions.domain import positive, real

FARTHEST = 1e18  # standard scores are held here: their square is finite in float32, so are gradients


def standard_score(value: Numbers, loc: Numbers, scale: Numbers) -> Numbers:
    """(y - m)/s, held where its square is finite."""
    return ((value - loc) / scale).clamp(-FARTHEST, FARTHEST)


@dataclass(frozen=True)
class Normal(Distribution):
    """Normal law."""

    loc: Float[Tensor, "*batch"]  # m
    scale: Float[Tensor, "*batch"]  # s

    @property
    def mean(self) -> Numbers:
        """The location m."""
        return self.loc

    @property
    def variance(self) -> Numbers:
        """s²."""
        return self.scale**2

    def log_density(self, value: Numbers) -> Numbers:
        """See the module."""
        z = standard_score(value, self.loc, self.scale)
        return -0.5 * z**2 - self.scale.log() - 0.5 * math.log(2 * math.pi)

    def cdf(self, value: Numbers) -> Numbers:
        """Φ(z)."""
        return torch.special.ndtr((value - self.loc) / self.scale)

    def icdf(self, probability: Numbers) -> Numbers:
        """The value m + s Φ⁻¹(p)."""
        return self.loc + self.scale * torch.special.ndtri(probability)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Numbers:
        """Draws, `[n, *batch]`."""
        noise = self.loc.new_empty(n, *self.batch_shape).normal_(generator=generator)
        return self.loc + self.scale * noise


class NormalFamily(MappedFamily):
    """Normal with learned location and scale."""

    target = "normal.NormalOutput"
    maps: ClassVar = {"loc": real, "scale": positive}
    makes = Normal


@dataclass(frozen=True, kw_only=True)
class NormalFixedScaleFamily(MappedFamily):
    """Normal with learned location and one scale."""

    target = "normal.NormalFixedScaleOutput"
    maps: ClassVar = {"loc": real}
    makes = Normal

    scale: float | int = 1e-3
