"""Standardisation per sample and variate (specification, section 3).

In: packed values with a mask of those that may be looked at. Out: location and scale of every
token, float32. Sums are gathered per group with one scatter, in float64: O(tokens), no comparison
of all pairs.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from moirai.tokens import PackedTokens, group_index, group_sum

MINIMUM_SCALE = 1e-5  # added to the variance, so the smallest scale is its square root


@dataclass(frozen=True)
class Scaling:
    """Location and scale of every token."""

    loc: Float[Tensor, "batch seq 1"]
    scale: Float[Tensor, "batch seq 1"]

    @classmethod
    def of(cls, tokens: PackedTokens, *, enabled: bool = True) -> "Scaling":
        """Statistics of the observed values outside the forecast window; 0 and 1 if not `enabled`."""
        if not enabled:
            zero = torch.zeros_like(tokens.target[..., :1])
            return cls(zero, zero + 1)
        visible = tokens.observed_mask & ~tokens.prediction_mask[..., None]
        return cls(*standard_scale(tokens.target, visible, tokens.sample_id, tokens.variate_id))

    def apply(self, target: Float[Tensor, "batch seq patch"]) -> Float[Tensor, "batch seq patch"]:
        """Standardised values; missing ones hold filler, which is moved and scaled as well."""
        return (target - self.loc) / self.scale

    def select(self, index: Int[Tensor, "chosen"]) -> "Scaling":
        """The tokens at these positions of every row."""
        return Scaling(self.loc.index_select(1, index), self.scale.index_select(1, index))


def standard_scale(
    target: Float[Tensor, "batch seq patch"],
    visible_mask: Bool[Tensor, "batch seq patch"],
    sample_id: Int[Tensor, "batch seq"],
    variate_id: Int[Tensor, "batch seq"],
    *,
    minimum_scale: float = MINIMUM_SCALE,
    correction: int = 1,
) -> tuple[Float[Tensor, "batch seq 1"], Float[Tensor, "batch seq 1"]]:
    """Mean and standard deviation of the visible values of each token's sample and variate.

    Args:
        target: values; anything finite where not visible.
        visible_mask: values that count (observed and not to be predicted).
        sample_id: 1, 2, … inside a row; 0 is padding.
        variate_id: identity of the variate inside its sample.
        minimum_scale: added to the variance.
        correction: subtracted from the count in the variance (1: unbiased).

    Returns:
        loc and scale, float32; padding tokens get 0 and 1, groups without a visible value 0 and
        sqrt(minimum_scale).
    """
    group = group_index(sample_id, variate_id)
    weight = visible_mask.double()
    values = torch.where(visible_mask, target.double(), 0.0)
    count = group_sum(weight.sum(-1), group)
    loc = group_sum(values.sum(-1), group) / count.where(count != 0, 1.0)
    squares = ((values - loc[..., None]) ** 2 * weight).sum(-1)
    freedom = count - correction
    variance = group_sum(squares, group) / freedom.where(freedom != 0, 1.0)
    scale = (variance + minimum_scale).sqrt()
    is_padding = sample_id == 0
    loc = loc.masked_fill(is_padding, 0.0)
    scale = scale.masked_fill(is_padding, 1.0)
    return loc.float()[..., None], scale.float()[..., None]
