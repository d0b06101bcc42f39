"""Rotary position embedding of part of each head.

Specification, section 5.3; Su et al. 2021, section 3.4.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

BASE = 10_000.0


def rotary_table(
    time_id: Int[Tensor, "batch seq"], width: int
) -> tuple[Float[Tensor, "batch 1 seq half"], Float[Tensor, "batch 1 seq half"]]:
    """Cosines and sines of every token, computed once per forward and shared by all layers.

    Args:
        time_id: position of the token's patch on its time axis.
        width: rotated dimensions of a head, even; pair j turns by
            `time_id * BASE ** (-2 j / width)`.
    """
    exponent = torch.arange(0, width, 2, dtype=torch.float32, device=time_id.device) / width
    theta = torch.pow(BASE, -exponent)
    angle = time_id[:, None, :, None].float() * theta  # float32 products, as the published tables
    return angle.cos(), angle.sin()


def rotate(
    x: Float[Tensor, "batch head seq dim"],
    cos: Float[Tensor, "batch 1 seq half"],
    sin: Float[Tensor, "batch 1 seq half"],
) -> Float[Tensor, "batch head seq dim"]:
    """Rotate adjacent pairs of the first `2 * half` dimensions; the rest passes through."""
    width = 2 * cos.shape[-1]
    even, odd = x[..., 0:width:2], x[..., 1:width:2]
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    pairs = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
    return torch.cat((pairs.flatten(-2), x[..., width:]), dim=-1)
