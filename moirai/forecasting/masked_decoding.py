"""Forecasts of Moirai 1.x: one pass, and the patch size of each series (specification, section 11.2).

In: forecast inputs without missing values. Out: the distribution of every step, in data units; no
sampling. Only the tokens of the forecast window are projected to parameters, only by the slab of
the patch size, only for the positions inside the patch. With automatic patch size the candidates
are scored on the last steps of the window first, and every series is forecast once.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from moirai.distributions.base import Distribution
from moirai.distributions.joining import concatenate
from moirai.errors import ConfigError
from moirai.losses import packed_nll_per_row
from moirai.models.moirai1 import MoiraiModule
from moirai.tokens import ForecastInputs, PackedTokens, TokenLayout, forecast_tokens, token_layout


@torch.inference_mode()
def decode(module: MoiraiModule, inputs: ForecastInputs, *, horizon: int, patch_size: int) -> Distribution:
    """Distribution of every step and target, in data units: `[batch, horizon, target]`.

    Args:
        module: in evaluation mode.
        inputs: on the module's device, missing values already filled.
        horizon: steps to forecast.
        patch_size: one of the module's.

    Raises:
        ConfigError: the module has no such patch size.
    """
    _check_patch_size(module, patch_size)
    layout = token_layout(inputs, horizon=horizon, patch_size=patch_size)
    tokens = forecast_tokens(inputs, horizon=horizon, patch_size=patch_size)
    law = module(tokens, patch_size, positions=_forecast_window(layout, tokens))

    def by_step(parameter: Tensor) -> Tensor:
        # [batch, target * token, patch, ...] -> [batch, horizon, target, ...]
        steps = torch.unflatten(parameter, 1, (layout.target_dim, layout.future_tokens)).flatten(2, 3)
        return steps.transpose(1, 2)[:, :horizon].contiguous()

    return law.map(by_step)


def decode_auto(module: MoiraiModule, inputs: ForecastInputs, *, context: int, horizon: int) -> Distribution:
    """As `decode`, each series with the patch size that `choose_patch_sizes` finds.

    Args:
        module: in evaluation mode.
        inputs: more than `horizon` past steps, at most `context + horizon`; all of them serve the choice.
        context: latest steps that the forecast looks at.
        horizon: steps to forecast.
    """
    steps = inputs.past_target.shape[1]
    chosen = choose_patch_sizes(module, inputs, context=steps - horizon, horizon=horizon)
    seen = latest(inputs, min(context, steps), horizon=horizon)
    return decode_chosen(module, seen, horizon=horizon, patch_sizes=chosen)


@torch.inference_mode()
def decode_chosen(
    module: MoiraiModule, inputs: ForecastInputs, *, horizon: int, patch_sizes: Int[Tensor, "batch"]
) -> Distribution:
    """As `decode`, with a patch size per series: those of one size share a pass."""
    groups = [(patch_sizes == size).nonzero()[:, 0] for size in module.config.patch_sizes]
    laws = [
        decode(module, _rows(inputs, rows), horizon=horizon, patch_size=size)
        for size, rows in zip(module.config.patch_sizes, groups, strict=True)
        if len(rows)
    ]
    order = torch.cat(groups)
    assert len(order) == len(patch_sizes), "every series has one of the module's patch sizes"
    back = order.argsort()
    return concatenate(laws, dim=0).map(lambda parameter: parameter.index_select(0, back))


def choose_patch_sizes(
    module: MoiraiModule, inputs: ForecastInputs, *, context: int, horizon: int
) -> Int[Tensor, "batch"]:
    """The patch size of each series by which its last `horizon` steps were likeliest.

    The first of the module's sizes wins a tie, for instance where nothing is observed in these
    steps; one whose score is NaN beats all others, as in the published models.

    Args:
        module: in evaluation mode.
        inputs: `context + horizon` past steps, missing values already filled.
        context: steps from which the last ones are forecast.
        horizon: steps that are scored.
    """
    scores = score_patch_sizes(module, inputs, context=context, horizon=horizon)
    return likeliest(scores, module.config.patch_sizes)


def likeliest(scores: Float[Tensor, "size batch"], patch_sizes: Sequence[int]) -> Int[Tensor, "batch"]:
    """The size with the lowest score: the first of equal ones; NaN counts as the lowest."""
    return torch.tensor(patch_sizes, device=scores.device)[scores.argmin(0)]


@torch.inference_mode()
def score_patch_sizes(
    module: MoiraiModule, inputs: ForecastInputs, *, context: int, horizon: int
) -> Float[Tensor, "size batch"]:
    """Negative log likelihood of the last `horizon` steps given the `context` before them.

    A variate counts with the mean over its observed steps, a series with the sum over its variates;
    0 where nothing is observed (specification, section 10).
    """
    steps = inputs.past_target.shape[1]
    if steps != context + horizon:
        raise ConfigError(f"the choice of a patch size needs {context} + {horizon} past steps, there are {steps}")
    scores = []
    for size in module.config.patch_sizes:
        tokens, window = scored_tokens(inputs, context=context, patch_size=size)
        law = module(tokens, size, positions=window)
        scores.append(packed_nll_per_row(law, tokens.select(window)))
    return torch.stack(scores)


def scored_tokens(
    inputs: ForecastInputs, *, context: int, patch_size: int
) -> tuple[PackedTokens, Int[Tensor, "chosen"]]:
    """Tokens of a forecast whose steps are known: all past steps behind the first `context` ones.

    A patch of the window that lies before the first step of its series is padding; for features,
    as everywhere, alignment counts as valid.

    Returns:
        The tokens, and the positions of those whose likelihood is asked.
    """
    horizon = inputs.past_target.shape[1] - context
    before = _earliest(inputs, context, horizon)
    layout = token_layout(before, horizon=horizon, patch_size=patch_size)
    tokens = forecast_tokens(before, horizon=horizon, patch_size=patch_size)
    window = _forecast_window(layout, tokens)
    pad = (0, layout.future_tokens * patch_size - horizon)

    def patches(steps: Tensor) -> Tensor:
        by_variate = functional.pad(steps[:, context:].transpose(1, 2), pad)
        return by_variate.reshape(len(by_variate), -1, patch_size)

    def is_valid(*, alignment: bool) -> Tensor:
        valid = functional.pad(~inputs.past_is_pad[:, context:], pad, value=alignment)
        return torch.unflatten(valid, 1, (-1, patch_size)).any(-1).long()

    known_window = _known_window(layout, tokens)
    target, observed, sample_id = tokens.target.clone(), tokens.observed_mask.clone(), tokens.sample_id.clone()
    target[:, window] = patches(inputs.past_target)
    observed[:, window] = patches(inputs.past_observed_target)
    sample_id[:, window] = is_valid(alignment=False).repeat(1, layout.target_dim)
    sample_id[:, known_window] = is_valid(alignment=True).repeat(1, layout.known_dim)
    return tokens.replace(target=target, observed_mask=observed, sample_id=sample_id), window


def zero_filled(inputs: ForecastInputs) -> ForecastInputs:
    """The inputs with 0 where no target was observed, the filler that Moirai 1.x was trained with."""
    return replace(inputs, past_target=torch.where(inputs.past_observed_target, inputs.past_target, 0.0))


def latest(inputs: ForecastInputs, context: int, *, horizon: int) -> ForecastInputs:
    """The last `context` past steps, and the `horizon` steps of known features behind them."""
    start = inputs.past_target.shape[1] - context
    return _cut(inputs, start, start + context, horizon)


def _earliest(inputs: ForecastInputs, context: int, horizon: int) -> ForecastInputs:
    """The first `context` past steps, and the `horizon` steps of known features behind them."""
    return _cut(inputs, 0, context, horizon)


def _cut(inputs: ForecastInputs, start: int, stop: int, horizon: int) -> ForecastInputs:
    def steps(values: Tensor | None, ahead: int = 0) -> Tensor | None:
        return None if values is None else values[:, start : stop + ahead]

    return replace(
        inputs,
        past_target=inputs.past_target[:, start:stop],
        past_observed_target=inputs.past_observed_target[:, start:stop],
        past_is_pad=inputs.past_is_pad[:, start:stop],
        feat_dynamic_real=steps(inputs.feat_dynamic_real, horizon),
        observed_feat_dynamic_real=steps(inputs.observed_feat_dynamic_real, horizon),
        past_feat_dynamic_real=steps(inputs.past_feat_dynamic_real),
        past_observed_feat_dynamic_real=steps(inputs.past_observed_feat_dynamic_real),
    )


def _rows(inputs: ForecastInputs, rows: Int[Tensor, "chosen"]) -> ForecastInputs:
    """The series at these places."""
    chosen: dict[str, Any] = {
        name: None if value is None else value.index_select(0, rows) for name, value in vars(inputs).items()
    }
    return ForecastInputs(**chosen)


def _forecast_window(layout: TokenLayout, tokens: PackedTokens) -> Int[Tensor, "chosen"]:
    """Positions of the future target tokens, variate by variate."""
    start = layout.target_dim * layout.past_tokens
    return torch.arange(start, start + layout.target_dim * layout.future_tokens, device=tokens.target.device)


def _known_window(layout: TokenLayout, tokens: PackedTokens) -> Int[Tensor, "chosen"]:
    """Positions of the future tokens of known features, feature by feature."""
    start = layout.target_dim * (layout.past_tokens + layout.future_tokens) + layout.known_dim * layout.past_tokens
    return torch.arange(start, start + layout.known_dim * layout.future_tokens, device=tokens.target.device)


def _check_patch_size(module: MoiraiModule, patch_size: int) -> None:
    if patch_size not in module.config.patch_sizes:
        raise ConfigError(f"patch_size {patch_size} is none of the model's: {module.config.patch_sizes}")
