"""Packed losses (specification, section 10).

A loss gives one value per element, `packed_mean` reduces it: mean over the counted elements of a
group (one variate of one sample), then mean over all groups of the batch that have a prediction
token.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from moirai.tokens import group_index, group_sum


def pinball(
    predicted: Float[Tensor, "*batch quantile patch"],
    target: Float[Tensor, "*batch patch"],
    levels: Float[Tensor, "quantile"],
) -> Float[Tensor, "*batch patch"]:
    """Mean over the levels of `q * e` where the target lies above, `(q - 1) * e` where below."""
    error = target[..., None, :] - predicted
    level = levels[:, None]
    return torch.maximum(level * error, (level - 1) * error).mean(-2)


def packed_mean(
    elementwise: Float[Tensor, "batch seq element"],
    counted: Bool[Tensor, "batch seq element"],
    prediction_mask: Bool[Tensor, "batch seq"],
    sample_id: Int[Tensor, "batch seq"],
    variate_id: Int[Tensor, "batch seq"],
) -> Float[Tensor, ""]:
    """Reduce a loss so that every group weighs the same, however many values it has.

    Args:
        elementwise: finite wherever it is counted.
        counted: elements that are predicted and observed.
        prediction_mask: tokens that predict; a group with at least one counts even if all its
            values are missing.
        sample_id: 1, 2, … inside a row; 0 is padding.
        variate_id: identity of the variate inside its sample.
    """
    group = group_index(sample_id, variate_id)
    observed = group_sum(counted.sum(-1).to(elementwise.dtype), group)
    predicted = group_sum(prediction_mask.to(elementwise.dtype), group)
    groups = (prediction_mask / predicted.clamp(min=1)).sum()
    kept = torch.where(counted, elementwise, 0.0).sum(-1)
    return (kept / observed.clamp(min=1)).sum() / groups.clamp(min=1)


def packed_quantile_loss(
    predicted: Float[Tensor, "batch seq quantile patch"],
    target: Float[Tensor, "batch seq patch"],
    levels: Float[Tensor, "quantile"],
    *,
    observed_mask: Bool[Tensor, "batch seq patch"],
    prediction_mask: Bool[Tensor, "batch seq"],
    sample_id: Int[Tensor, "batch seq"],
    variate_id: Int[Tensor, "batch seq"],
) -> Float[Tensor, ""]:
    """Quantile loss of predictions that stand at the token they describe."""
    counted = observed_mask & prediction_mask[..., None]
    loss = pinball(predicted, target, levels)
    return packed_mean(loss, counted, prediction_mask, sample_id, variate_id)
