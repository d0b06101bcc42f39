"""How a stretch of series becomes the tokens of a training window, for causal and for masked models.

In: values with masks, covariates, the shape of a window. Out: `PackedTokens`, one sample to a row. Nothing fails.

*Causal* (Moirai-MoE, Moirai 2.0). Whole patches; every token of the predicted part is an origin of its own. The tokens
of the covariates follow those of the target over the whole window: a causal model sees of them, at every origin, what a
forecast from there would see. *Masked* (Moirai 1.x). The tokens of a forecast whose steps are known, the horizon padded
on the right; covariates are seen up to the origin, as a forecast sees them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from moirai.forecasting.masked_decoding import scored_tokens
from moirai.tokens import ForecastInputs, PackedTokens

# A covariate that stood still in the context and moves afterwards (a first holiday) is held at this many of its
# standard deviations there; in a forecast its last context patch would have shown the move, and counted it.
COVARIATE_CLIP = 20.0
MINIMUM_SPREAD = 1e-5**0.5  # the smallest scale that a model standardises by


@dataclass(frozen=True, kw_only=True)
class WindowShape:
    """Size of a window."""

    patch_size: int
    context_tokens: int  # the statistics come from these
    predicted_steps: int  # these follow and are predicted; of a causal model whole patches

    @property
    def predicted_tokens(self) -> int:
        """Tokens that hold the predicted steps."""
        return -(-self.predicted_steps // self.patch_size)

    @property
    def tokens(self) -> int:
        """Tokens of a variate."""
        return self.context_tokens + self.predicted_tokens

    @property
    def steps(self) -> int:
        """Time steps of a row."""
        return self.context_tokens * self.patch_size + self.predicted_steps


def window_shape(*, context: int, horizon: int, patch_size: int, is_causal: bool = True) -> WindowShape:
    """Window for a context and horizon in steps.

    A masked model predicts the horizon. A causal one predicts a quarter of the context, the horizon at least: every
    token of that part is an origin of its own.
    """
    context_tokens = -(-context // patch_size)
    predicted = max(-(-horizon // patch_size), context_tokens // 4) * patch_size if is_causal else horizon
    return WindowShape(patch_size=patch_size, context_tokens=context_tokens, predicted_steps=predicted)


@dataclass(frozen=True)
class Windows:
    """Stretches of series, all as long as a window."""

    values: Float[np.ndarray, "row step"]  # filler where missing
    observed: Bool[np.ndarray, "row step"]
    exists: Bool[np.ndarray, "row step"]  # the series has begun
    covariates: Float[np.ndarray, "row covariate step"] | None  # NaN where missing


def masked_tokens(windows: Windows, shape: WindowShape) -> PackedTokens:
    """The layout of a forecast of Moirai 1.x, with what came in the place of what is predicted."""
    seen = windows.covariates
    inputs = ForecastInputs(
        past_target=torch.from_numpy(windows.values)[..., None],
        past_observed_target=torch.from_numpy(windows.observed)[..., None],
        past_is_pad=torch.from_numpy(~windows.exists),
        past_feat_dynamic_real=None if seen is None else torch.from_numpy(np.nan_to_num(seen)).transpose(1, 2),
        past_observed_feat_dynamic_real=None if seen is None else torch.from_numpy(~np.isnan(seen)).transpose(1, 2),
    )
    context = shape.context_tokens * shape.patch_size
    return scored_tokens(inputs, context=context, patch_size=shape.patch_size)[0]


def causal_tokens(windows: Windows, shape: WindowShape) -> PackedTokens:
    """Ids as in forecasting: time starts at the first patch with a value; half of a short series is predicted."""
    patches = (len(windows.values), shape.tokens, shape.patch_size)
    observed, exists = windows.observed.reshape(patches), windows.exists.reshape(patches)
    is_real = exists.any(-1)
    begun = np.maximum.accumulate(observed.any(-1), axis=1)
    time_id = np.maximum(begun.cumsum(1) - 1, 0)
    predicted = np.minimum(shape.predicted_tokens, np.maximum(1, is_real.sum(1) // 2))
    position = np.arange(shape.tokens)
    tokens = PackedTokens(
        target=torch.from_numpy(windows.values.reshape(patches)),
        observed_mask=torch.from_numpy(observed),
        sample_id=torch.from_numpy(is_real.astype(np.int64)),
        time_id=torch.from_numpy(time_id.astype(np.int64)),
        variate_id=torch.zeros(is_real.shape, dtype=torch.int64),
        prediction_mask=torch.from_numpy(position >= shape.tokens - predicted[:, None]),
    )
    if windows.covariates is None:
        return tokens
    return _beside(tokens, windows.covariates.reshape(len(windows.values), -1, *patches[1:]))


def _beside(tokens: PackedTokens, covariates: Float[np.ndarray, "row covariate token patch"]) -> PackedTokens:
    """The tokens of the target with those of its covariates behind them, missing values filled with 0.

    The covariates' statistics come from the context as well (`prediction_mask`): an origin must not see how they go on.
    """
    count = covariates.shape[1]
    observed = ~np.isnan(covariates)
    in_context = observed & ~tokens.prediction_mask.numpy()[:, None, :, None]
    steps = in_context.sum((-2, -1), keepdims=True).clip(min=1)
    mean = np.where(in_context, covariates, 0.0).sum((-2, -1), keepdims=True) / steps
    square = np.where(in_context, covariates - mean, 0.0) ** 2
    spread = np.sqrt(square.sum((-2, -1), keepdims=True) / steps).clip(min=MINIMUM_SPREAD) * COVARIATE_CLIP
    held = np.where(in_context, covariates, np.clip(covariates, mean - spread, mean + spread))
    values = np.where(observed, held, 0.0).astype(np.float32)

    def behind(own: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
        return torch.cat((own, added.flatten(1, 2)), dim=1)

    def repeated(ids: torch.Tensor) -> torch.Tensor:
        return ids.repeat(1, 1 + count)

    return PackedTokens(
        target=behind(tokens.target, torch.from_numpy(values)),
        observed_mask=behind(tokens.observed_mask, torch.from_numpy(observed)),
        sample_id=repeated(tokens.sample_id),
        time_id=repeated(tokens.time_id),
        variate_id=torch.arange(1 + count).repeat_interleave(tokens.time_id.shape[1]).repeat(len(values), 1),
        prediction_mask=repeated(tokens.prediction_mask),
    )
