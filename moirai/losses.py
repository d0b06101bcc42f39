"""Packed losses (specification, section 10).

A loss gives one value per element, `packed_mean` reduces it: mean over the counted elements of a
group (one variate of one sample), then mean over all groups of the batch that have a prediction
token. Counted are the observed values of prediction tokens. Predictions stand at the token they
describe.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from moirai.distributions.base import Distribution
from moirai.tokens import PackedTokens, group_index, group_sum

MINIMUM_SQUARE = 1e-5  # added under the roots of normalisers and of RMSE

Elements = Float[Tensor, "batch seq patch"]
Normaliser = Literal[
    "none",
    "absolute_target",
    "absolute_target_squared",
    "target",
    "target_squared",
    "variance",
    "standard_deviation",
]


def pinball(
    predicted: Float[Tensor, "*batch quantile patch"],
    target: Float[Tensor, "*batch patch"],
    levels: Float[Tensor, "quantile"],
) -> Float[Tensor, "*batch patch"]:
    """Mean over the levels of `q * e` where the target lies above, `(q - 1) * e` where below."""
    error = target[..., None, :] - predicted
    level = levels[:, None]
    return torch.maximum(level * error, (level - 1) * error).mean(-2)


def absolute_error(predicted: Elements, tokens: PackedTokens) -> Elements:
    """|e|."""
    return (predicted - tokens.target).abs()


def squared_error(predicted: Elements, tokens: PackedTokens) -> Elements:
    """Equal to e²."""
    return (predicted - tokens.target) ** 2


def percentage_error(predicted: Elements, tokens: PackedTokens) -> Elements:
    """100 |e|/|y|."""
    return 100 * absolute_error(predicted, tokens) / _nonzero(tokens.target.abs())


def symmetric_percentage_error(predicted: Elements, tokens: PackedTokens) -> Elements:
    """200 |e|/(|y| + |p|); the denominator has no gradient."""
    size = tokens.target.abs() + predicted.detach().abs()
    return 200 * absolute_error(predicted, tokens) / _nonzero(size)


def log_squared_error(predicted: Elements, tokens: PackedTokens, *, freedom: float = 1.0) -> Elements:
    """Equal to log(1 + e²/(variance · freedom))."""
    relative = squared_error(predicted, tokens) / _nonzero(group_statistic(tokens, "variance"))
    return torch.log1p(relative / freedom)


def negative_log_likelihood(distribution: Distribution, tokens: PackedTokens) -> Elements:
    """Equal to -log p(y); of a distribution in data units it includes log scale."""
    return -distribution.log_prob(tokens.target)


POINT_ERRORS: Mapping[str, Callable[[Elements, PackedTokens], Elements]] = {
    "mae": absolute_error,
    "mse": squared_error,
    "mape": percentage_error,
    "smape": symmetric_percentage_error,
    "nmlse": log_squared_error,
}


def group_statistic(tokens: PackedTokens, normaliser: Normaliser) -> Float[Tensor, "batch seq 1"]:
    """What a normalised loss is divided by, at every token of a group.

    It is a statistic of the observed values of the whole group, context and prediction. For an
    NRMSE like ND the matching one is `absolute_target_squared`, as it divides the square.
    """
    group = group_index(tokens.sample_id, tokens.variate_id)
    weight = tokens.observed_mask.to(tokens.target.dtype)
    count = group_sum(weight.sum(-1), group)[..., None]

    def mean(values: Elements, *, correction: int = 0) -> Float[Tensor, "batch seq 1"]:
        kept = torch.where(tokens.observed_mask, values, 0.0)
        return group_sum(kept.sum(-1), group)[..., None] / _nonzero(count - correction)

    if normaliser == "none":
        return torch.ones_like(count)
    if normaliser.startswith("absolute_target"):
        statistic = mean(tokens.target.abs())
    elif normaliser.startswith("target"):
        statistic = mean(tokens.target)
    else:
        statistic = mean((tokens.target - mean(tokens.target)) ** 2, correction=1)
    if normaliser.endswith("squared"):
        return statistic**2
    return (statistic + MINIMUM_SQUARE).sqrt() if normaliser == "standard_deviation" else statistic


def packed_point_loss(
    name: Literal["mae", "mse", "mape", "smape", "nmlse"],
    predicted: Elements,
    tokens: PackedTokens,
    *,
    normaliser: Normaliser = "none",
) -> Float[Tensor, ""]:
    """A loss of point predictions, divided by a statistic of each group."""
    loss = POINT_ERRORS[name](predicted, tokens) / _nonzero(group_statistic(tokens, normaliser))
    return _packed(loss, tokens)


def packed_rmse(predicted: Elements, tokens: PackedTokens, *, normaliser: Normaliser = "none") -> Float[Tensor, ""]:
    """Root mean squared error of each group, then the mean over groups.

    The normaliser divides the square. With `target` it may be negative and the result NaN.
    """
    loss = squared_error(predicted, tokens) / _nonzero(group_statistic(tokens, normaliser))
    counted = counted_elements(tokens)
    group = group_index(tokens.sample_id, tokens.variate_id)
    total = group_sum(torch.where(counted, loss, 0.0).sum(-1), group)
    count = group_sum(counted.sum(-1).to(loss.dtype), group)
    root = (total + MINIMUM_SQUARE).sqrt() / _nonzero(count).sqrt()
    return _packed(root[..., None].expand_as(loss), tokens)


def packed_nll(distribution: Distribution, tokens: PackedTokens) -> Float[Tensor, ""]:
    """Negative log likelihood of the predicted, observed values."""
    return _packed(negative_log_likelihood(distribution, tokens), tokens)


def packed_nll_per_row(distribution: Distribution, tokens: PackedTokens) -> Float[Tensor, "batch"]:
    """Negative log likelihood of each row: the sum over its groups of the mean in a group.

    Moirai 1.x chooses the patch size of a series by it (specification, section 11.2).
    """
    loss, counted = negative_log_likelihood(distribution, tokens), counted_elements(tokens)
    return _group_means(loss, counted, group_index(tokens.sample_id, tokens.variate_id)).sum(-1)


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
    predicted = group_sum(prediction_mask.to(elementwise.dtype), group)
    groups = (prediction_mask / predicted.clamp(min=1)).sum()
    return _group_means(elementwise, counted, group).sum() / groups.clamp(min=1)


def counted_elements(tokens: PackedTokens) -> Bool[Tensor, "batch seq patch"]:
    """Observed values of prediction tokens."""
    return tokens.observed_mask & tokens.prediction_mask[..., None]


def _packed(elementwise: Elements, tokens: PackedTokens) -> Float[Tensor, ""]:
    counted = counted_elements(tokens)
    return packed_mean(elementwise, counted, tokens.prediction_mask, tokens.sample_id, tokens.variate_id)


def _group_means(
    elementwise: Float[Tensor, "batch seq element"],
    counted: Bool[Tensor, "batch seq element"],
    group: Int[Tensor, "batch seq"],
) -> Float[Tensor, "batch seq"]:
    """Each token's share of the mean of its group; what is not counted may be anything."""
    observed = group_sum(counted.sum(-1).to(elementwise.dtype), group)
    kept = torch.where(counted, elementwise, 0.0).sum(-1)
    return kept / observed.clamp(min=1)


def _nonzero(denominator: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """1 in place of 0."""
    return torch.where(denominator == 0, 1.0, denominator)
