"""The regularised incomplete beta function, which torch lacks.

    I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) · 1/(1 + d₁/(1 + d₂/(1 + …)))

with the continued fraction of DLMF 8.17.22, evaluated by the modified Lentz method. It converges
fast for x below (a + 1)/(a + b + 2); beyond, I_x(a, b) = 1 - I_{1-x}(b, a) is used. Where b is much
larger than a the fraction needs very many terms, and the leading term of the expansion of Didonato
and Morris (ACM TOMS 18, 1992, BGRAT) is exact enough:

    I_x(a, b) = P(a, -(b + (a - 1)/2) log(1 - x)),    P the regularised incomplete gamma function
"""

import torch
from jaxtyping import Float
from torch import Tensor

TOLERANCE = 1e-12  # relative change at which a fraction counts as converged
SMALLEST = 1e-300  # stands in for a denominator that vanishes
GAMMA_LIMIT = (
    1e-9  # of the cube of the smaller (at least 1) over the square of the larger argument: the order of the error
)
MOST_TERMS = 20_000  # about the square root of the larger argument is needed
CHECK_EVERY = 2  # terms between two looks at what has converged

Numbers = Float[Tensor, "..."]
Flat = Float[Tensor, "n"]


@torch.no_grad()
def incomplete_beta(a: Numbers, b: Numbers, x: Numbers, complement: Numbers) -> Numbers:
    """I_x(a, b) in float64, to 1e-12 for arguments up to 1e3 and 1e-8 around 1e7.

    Args:
        a: positive.
        b: positive.
        x: in [0, 1].
        complement: 1 - x, given apart because it may be tiny.
    """
    given = torch.broadcast_tensors(a.double(), b.double(), x.double(), complement.double())
    a, b, x, complement = (one.flatten() for one in given)
    swapped = x > (a + 1) / (a + b + 2)
    first, second = torch.where(swapped, b, a), torch.where(swapped, a, b)
    near, far = torch.where(swapped, complement, x), torch.where(swapped, x, complement)
    log_front = torch.xlogy(first, near) + torch.xlogy(second, far)
    log_front = log_front + torch.lgamma(first + second) - torch.lgamma(first + 1) - torch.lgamma(second)
    is_gamma = torch.minimum(a, b).clamp(min=1) ** 3 < GAMMA_LIMIT * torch.maximum(a, b) ** 2
    part = log_front.exp() * _fraction(first, second, torch.where(is_gamma, 0.0, near))
    place = is_gamma.nonzero()[:, 0]
    part[place] = _gamma_limit(*(one[place] for one in (first, second, near, far)))
    return torch.where(swapped, 1 - part.clamp(0, 1), part.clamp(0, 1)).view_as(given[0])


def _gamma_limit(a: Flat, b: Flat, x: Flat, complement: Flat) -> Flat:
    """I_x(a, b) where one argument is much larger: a gamma distribution, see the module."""
    is_second = b > a
    small, large = torch.where(is_second, a, b), torch.where(is_second, b, a)
    base, rest = torch.where(is_second, complement, x), torch.where(is_second, x, complement)
    logarithm = torch.where(base > rest, torch.log1p(-rest), base.log())
    rate = -(large + 0.5 * (small - 1)) * logarithm
    return torch.where(is_second, torch.special.gammainc(small, rate), torch.special.gammaincc(small, rate))


def _fraction(a: Flat, b: Flat, x: Flat) -> Flat:
    """The continued fraction; what has converged is left out of further terms."""
    result = torch.empty_like(x)
    place = torch.arange(len(x), device=x.device)
    one = torch.ones_like(x)
    c, d = one, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1 / _nonzero(1 + even * d), _nonzero(1 + even / c)
        value = value * d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1 / _nonzero(1 + odd * d), _nonzero(1 + odd / c)
        change = d * c
        value = value * change
        if m % CHECK_EVERY:
            continue
        going = (change - 1).abs() > TOLERANCE
        result[place] = value
        if not bool(going.any()):
            break
        if 2 * int(going.sum()) < len(place):
            a, b, x, c, d, value, place = (t[going] for t in (a, b, x, c, d, value, place))
    return result


def _nonzero(x: Numbers) -> Numbers:
    return torch.where(x.abs() < SMALLEST, SMALLEST, x)
