"""Maps of raw network outputs into the domains of parameters (specification, section 9).

Half precision is widened to float32 first: the log densities need it.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

EPSILON = torch.finfo(torch.float32).eps  # smallest scale
TINY = torch.finfo(torch.float32).tiny  # where softplus ends in 0, at which a count has no density
LEAST_MOMENTS = 2.0  # degrees of freedom and tail index above it: the variance exists

Numbers = Float[Tensor, "..."]


def real(raw: Numbers) -> Numbers:
    """The raw value itself."""
    return raw if raw.dtype == torch.float64 else raw.float()


def positive(raw: Numbers) -> Numbers:
    """max(softplus(v), epsilon)."""
    return functional.softplus(real(raw)).clamp(min=EPSILON)


def count(raw: Numbers) -> Numbers:
    """softplus(v), held above 0."""
    return functional.softplus(real(raw)).clamp(min=TINY)


def degrees(raw: Numbers) -> Numbers:
    """2 + softplus(v)."""
    return LEAST_MOMENTS + functional.softplus(real(raw))


def tail_index(raw: Numbers) -> Numbers:
    """2 + max(softplus(v), epsilon)."""
    return LEAST_MOMENTS + positive(raw)
