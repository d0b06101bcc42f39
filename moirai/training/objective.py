"""What Moirai 2.0 is trained on: every origin predicts the patches that follow it.

Statistics come from the context part of a sample alone (`prediction_mask` false); tokens whose next
patch lies in the prediction part are the origins, so no origin sees a statistic of its own future
(Moirai 2.0 report, section on pretraining: normalisation by the first part of a series, quantile
loss on what follows).
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from moirai.losses import packed_mean, pinball
from moirai.models.moirai2 import Moirai2Module
from moirai.tokens import PackedTokens

# Scaled targets beyond it (a jump after a constant context) are held there; they would drown the
# batch.
TARGET_CLIP = 20.0


def next_patches(
    values: Float[Tensor, "batch seq patch"], tokens: PackedTokens, ahead: int
) -> tuple[Float[Tensor, "batch seq ahead patch"], Bool[Tensor, "batch seq ahead patch"]]:
    """The patches that follow each token, and which of their values count.

    A value counts when it is observed, to be predicted and of the same variate. Tokens of one
    variate stand side by side in time order, so entry k of a token is its neighbour k + 1 to the
    right.
    """
    batch, seq, patch = values.shape
    following = values.new_zeros(batch, seq, ahead, patch)
    counted = torch.zeros_like(following, dtype=torch.bool)
    for k in range(min(ahead, seq - 1)):
        step = k + 1
        follows = (
            (tokens.sample_id[:, step:] == tokens.sample_id[:, :-step])
            & (tokens.sample_id[:, step:] > 0)
            & (tokens.variate_id[:, step:] == tokens.variate_id[:, :-step])
            & (tokens.time_id[:, step:] == tokens.time_id[:, :-step] + step)
        )
        follows = follows & tokens.prediction_mask[:, step:]
        following[:, :-step, k] = values[:, step:]
        counted[:, :-step, k] = tokens.observed_mask[:, step:] & follows[..., None]
    return following, counted & counted_origins(tokens)[..., None, None]


def counted_origins(tokens: PackedTokens) -> Bool[Tensor, "batch seq"]:
    """Tokens whose next patch of the same variate is to be predicted."""
    origin = torch.zeros_like(tokens.prediction_mask)
    origin[:, :-1] = (
        tokens.prediction_mask[:, 1:]
        & (tokens.sample_id[:, 1:] == tokens.sample_id[:, :-1])
        & (tokens.variate_id[:, 1:] == tokens.variate_id[:, :-1])
    )
    return origin


def median_error(
    predicted: Float[Tensor, "*batch quantile patch"],
    target: Float[Tensor, "*batch patch"],
    levels: Float[Tensor, "quantile"],
) -> Float[Tensor, "*batch patch"]:
    """Error of the level nearest to one half."""
    middle = int((levels - 0.5).abs().argmin())
    return predicted[..., middle, :] - target


def quantile_objective(
    module: Moirai2Module,
    tokens: PackedTokens,
    *,
    target_tokens: int | None = None,
    error: Callable[[Tensor, Tensor, Tensor], Tensor] = pinball,
) -> Float[Tensor, ""]:
    """Mean quantile loss, in scaled space, of all origins and all patches that each predicts.

    Only origins are projected to quantiles. A batch without any costs nothing.

    Args:
        module: the network.
        tokens: packed samples.
        target_tokens: tokens at the start of every row that are predicted, those behind them are covariates and only
            looked at; None: all.
        error: what a predicted value costs, of the quantiles, the target and the levels.
    """
    scaling = module.scaling(tokens)
    encoded = module.encode_scaled(tokens, scaling)
    if target_tokens is not None:
        index = torch.arange(target_tokens, device=tokens.target.device)
        tokens, scaling, encoded = tokens.select(index), scaling.select(index), encoded[:, :target_tokens]
    origins = counted_origins(tokens)
    if not origins.any():
        return encoded.sum() * 0
    scaled = ((tokens.target - scaling.loc) / scaling.scale).clamp(-TARGET_CLIP, TARGET_CLIP)
    following, counted = next_patches(scaled, tokens, module.config.num_predict_token)
    levels = torch.tensor(module.config.quantile_levels, device=scaled.device)
    predicted = module.head(encoded[origins]).float()  # [origin, ahead, quantile, patch]
    loss = error(predicted, following[origins], levels)  # [origin, ahead, patch]
    return mean_over_groups(loss.flatten(1), counted[origins].flatten(1), tokens, origins)


def mean_over_groups(
    elementwise: Float[Tensor, "chosen element"],
    counted: Bool[Tensor, "chosen element"],
    tokens: PackedTokens,
    chosen: Bool[Tensor, "batch seq"],
) -> Float[Tensor, ""]:
    """As `packed_mean`, of the chosen tokens alone, in the order of rows: all of them predict."""
    row = torch.arange(len(chosen), device=chosen.device)[:, None]
    sample: Int[Tensor, "batch seq"] = row * (tokens.sample_id.amax() + 1) + tokens.sample_id
    ids = sample[chosen][None], tokens.variate_id[chosen][None]
    return packed_mean(elementwise[None], counted[None], torch.ones_like(ids[0], dtype=torch.bool), *ids)
