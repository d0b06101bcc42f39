"""What Moirai 2.0 is trained on: every origin predicts the patches that follow it.

Statistics come from the context part of a sample alone (`prediction_mask` false); tokens whose next
patch lies in the prediction part are the origins, so no origin sees a statistic of its own future
(Moirai 2.0 report, section on pretraining: normalisation by the first part of a series, quantile
loss on what follows).
"""

import torch
from jaxtyping import Bool, Float
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


def quantile_objective(
    module: Moirai2Module, tokens: PackedTokens, *, target_tokens: int | None = None
) -> Float[Tensor, ""]:
    """Mean quantile loss, in scaled space, of all origins and all patches that each predicts.

    Args:
        module: the network.
        tokens: packed samples.
        target_tokens: tokens at the start of every row that are predicted, those behind them are covariates and only
            looked at; None: all.
    """
    scaling = module.scaling(tokens)
    encoded = module.encode_scaled(tokens, scaling)
    if target_tokens is not None:
        index = torch.arange(target_tokens, device=tokens.target.device)
        tokens, scaling, encoded = tokens.select(index), scaling.select(index), encoded[:, :target_tokens]
    predicted = module.head(encoded).float()  # [batch, seq, ahead, quantile, patch]
    scaled = ((tokens.target - scaling.loc) / scaling.scale).clamp(-TARGET_CLIP, TARGET_CLIP)
    following, counted = next_patches(scaled, tokens, module.config.num_predict_token)
    levels = torch.tensor(module.config.quantile_levels, device=scaled.device)
    loss = pinball(predicted, following, levels)  # [batch, seq, ahead, patch]
    return packed_mean(
        loss.flatten(2),
        counted.flatten(2),
        counted_origins(tokens),
        tokens.sample_id,
        tokens.variate_id,
    )
