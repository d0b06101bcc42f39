"""Student's t distribution.

log p(y) = lnΓ((n+1)/2) - lnΓ(n/2) - log(pi n)/2 - log s - (n+1)/2 log(1 + z²/n)        z = (y - m)/s
P(Y ≤ y) = I_x(n/2, 1/2)/2 below m        x = n/(n + z²), or a quadrature of the density from m on
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

NEAR = 4.0  # scales from the middle within which, up to `FEW` degrees of freedom, 12 nodes are exact to 2e-13
FEW = 1000.0
FEWER = 30.0  # degrees of freedom up to which 20 nodes give the tail beyond, to 2e-14 of its value
MIDDLE_RULE = np.polynomial.legendre.leggauss(12)  # nodes on [-1, 1] and their weights
TAIL_RULE = np.polynomial.legendre.leggauss(20)


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
        df, z = torch.broadcast_tensors(df, standard_score(value.double(), loc, scale))
        df, flat = df.flatten(), z.flatten()
        below = _middle(df, flat)
        far = ((flat.abs() > NEAR) | (df > FEW)).nonzero()[:, 0]
        if len(far):
            tail = _tail(df[far], flat[far].abs())
            below[far] = torch.where(flat[far] < 0, tail, 1 - tail)
        return below.view_as(z).to(value.dtype)

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


def _middle(df: Float[Tensor, "n"], z: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """P(Z ≤ z) by Gauss-Legendre quadrature over the angle t, z = √n tan(t): ½ + c ∫ cos(t)^(n-1) dt from 0 on."""
    half = 0.5 * torch.atan(z / df.sqrt())
    nodes, weights = (torch.as_tensor(one, dtype=z.dtype, device=z.device)[:, None] for one in MIDDLE_RULE)
    sine = torch.sin(half + half * nodes)  # [node, n]
    heights = torch.log1p(-sine.square_()).mul_(0.5 * (df - 1)).exp_()
    return 0.5 + _constant(df) * half * (weights * heights).sum(0)


def _tail(df: Float[Tensor, "n"], z: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """P(Z > z) for z ≥ 0, exact in relation to its size.

    For few degrees of freedom by quadrature over the angle t = a u³ from the far end on, z tan(a) = √n: c times the
    integral of sin(t)^(n-1), where the cube smooths a power of t that is not whole. Otherwise by the incomplete beta
    function.
    """
    angle = torch.atan2(df.sqrt(), z)
    nodes, weights = (torch.as_tensor(one, dtype=z.dtype, device=z.device)[:, None] for one in TAIL_RULE)
    nodes = 0.5 + 0.5 * nodes
    heights = torch.sin(angle * nodes**3).log_().mul_(df - 1).exp_()  # [node, n]
    tail = _constant(df) * angle * (1.5 * weights * nodes**2 * heights).sum(0)
    many = (df > FEWER).nonzero()[:, 0]
    if len(many):
        weight = z[many] ** 2 / df[many]
        x, half = 1 / (1 + weight), 0.5 * df[many]
        tail[many] = 0.5 * incomplete_beta(half, torch.full_like(half, 0.5), x, weight * x)
    return tail


def _constant(df: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """The factor Γ((n+1)/2)/(√pi Γ(n/2)) of both integrals."""
    return (torch.lgamma(0.5 * (df + 1)) - torch.lgamma(0.5 * df)).exp() / math.sqrt(math.pi)


class StudentTFamily(MappedFamily):
    """Student's t with learned degrees of freedom above 2, location and scale."""

    target = "student_t.StudentTOutput"
    maps: ClassVar = {"df": degrees, "loc": real, "scale": positive}
    makes = StudentT
