"""Quantiles of a weighted sum of distribution functions, without sampling.

    F(y) = Σ w_k F_k(y)        quantile(p) = min{y : F(y) ≥ p}

Laws on the whole numbers make F jump there. So the first whole number at which F reaches p is
found; between its neighbours F is smooth, and the root lies there unless the jump itself passes p.
Roots are found with Chandrupatla's method (inverse quadratic steps kept safe by bisection; Adv.
Eng. Softw. 28, 1997) on asinh(y), whose steps are relative for large values and absolute for small
ones. All of it is in float64 and the same at every call: an error of at most 1e-8·sqrt(1 + y²), or
a probability within 1e-12 of p.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from moirai.distributions.base import Distribution, Numbers

ROOT_TOLERANCE = 1e-8  # of asinh(y)
PROBABILITY_TOLERANCE = 1e-12
MOST_STEPS = 200  # halvings of the widest bracket: about 40
FARTHEST = 1e300  # bounds beyond it are held there
BLOCK = {True: 2**16, False: 2**20}  # points at a time, on a CPU (its cache holds them) and elsewhere
LARGEST_WHOLE = 2.0**52  # beyond it neighbours of whole numbers are no longer told apart


@dataclass(frozen=True)
class Blend:
    """A weighted sum of flat laws, one per point."""

    weights: Float[Tensor, "law point"]
    laws: tuple[Distribution, ...]

    @property
    def is_defined(self) -> Bool[Tensor, "point"]:
        """Where no parameter is NaN."""
        parameters = [parameter for law in self.laws for parameter in law.parameters]
        return ~torch.stack([*self.weights, *parameters]).isnan().any(0)

    def cdf(self, value: Float[Tensor, "point"]) -> Float[Tensor, "point"]:
        """Σ w_k F_k(y)."""
        total = torch.zeros_like(value)
        for weight, law in zip(self.weights, self.laws, strict=True):
            total = total + weight * law.cdf(value)
        return total

    def take(self, index: Int[Tensor, "chosen"]) -> "Blend":
        """The sum at these points."""
        return Blend(self.weights[:, index], tuple(law.take(index) for law in self.laws))

    def part(self, *, lattice: bool) -> "Blend":
        """The laws on the whole numbers, or the others."""
        kept = [k for k, law in enumerate(self.laws) if law.is_lattice is lattice]
        return Blend(self.weights[kept], tuple(self.laws[k] for k in kept))

    def bracket(self, level: Float[Tensor, "point"]) -> tuple[Float[Tensor, "point"], Float[Tensor, "point"]]:
        """Between the smallest and the largest quantile of the laws that count."""
        bounds = [torch.stack(law.bracket(level)) for law in self.laws]
        lows, highs = torch.stack(bounds, dim=1)
        counts = self.weights > 0
        low = torch.where(counts, lows, torch.inf).amin(0)
        high = torch.where(counts, highs, -torch.inf).amax(0)
        return low.clamp(-FARTHEST, FARTHEST), high.clamp(-FARTHEST, FARTHEST)


@torch.no_grad()
def invert(laws: Sequence[Distribution], weights: Float[Tensor, "*batch law"], probability: Numbers) -> Numbers:
    """Quantiles of the mixture of laws; see the module.

    Args:
        laws: share the batch of the weights.
        weights: sum to 1.
        probability: inside (0, 1); broadcasts against the batch.

    Returns:
        NaN where a parameter is NaN.
    """
    shape = torch.broadcast_shapes(probability.shape, weights.shape[:-1])
    flat_laws = tuple(law.map(lambda parameter: parameter.double().expand(shape).flatten()) for law in laws)
    flat_weights = weights.double().expand(*shape, len(laws)).reshape(-1, len(laws))
    blend = Blend(flat_weights.T, flat_laws)
    level = probability.double().expand(shape).flatten()
    places = torch.arange(len(level), device=level.device).split(BLOCK[level.device.type == "cpu"])
    found = torch.cat([_quantile(blend.take(block), level[block]) for block in places])
    found = torch.where(blend.is_defined, found, torch.nan)
    return found.reshape(shape).to(weights.dtype)


def _quantile(blend: Blend, level: Float[Tensor, "point"]) -> Float[Tensor, "point"]:
    smooth, lattice = blend.part(lattice=False), blend.part(lattice=True)
    low, high = blend.bracket(level)
    if not lattice.laws:
        return _root(smooth, level, low, high)
    whole = _first_whole(blend, level, low)
    if not smooth.laws:
        return whole
    rest = level - lattice.cdf(whole - 1)  # what the smooth laws must reach below the whole number
    is_beyond = whole >= LARGEST_WHOLE
    index = (is_beyond | (smooth.cdf(whole) >= rest)).nonzero()[:, 0]  # elsewhere the jump passes the level
    after = torch.where(whole > 0, torch.maximum(low, whole - 1), low)
    before = torch.where(is_beyond, high, torch.minimum(high, whole))
    root = _root(smooth.take(index), rest[index], after[index], before[index])
    return whole.index_copy(0, index, root)


def _first_whole(blend: Blend, level: Float[Tensor, "point"], low: Float[Tensor, "point"]) -> Float[Tensor, "point"]:
    """Smallest whole number from 0 on at which the sum reaches the level: gallop, then halve."""
    below = (low.ceil() - 2).clamp(-1, LARGEST_WHOLE)  # the level is not reached there; -1: not looked at
    reached = below + 1
    found = torch.zeros_like(level, dtype=torch.bool)  # the level is reached at `reached`
    result = torch.empty_like(level)
    place = torch.arange(len(level), device=level.device)
    stride = 1.0
    while len(place):
        probe = torch.where(found, ((below + reached) / 2).ceil(), reached)
        hit = (blend.cdf(probe) >= level) | (probe >= LARGEST_WHOLE)
        below = torch.where(hit, below, probe)
        reached = torch.where(hit, probe, torch.where(found, reached, (probe + stride).clamp(max=LARGEST_WHOLE)))
        found = found | hit
        stride = 2 * stride
        result[place] = reached
        going = ((~found & (reached < LARGEST_WHOLE)) | (reached - below > 1)).nonzero()[:, 0]
        if 2 * len(going) < len(place):  # leave out what is found
            blend = blend.take(going)
            below, reached, found, level, place = (one[going] for one in (below, reached, found, level, place))
        elif not len(going):
            break
    return result


def _root(
    blend: Blend, level: Float[Tensor, "point"], low: Float[Tensor, "point"], high: Float[Tensor, "point"]
) -> Float[Tensor, "point"]:
    """Where the smooth sum equals the level (Chandrupatla's method on asinh)."""
    a, b, f_a, f_b = _enclose(blend, level, low.asinh(), high.asinh())
    t = torch.full_like(a, 0.5)
    result = torch.empty_like(a)
    place = torch.arange(len(a), device=a.device)
    for _ in range(MOST_STEPS):
        x = a + t * (b - a)
        f_x = blend.cdf(x.sinh()) - level
        same = f_x.sign() == f_a.sign()
        c, f_c = torch.where(same, a, b), torch.where(same, f_a, f_b)
        b, f_b = torch.where(same, b, a), torch.where(same, f_b, f_a)
        a, f_a = x, f_x
        result[place] = torch.where(f_a.abs() < f_b.abs(), a, b)
        miss = torch.minimum(f_a.abs(), f_b.abs())
        going = (((b - a).abs() > 2 * ROOT_TOLERANCE) & (miss > PROBABILITY_TOLERANCE)).nonzero()[:, 0]
        if not len(going):
            break
        t = _next_step((a, b, c), (f_a, f_b, f_c))
        if 2 * len(going) < len(place):
            blend = blend.take(going)
            a, b, f_a, f_b, t, level, place = (one[going] for one in (a, b, f_a, f_b, t, level, place))
    return result.sinh()


def _next_step(at: tuple[Numbers, Numbers, Numbers], misses: tuple[Numbers, Numbers, Numbers]) -> Numbers:
    """Fraction of the way from a to b: inverse quadratic where that is safe, else half."""
    (a, b, c), (f_a, f_b, f_c) = at, misses
    xi, phi = (a - b) / (c - b), (f_a - f_b) / (f_c - f_b)
    quadratic = f_a / (f_b - f_a) * f_c / (f_b - f_c) + (c - a) / (b - a) * f_a / (f_c - f_a) * f_b / (f_c - f_b)
    safe = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi) & quadratic.isfinite()
    least = (ROOT_TOLERANCE / (b - a).abs()).clamp(max=0.5)
    return torch.minimum(torch.maximum(torch.where(safe, quadratic, 0.5), least), 1 - least)


def _enclose(
    blend: Blend, level: Float[Tensor, "point"], low: Float[Tensor, "point"], high: Float[Tensor, "point"]
) -> tuple[Float[Tensor, "point"], Float[Tensor, "point"], Float[Tensor, "point"], Float[Tensor, "point"]]:
    """Widen brackets until the sum passes the level inside them; returns both ends and their misses."""
    farthest = torch.tensor(FARTHEST, dtype=low.dtype).asinh().item()
    width = (high - low).clamp(min=ROOT_TOLERANCE)
    while True:
        f_low, f_high = blend.cdf(low.sinh()) - level, blend.cdf(high.sinh()) - level
        too_high, too_low = (f_low > 0) & (low > -farthest), (f_high < 0) & (high < farthest)
        if not bool((too_high | too_low).any()):
            return low, high, f_low, f_high
        low = torch.where(too_high, low - width, low).clamp(min=-farthest)
        high = torch.where(too_low, high + width, high).clamp(max=farthest)
        width = 2 * width
