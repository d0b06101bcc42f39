"""Student's t distribution.

log p(y) = lnΓ((n+1)/2) - lnΓ(n/2) - log(pi n)/2 - log s - (n+1)/2 log(1 + z²/n)        z = (y - m)/s
P(Y ≤ y) = I_x(n/2, 1/2)/2 below m        x = n/(n + z²)
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from moirai.distributions.base import Distribution, MappedFamily, Numbers
from moirai.distributions.domain import degrees, positive, real
from moirai.distributions.incomplete_beta import incomplete_beta
from moirai.distributions.inversion import invert
from moirai.distributions.normal import standard_score

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
GAUSS_LEGENDRE = ((_NODES + 1) / 2).tolist(), (_WEIGHTS / 2).tolist()  # on [0, 1]


@dataclass(frozen=True)
class StudentT(Distribution):
    """Student's t law."""

    df: Float[Tensor, "*batch"]  # n
    loc: Float[Tensor, "*batch"]  # m
    scale: Float[Tensor, "*batch"]  # s

    @property
    def mean(self) -> Numbers:
        """The location m (where n > 1)."""
        return self.loc

    @property
    def variance(self) -> Numbers:
        """s² n/(n - 2); infinite where n ≤ 2."""
        return self.scale**2 * torch.where(self.df > 2, self.df / (self.df - 2), math.inf)  # noqa: PLR2004 - formula

    def log_density(self, value: Numbers) -> Numbers:
        """See the module."""
        z = standard_score(value, self.loc, self.scale)
        half = 0.5 * (self.df + 1)
        constant = torch.lgamma(half) - torch.lgamma(0.5 * self.df) - 0.5 * (math.pi * self.df).log() - self.scale.log()
        return constant - half * torch.log1p(z**2 / self.df)

    def cdf(self, value: Numbers) -> Numbers:
        """See the module; without gradient."""
        df, loc, scale = (parameter.double() for parameter in self.parameters)
        z = standard_score(value.double(), loc, scale)
        weight = z**2 / df
        x = 1 / (1 + weight)
        tail = 0.5 * incomplete_beta(0.5 * df, torch.full_like(df, 0.5), x, weight * x)
        return torch.where(z < 0, tail, 1 - tail).to(value.dtype)

    def cdf_near(self, value: Numbers, start: Numbers, known: Numbers) -> Numbers:
        """As `cdf`: over at most one scale the integral of the density by Gauss-Legendre quadrature, exact to 1e-13.

        The density is analytic within √n scales of the real line: ten nodes over half a scale to either side of the
        middle leave an error of about (2√n + √(4n + 1))^-20, for n = 2 below 1e-15.
        """
        step = value - start
        is_far = (step.abs() > self.scale).nonzero()[:, 0]
        nodes, weights = (torch.tensor(one, dtype=value.dtype, device=value.device)[:, None] for one in GAUSS_LEGENDRE)
        density = self.log_density(start + step * nodes).exp()
        reached = (known + step * (weights * density).sum(0)).clamp(0, 1)
        if len(is_far):
            reached[is_far] = self.take(is_far).cdf(value[is_far])
        return reached

    def icdf(self, probability: Numbers) -> Numbers:
        """By inversion of the distribution function."""
        return invert((self,), torch.ones_like(self.df)[..., None], probability)

    def bracket(self, probability: Numbers) -> tuple[Numbers, Numbers]:
        """Between the quantiles for n = ∞ and, in closed form, for n = 2."""
        normal = torch.special.ndtri(probability)
        heaviest = (2 * probability - 1) / (2 * probability * (1 - probability)).sqrt()
        ends = torch.stack(torch.broadcast_tensors(normal, heaviest))
        return self.loc + self.scale * ends.amin(0), self.loc + self.scale * ends.amax(0)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Numbers:
        """Draws, `[n, *batch]`, by Bailey's polar method (Math. Comp. 62, 1994)."""
        radius = self.df.new_empty(n, *self.batch_shape).exponential_(generator=generator)
        angle = self.df.new_empty(n, *self.batch_shape).uniform_(generator=generator)
        distance = (self.df * torch.expm1(2 * radius / self.df)).sqrt()
        return self.loc + self.scale * distance * torch.cos(2 * math.pi * angle)


class StudentTFamily(MappedFamily):
    """Student's t with learned degrees of freedom above 2, location and scale."""

    target = "student_t.StudentTOutput"
    maps: ClassVar = {"df": degrees, "loc": real, "scale": positive}
    makes = StudentT
