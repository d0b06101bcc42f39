"""A distribution in data units: Y = loc + scale · Z.

    log p_Y(y) = log p_Z((y - loc)/scale) - log scale

Supports apply to Z: counts and log-normal components of a head cover y ≥ loc only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from moirai.distributions.base import Distribution, Numbers


@dataclass(frozen=True)
class Affine(Distribution):
    """A law shifted and stretched."""

    base: Distribution  # of Z
    loc: Float[Tensor, "*batch"]
    scale: Float[Tensor, "*batch"]  # positive

    def standardised(self, value: Numbers) -> Numbers:
        """(y - loc)/scale."""
        return (value - self.loc) / self.scale

    @property
    def mean(self) -> Numbers:
        """E[Z] scale + loc."""
        return self.base.mean * self.scale + self.loc

    @property
    def variance(self) -> Numbers:
        """Var[Z] scale²."""
        return self.base.variance * self.scale**2

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The tensors that make the law."""
        return self.loc, self.scale, *self.base.parameters

    def map(self, change: Callable[[Tensor], Tensor]) -> "Affine":
        """The same law with every parameter changed."""
        return Affine(self.base.map(change), change(self.loc), change(self.scale))

    def take(self, index: Int[Tensor, "chosen"]) -> "Affine":
        """The laws at these places of the flattened batch."""
        return Affine(self.base.take(index), self.loc.flatten()[index], self.scale.flatten()[index])

    def in_support(self, value: Numbers) -> Bool[Tensor, "..."]:
        """The support of Z, moved."""
        return self.base.in_support(self.standardised(value))

    def log_density(self, value: Numbers) -> Numbers:
        """See the module."""
        return self.base.log_density(self.standardised(value)) - self.scale.log()

    def log_prob(self, value: Numbers) -> Numbers:
        """See the module; -inf outside the support."""
        return self.base.log_prob(self.standardised(value)) - self.scale.log()

    def cdf(self, value: Numbers) -> Numbers:
        """That of Z; where Z has jumps, y within rounding of one may fall on either side of it."""
        return self.base.cdf(self.standardised(value))

    def icdf(self, probability: Numbers) -> Numbers:
        """Quantile of Z, moved."""
        return self.base.icdf(probability) * self.scale + self.loc

    def sample(self, n: int, generator: torch.Generator | None = None) -> Numbers:
        """Draws, `[n, *batch]`."""
        return self.base.sample(n, generator) * self.scale.detach() + self.loc.detach()
