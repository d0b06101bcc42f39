"""Quantile decoding of Moirai 2.0: one pass where the horizon allows, otherwise a roll-out.

The roll-out is the published one (specification, section 11.4): a copy of the batch per quantile
path, statistics recomputed with the written values, new quantiles from all pairs of path and level.
What causality makes invisible is left out of every pass (future tokens that are not written yet),
which changes no number.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from moirai.models.moirai2 import Moirai2Module
from moirai.tokens import ForecastInputs, PackedTokens, TokenLayout, forecast_tokens, token_layout

Quantiles = Float[Tensor, "batch quantile horizon target"]


def passes(module: Moirai2Module, horizon: int) -> int:
    """Forward passes that a horizon takes."""
    config = module.config
    return -(-horizon // (config.patch_size * config.num_predict_token))


@torch.inference_mode()
def decode_quantiles(module: Moirai2Module, inputs: ForecastInputs, *, horizon: int) -> Quantiles:
    """Quantile forecast of every target, in data units, at the model's own levels.

    Quantiles may cross.

    Args:
        module: in evaluation mode.
        inputs: on the module's device, missing values already filled.
        horizon: steps to forecast.
    """
    config = module.config
    layout = token_layout(inputs, horizon=horizon, patch_size=config.patch_size)
    tokens = forecast_tokens(inputs, horizon=horizon, patch_size=config.patch_size)
    paths = _predict(module, tokens, layout, written=0)  # [batch, target, token, quantile, patch]
    if layout.future_tokens > config.num_predict_token:
        paths = _roll_out(module, tokens, layout, paths)
    steps = paths.permute(0, 3, 2, 4, 1).flatten(2, 3)  # [batch, quantile, token * patch, target]
    return steps[:, :, :horizon].contiguous()


def _roll_out(
    module: Moirai2Module,
    tokens: PackedTokens,
    layout: TokenLayout,
    first: Float[Tensor, "batch target token quantile patch"],
) -> Float[Tensor, "batch target future_token quantile patch"]:
    """Go on from the first pass until every future token has its quantiles."""
    num_quantiles, ahead = module.config.num_quantiles, module.config.num_predict_token
    levels = torch.tensor(module.config.quantile_levels, dtype=first.dtype, device=first.device)
    copies = tokens.repeat_rows(num_quantiles)  # row b * quantile + q follows path q
    parts, written = [first], 0
    while True:
        copies = _write(copies, layout, parts[-1], at=written)
        written += parts[-1].shape[2]
        remaining = layout.future_tokens - written
        if remaining <= 0:
            return torch.cat(parts, dim=2)
        following = _predict(module, copies, layout, written=written)[:, :, : min(ahead, remaining)]
        # [batch * path, target, token, quantile, patch] -> pairs of path and level side by side
        pairs = torch.unflatten(following, 0, (-1, num_quantiles)).movedim(1, -2).flatten(-3, -2)
        parts.append(empirical_quantiles(pairs, levels))


def _predict(
    module: Moirai2Module, tokens: PackedTokens, layout: TokenLayout, *, written: int
) -> Float[Tensor, "row target token quantile patch"]:
    """Quantiles of the patches after the last token that holds a value, in data units."""
    scaling = module.scaling(tokens)  # of the whole row: known features count into the future
    seen = layout.up_to(written)
    index = torch.tensor(seen, device=tokens.target.device)
    last = layout.future(written - 1) if written else layout.last_past()
    place = {position: order for order, position in enumerate(seen)}
    chosen = torch.tensor([place[position] for position in last], device=index.device)
    read = scaling.select(torch.tensor(last, device=index.device))
    encoded = module.encode_scaled(tokens.select(index), scaling.select(index), positions=chosen)
    scaled = module.head(encoded).float()
    return scaled * read.scale[..., None, None] + read.loc[..., None, None]


def _write(
    copies: PackedTokens,
    layout: TokenLayout,
    paths: Float[Tensor, "batch target token quantile patch"],
    *,
    at: int,
) -> PackedTokens:
    """Write path q into copy q as known values of the future tokens from `at` on."""
    target, mask = copies.target.clone(), copies.prediction_mask.clone()
    observed = copies.observed_mask.clone()
    for token in range(paths.shape[2]):
        positions = torch.tensor(layout.future(at + token), device=target.device)
        values = paths[:, :, token].transpose(1, 2).flatten(0, 1)  # [batch * quantile, target, patch]
        target[:, positions] = values
        mask[:, positions] = False
        observed[:, positions] = True
    return copies.replace(target=target, prediction_mask=mask, observed_mask=observed)


def empirical_quantiles(
    values: Float[Tensor, "batch target token pair patch"], levels: Float[Tensor, "quantile"]
) -> Float[Tensor, "batch target token quantile patch"]:
    """Quantiles over the pairs, with linear interpolation at position `level * (pairs - 1)`."""
    ordered = values.sort(dim=-2).values
    position = levels * (values.shape[-2] - 1)
    below = position.floor().long()
    above = (below + 1).clamp(max=values.shape[-2] - 1)
    weight = (position - below)[:, None]
    return torch.lerp(ordered[..., below, :], ordered[..., above, :], weight)
