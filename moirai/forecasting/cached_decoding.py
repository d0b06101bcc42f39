"""Quantile decoding of Moirai 2.0 with kept keys and values: an option that changes numbers a little.

The roll-out of `decoding` recomputes location and scale with what it has written, so that every
pass encodes whole rows. Here both stay those of the context: the context is encoded once, for all
quantile paths, and a further pass costs its new tokens only. Up to one pass both are the same.
"""

import torch
from torch import Tensor

from moirai.forecasting.decoding import Quantiles, empirical_quantiles
from moirai.forecasting.paths import CachedPaths, Read
from moirai.models.moirai2 import Moirai2Module
from moirai.tokens import ForecastInputs, forecast_tokens, token_layout


@torch.inference_mode()
def decode_quantiles_cached(module: Moirai2Module, inputs: ForecastInputs, *, horizon: int) -> Quantiles:
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
    rows = CachedPaths(
        tokens, layout, module.encode_scaled, scaling=module.scaling(tokens), num_layers=config.num_layers
    )
    parts = [_predict(module, rows.context())]  # [batch, target, token, quantile, patch] each
    levels = torch.tensor(config.quantile_levels, dtype=parts[0].dtype, device=parts[0].device)
    remaining = layout.future_tokens - config.num_predict_token
    while remaining > 0:
        following = _predict(module, rows.write(parts[-1].permute(0, 3, 1, 2, 4)))[:, :, :remaining]
        # [batch, path * target, token, quantile, patch] -> pairs of path and level side by side
        pairs = torch.unflatten(following, 1, (config.num_quantiles, -1)).movedim(1, -2).flatten(-3, -2)
        parts.append(empirical_quantiles(pairs, levels))
        remaining -= config.num_predict_token
    steps = torch.cat(parts, dim=2).permute(0, 3, 2, 4, 1).flatten(2, 3)  # [batch, quantile, token * patch, target]
    return steps[:, :, :horizon].contiguous()


def _predict(module: Moirai2Module, read: Read) -> Tensor:
    """Quantiles of the patches behind the tokens read, in data units: `[batch, read, token, quantile, patch]`."""
    encoded, scaling = read
    scaled = module.head(encoded).float()
    return scaled * scaling.scale[..., None, None] + scaling.loc[..., None, None]
