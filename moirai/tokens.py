"""Series to packed tokens: the one place that knows the token layout.

Specification, sections 2 and 11.1.

A token is one patch of consecutive values of one variate. A row of a batch is a flat sequence of
tokens of one or more samples. Forecasting builds rows with `forecast_tokens`; training packs
samples made of the same fields.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class PackedTokens:
    """Tensors that always travel together; `sample_id` 0 is padding."""

    target: Float[Tensor, "batch seq patch"]  # values; finite filler where missing
    observed_mask: Bool[Tensor, "batch seq patch"]  # a real value stands here
    sample_id: Int[Tensor, "batch seq"]  # 1, 2, … inside a row; 0: padding token
    time_id: Int[Tensor, "batch seq"]  # position of the patch on the time axis of its sample
    variate_id: Int[Tensor, "batch seq"]  # identity of the variate inside its sample
    prediction_mask: Bool[Tensor, "batch seq"]  # the token belongs to the forecast window

    def select(self, index: Int[Tensor, "chosen"]) -> "PackedTokens":
        """The tokens at these positions of every row."""
        return PackedTokens(**{f.name: getattr(self, f.name).index_select(1, index) for f in fields(self)})

    def repeat_rows(self, times: int) -> "PackedTokens":
        """Every row `times` times, copies side by side."""
        return PackedTokens(**{f.name: getattr(self, f.name).repeat_interleave(times, dim=0) for f in fields(self)})

    def replace(self, **changes: Tensor) -> "PackedTokens":
        """The same tokens with some fields changed."""
        return replace(self, **changes)

    def to(self, device: torch.device | str) -> "PackedTokens":
        """The same tokens on a device."""
        return PackedTokens(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class ForecastInputs:
    """What a forecast looks at, time-major as GluonTS delivers it."""

    past_target: Float[Tensor, "batch past target"]
    past_observed_target: Bool[Tensor, "batch past target"]
    past_is_pad: Bool[Tensor, "batch past"]  # the step lies before the series' first one
    feat_dynamic_real: Float[Tensor, "batch past_and_future feat"] | None = None
    observed_feat_dynamic_real: Bool[Tensor, "batch past_and_future feat"] | None = None
    past_feat_dynamic_real: Float[Tensor, "batch past past_feat"] | None = None
    past_observed_feat_dynamic_real: Bool[Tensor, "batch past past_feat"] | None = None

    def to(self, device: torch.device | str) -> "ForecastInputs":
        """The same inputs on a device."""
        moved: dict[str, Any] = {
            f.name: None if (value := getattr(self, f.name)) is None else value.to(device) for f in fields(self)
        }
        return ForecastInputs(**moved)


@dataclass(frozen=True, kw_only=True)
class TokenLayout:
    """Where the tokens of a forecast stand in a row (specification, section 11.1)."""

    past_tokens: int  # per variate
    future_tokens: int  # per target variate and known feature
    target_dim: int
    known_dim: int = 0  # features known into the future
    past_dim: int = 0  # features known up to the origin

    def last_past(self) -> list[int]:
        """Position of each target variate's last past token."""
        return [(variate + 1) * self.past_tokens - 1 for variate in range(self.target_dim)]

    def future(self, step: int) -> list[int]:
        """Position of each target variate's future token `step`."""
        start = self.target_dim * self.past_tokens
        return [start + variate * self.future_tokens + step for variate in range(self.target_dim)]

    def up_to(self, steps: int) -> list[int]:
        """Positions of all past tokens and of the future ones before `steps`.

        It is what causal tokens up to there can see.
        """
        kept: list[int] = []
        start = 0
        kinds = [(self.target_dim, False), (self.target_dim, True), (self.known_dim, False)]
        kinds += [(self.known_dim, True), (self.past_dim, False)]
        for variates, is_future in kinds:
            length = self.future_tokens if is_future else self.past_tokens
            for _ in range(variates):
                kept += range(start, start + (min(steps, length) if is_future else length))
                start += length
        return kept


def token_layout(inputs: ForecastInputs, *, horizon: int, patch_size: int) -> TokenLayout:
    """Layout of the tokens of `forecast_tokens`; lengths are rounded up to whole patches."""
    known, past = inputs.feat_dynamic_real, inputs.past_feat_dynamic_real
    return TokenLayout(
        past_tokens=-(-inputs.past_target.shape[1] // patch_size),
        future_tokens=-(-horizon // patch_size),
        target_dim=inputs.past_target.shape[2],
        known_dim=0 if known is None else known.shape[2],
        past_dim=0 if past is None else past.shape[2],
    )


def forecast_tokens(inputs: ForecastInputs, *, horizon: int, patch_size: int) -> PackedTokens:
    """Tokens of a forecast.

    Their order: past targets, future targets, known features (past, future), past-only features.
    Past values are padded on the left to whole patches, future ones on the right. Future targets
    hold 0 and count as observed. The first feature patch counts as valid even where it holds
    alignment padding, as in the published models.
    """
    batch, context, target_dim = inputs.past_target.shape
    layout = token_layout(inputs, horizon=horizon, patch_size=patch_size)
    past_ids = _past_ids(inputs, layout, patch_size)
    future_time = past_ids[1].amax(-1, keepdim=True) + 1
    future_time = future_time + torch.arange(layout.future_tokens, device=future_time.device)
    future_ids = (torch.ones_like(future_time), future_time)
    feature_ids = (_feature_sample_id(inputs.past_is_pad, patch_size), past_ids[1])

    zeros = inputs.past_target.new_zeros(batch, horizon, target_dim)
    observed = torch.ones_like(zeros, dtype=torch.bool)
    blocks = [
        _block(inputs.past_target, inputs.past_observed_target, past_ids, patch_size, left=True),
        _block(zeros, observed, future_ids, patch_size, left=False, predicted=True),
    ]
    variates = target_dim
    if inputs.feat_dynamic_real is not None:
        assert inputs.observed_feat_dynamic_real is not None, "features come with their observed mask"
        values, observed = inputs.feat_dynamic_real, inputs.observed_feat_dynamic_real
        first = variates
        blocks += [
            _block(values[:, :context], observed[:, :context], feature_ids, patch_size, left=True, first_variate=first),
            _block(values[:, context:], observed[:, context:], future_ids, patch_size, left=False, first_variate=first),
        ]
        variates += values.shape[-1]
    if inputs.past_feat_dynamic_real is not None:
        assert inputs.past_observed_feat_dynamic_real is not None, "features come with their observed mask"
        values, observed = inputs.past_feat_dynamic_real, inputs.past_observed_feat_dynamic_real
        blocks.append(_block(values, observed, feature_ids, patch_size, left=True, first_variate=variates))
    return PackedTokens(
        **{f.name: torch.cat([getattr(block, f.name) for block in blocks], dim=1) for f in fields(PackedTokens)}
    )


def _past_ids(
    inputs: ForecastInputs, layout: TokenLayout, patch_size: int
) -> tuple[Int[Tensor, "batch seq"], Int[Tensor, "batch seq"]]:
    """Sample and time ids of past target patches.

    Leading patches without any observed value share time 0.
    """
    pad = layout.past_tokens * patch_size - inputs.past_is_pad.shape[1]
    is_pad = torch.unflatten(functional.pad(inputs.past_is_pad, (pad, 0), value=True), 1, (-1, patch_size))
    observed = functional.pad(inputs.past_observed_target.any(-1), (pad, 0), value=False)
    has_value = torch.unflatten(observed, 1, (-1, patch_size)).any(-1)  # [batch, past_tokens]
    begun = has_value.long().cummax(dim=1).values
    time_id = (begun.cumsum(1) - 1).clamp(min=0)
    return (~is_pad.all(-1)).long(), time_id


def _feature_sample_id(past_is_pad: Bool[Tensor, "batch past"], patch_size: int) -> Int[Tensor, "batch seq"]:
    """Sample ids of past feature patches.

    Alignment padding counts as valid there (specification, section 18.6).
    """
    pad = -past_is_pad.shape[1] % patch_size
    is_pad = torch.unflatten(functional.pad(past_is_pad, (pad, 0), value=False), 1, (-1, patch_size))
    return (~is_pad.all(-1)).long()


def _block(
    values: Float[Tensor, "batch time variate"],
    observed: Bool[Tensor, "batch time variate"],
    ids: tuple[Int[Tensor, "batch token"], Int[Tensor, "batch token"]],
    patch_size: int,
    *,
    left: bool,
    first_variate: int = 0,
    predicted: bool = False,
) -> PackedTokens:
    """Tokens of one kind of series, variate-major: [batch, variate * token, patch]."""
    pad = -values.shape[1] % patch_size
    widths = (0, 0, pad, 0) if left else (0, 0, 0, pad)
    tokens, variates = (values.shape[1] + pad) // patch_size, values.shape[2]

    def patches(x: Tensor) -> Tensor:
        return functional.pad(x, widths).transpose(1, 2).reshape(x.shape[0], variates * tokens, patch_size)

    sample_id, time_id = (x.repeat(1, variates) for x in ids)
    variate = torch.arange(variates, device=values.device).repeat_interleave(tokens) + first_variate
    return PackedTokens(
        target=patches(values),
        observed_mask=patches(observed),
        sample_id=sample_id,
        time_id=time_id,
        variate_id=variate.expand_as(sample_id),
        prediction_mask=torch.full_like(sample_id, predicted, dtype=torch.bool),
    )


def group_index(sample_id: Int[Tensor, "batch seq"], variate_id: Int[Tensor, "batch seq"]) -> Int[Tensor, "batch seq"]:
    """Number every group of tokens with equal sample and variate inside its row, from 0 on.

    Args:
        sample_id: 1, 2, … inside a row; 0 is padding.
        variate_id: identity of the variate inside its sample.
    """
    # Sorted by the joint key, a group is a run of equal neighbours; it counts the runs before.
    key = sample_id.long() * (variate_id.amax() + 1) + variate_id.long()
    order = key.argsort(dim=-1, stable=True)
    sorted_key = key.gather(-1, order)
    starts = torch.ones_like(sorted_key)
    starts[..., 1:] = (sorted_key[..., 1:] != sorted_key[..., :-1]).long()
    number = starts.cumsum(-1) - 1
    return torch.empty_like(number).scatter_(-1, order, number)


def group_sum(values: Float[Tensor, "batch seq"], group: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq"]:
    """Sum of each token's group, at every token of the group."""
    sums = torch.zeros_like(values).scatter_add_(-1, group, values)
    return sums.gather(-1, group)
