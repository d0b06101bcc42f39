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
HALF = 0.5
FARTHEST = 1e300  # bounds beyond it are held there
FIRST_WHOLE = 4  # whole numbers, from 0 on, at which a law is looked at once for all probabilities
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
        return (self.weights * torch.stack([law.cdf(value) for law in self.laws])).sum(0)

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


@dataclass(frozen=True)
class Steps:
    """The sums over the smooth laws and over those on the whole numbers, at 0, 1, 2, …: one column per point."""

    smooth: Float[Tensor, "whole point"]
    lattice: Float[Tensor, "whole point"]

    @classmethod
    def of(cls, blend: Blend) -> "Steps":
        """The first `FIRST_WHOLE` of them."""
        smooth, lattice = blend.part(lattice=False), blend.part(lattice=True)
        points = [torch.full_like(blend.weights[0], float(whole)) for whole in range(FIRST_WHOLE)]
        none = torch.zeros_like(blend.weights[0])
        sums = [[part.cdf(point) if part.laws else none for point in points] for part in (smooth, lattice)]
        return cls(torch.stack(sums[0]), torch.stack(sums[1]))

    def take(self, index: Int[Tensor, "chosen"]) -> "Steps":
        """Those of these points."""
        return Steps(self.smooth[:, index], self.lattice[:, index])


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
    batch = weights.shape[:-1]
    if shape[len(shape) - len(batch) :] != batch:  # else the flat points are the laws, once for every probability
        batch = shape
    flat_weights = weights.double().expand(*batch, len(laws)).reshape(-1, len(laws))
    own = Blend(flat_weights.T, tuple(law.map(lambda one: one.double().expand(batch).flatten()) for law in laws))
    level = probability.double().expand(shape).flatten()
    steps = Steps.of(own) if any(law.is_lattice for law in laws) else None
    count = max(own.weights.shape[1], 1)
    found = []
    for block in torch.arange(len(level), device=level.device).split(BLOCK[level.device.type == "cpu"]):
        which = block % count
        found.append(_quantile(own.take(which), level[block], None if steps is None else steps.take(which)))
    is_defined = own.is_defined.repeat(len(level) // count) if len(level) else own.is_defined[:0]
    result = torch.where(is_defined, torch.cat(found), torch.nan) if found else level
    return result.reshape(shape).to(weights.dtype)


def _quantile(blend: Blend, level: Float[Tensor, "point"], steps: Steps | None) -> Float[Tensor, "point"]:
    smooth, lattice = blend.part(lattice=False), blend.part(lattice=True)
    low, high = blend.bracket(level)
    if steps is None:
        return _root(smooth, level, low, high)
    whole = _first_whole(blend, level, low, steps)
    if not smooth.laws:
        return whole
    rest = level - _at_whole(lattice, whole - 1, steps.lattice)  # what the smooth laws must reach below it
    is_beyond = whole >= LARGEST_WHOLE
    passes = _at_whole(smooth, whole, steps.smooth) < rest  # the jump itself passes the level
    index = (is_beyond | ~passes).nonzero()[:, 0]
    after = torch.where(whole > 0, torch.maximum(low, whole - 1), low)
    before = torch.where(is_beyond, high, torch.minimum(high, whole))
    root = _root(smooth.take(index), rest[index], after[index], before[index])
    return whole.index_copy(0, index, root)


def _at_whole(
    blend: Blend, whole: Float[Tensor, "point"], known: Float[Tensor, "whole point"]
) -> Float[Tensor, "point"]:
    """The sum at whole numbers from -1 on, below which nothing lies on the lattice; looked up where it is known."""
    place = whole.nan_to_num(0.0).clamp(0, FIRST_WHOLE - 1).long()
    found = torch.where(whole < 0, 0.0, known.gather(0, place[None])[0])
    beyond = (whole >= FIRST_WHOLE).nonzero()[:, 0]
    if len(beyond):
        found[beyond] = blend.take(beyond).cdf(whole[beyond])
    return found


def _first_whole(
    blend: Blend, level: Float[Tensor, "point"], low: Float[Tensor, "point"], steps: Steps
) -> Float[Tensor, "point"]:
    """Smallest whole number from 0 on at which the sum reaches the level: looked up, else gallop, then halve."""
    is_reached = steps.smooth + steps.lattice >= level
    result = is_reached.double().argmax(0).to(level.dtype)
    place = (~is_reached.any(0)).nonzero()[:, 0]
    if not len(place):
        return result
    blend, level = blend.take(place), level[place]
    below = (low[place].ceil() - 2).clamp(FIRST_WHOLE - 1, LARGEST_WHOLE)  # the level is not reached there
    reached = below + 1
    found = torch.zeros_like(level, dtype=torch.bool)  # the level is reached at `reached`
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
    """Widen brackets until the sum passes the level inside them; returns both ends and by how much it misses there."""
    farthest = torch.tensor(FARTHEST, dtype=low.dtype).asinh().item()
    width = (high - low).clamp(min=ROOT_TOLERANCE)
    while True:
        at_low, at_high = blend.cdf(low.sinh()) - level, blend.cdf(high.sinh()) - level
        too_high = (at_low > 0) & (low > -farthest)
        too_low = (at_high < 0) & (high < farthest)
        if not bool((too_high | too_low).any()):
            return low, high, at_low, at_high
        low = torch.where(too_high, low - width, low).clamp(min=-farthest)
        high = torch.where(too_low, high + width, high).clamp(max=farthest)
        width = 2 * width
