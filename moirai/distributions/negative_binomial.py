"""Negative binomial distribution, its mass function continued to every y ≥ 0.

    log p(y) = r log(1-q) + y log(q) + lnΓ(r+y+1) - lnΓ(r+1) - lnΓ(y+1) + log r - log(r+y)

is evaluated between the whole numbers too, as the published models were trained; samples and the
distribution function are those of the counts: P(Y ≤ y) = I_{1-q}(r, floor(y) + 1). Here q = sigmoid(l).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from moirai.distributions.base import Distribution, MappedFamily, Numbers
from moirai.distributions.domain import count, real
from moirai.distributions.incomplete_beta import incomplete_beta
from moirai.distributions.inversion import LARGEST_WHOLE, invert

HIGHEST_RATE = 1e15  # a Poisson draw beyond it is its rate, as far as numbers tell


@dataclass(frozen=True)
class NegativeBinomial(Distribution):
    """Negative binomial law."""

    is_lattice = True

    total_count: Float[Tensor, "*batch"]  # r
    logits: Float[Tensor, "*batch"]  # l

    @property
    def mean(self) -> Numbers:
        """Equal to r exp(l)."""
        return self.total_count * self.logits.exp()

    @property
    def variance(self) -> Numbers:
        """Equal to r exp(l)/(1 - q)."""
        return self.mean * (1 + self.logits.exp())

    def in_support(self, value: Numbers) -> Bool[Tensor, "..."]:
        """From 0 on."""
        from_zero = (value >= 0) & (value < math.inf)
        return from_zero.expand(torch.broadcast_shapes(value.shape, self.batch_shape))

    def log_density(self, value: Numbers) -> Numbers:
        """See the module."""
        r, logits = self.total_count, self.logits
        odds = r * logsigmoid(-logits) + value * logsigmoid(logits)
        ways = torch.lgamma(r + value + 1) - torch.lgamma(r + 1) - torch.lgamma(value + 1)
        return odds + ways + r.log() - (r + value).log()

    def cdf(self, value: Numbers) -> Numbers:
        """See the module; without gradient."""
        total, logits = self.total_count.double(), self.logits.double()
        whole = value.double().floor()
        upper = whole.clamp(0, LARGEST_WHOLE) + 1
        below = incomplete_beta(total, upper, torch.sigmoid(-logits), torch.sigmoid(logits))
        return torch.where(whole < 0, 0.0, below).to(value.dtype)

    def icdf(self, probability: Numbers) -> Numbers:
        """By inversion of the distribution function; a whole number."""
        return invert((self,), torch.ones_like(self.logits)[..., None], probability)

    def bracket(self, probability: Numbers) -> tuple[Numbers, Numbers]:
        """Between 0 and Cantelli's bound."""
        high = self.mean + (self.variance * probability / (1 - probability)).sqrt()
        return torch.zeros_like(high), high

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Numbers:
        """Draws, `[n, *batch]`: Poisson with a rate from Gamma(r, rate exp(-l))."""
        shape = self.total_count.expand(n, *self.batch_shape).contiguous()
        gamma = torch._standard_gamma(shape, generator=generator)  # noqa: SLF001 - torch.distributions takes no generator
        return torch.poisson((gamma * self.logits.exp()).clamp(max=HIGHEST_RATE), generator=generator)


class NegativeBinomialFamily(MappedFamily):
    """Negative binomial with learned count and logits."""

    target = "negative_binomial.NegativeBinomialOutput"
    maps: ClassVar = {"total_count": count, "logits": real}
    makes = NegativeBinomial
