"""Arrays to the tensors a forecast looks at.

Cut, pad on the left, note what was observed, fill what is missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from moirai.errors import DataError
from moirai.forecasting.imputation import causal_mean, zero
from moirai.tokens import ForecastInputs


@dataclass(frozen=True, kw_only=True)
class SeriesInput:
    """One series up to its forecast origin; NaN where a value is missing."""

    target: Float[np.ndarray, "target time"]
    feat_dynamic_real: Float[np.ndarray, "feat time_and_horizon"] | None = None
    past_feat_dynamic_real: Float[np.ndarray, "past_feat past"] | None = None
    name: str = "series"

    @property
    def features(self) -> int:
        """Variates beside the target."""
        given = (self.feat_dynamic_real, self.past_feat_dynamic_real)
        return sum(len(one) for one in given if one is not None)


def stack_inputs(series: Sequence[SeriesInput], *, context: int, horizon: int, patch_size: int = 1) -> ForecastInputs:
    """Batch series of any lengths: the last `context` steps of each, right-aligned.

    The tensors are padded on the left to whole patches of `patch_size`. Left to the token layout, that padding may make
    up a whole patch of features, which then counts as seen.

    A univariate target is filled with its causal mean over the whole series before the cut; several
    targets and features are filled with 0 (specification, section 12).

    Raises:
        DataError: a series is empty or infinite, its features do not span its time steps, or it has other targets or
            features than the first one.
    """
    batch, first = len(series), series[0]
    length = -(-context // patch_size) * patch_size
    window = np.zeros((batch, length, len(first.target)), np.float32)
    observed = np.zeros(window.shape, bool)
    is_pad = np.ones((batch, length), bool)
    for row, one in enumerate(series):
        steps = min(one.target.shape[1], context)
        if not steps:
            raise DataError(f"{one.name}: no time steps before the forecast origin")
        if len(one.target) != len(first.target):
            raise DataError(f"{one.name}: {len(one.target)} targets, {first.name} has {len(first.target)}")
        filled = (causal_mean if len(one.target) == 1 else zero)(_as_float32(one.target, one.name))
        window[row, -steps:] = filled[:, -steps:].T
        observed[row, -steps:] = ~np.isnan(one.target[:, -steps:]).T
        is_pad[row, -steps:] = False
    known = _features(series, "feat_dynamic_real", context, horizon, length - context)
    past = _features(series, "past_feat_dynamic_real", context, 0, length - context)
    return ForecastInputs(
        past_target=torch.from_numpy(window),
        past_observed_target=torch.from_numpy(observed),
        past_is_pad=torch.from_numpy(is_pad),
        feat_dynamic_real=known[0],
        observed_feat_dynamic_real=known[1],
        past_feat_dynamic_real=past[0],
        past_observed_feat_dynamic_real=past[1],
    )


def _features(
    series: Sequence[SeriesInput], field: str, context: int, horizon: int, pad: int
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Values [batch, pad + context + horizon, feature] and their observed mask; None without features."""
    first = getattr(series[0], field)
    if all(getattr(one, field) is None for one in series):
        return None, None
    if first is None:
        raise DataError(f"{series[0].name}: {field} must be given for all series or for none")
    values = np.zeros((len(series), pad + context + horizon, len(first)), np.float32)
    observed = np.zeros(values.shape, bool)
    for row, one in enumerate(series):
        given = getattr(one, field)
        needed = one.target.shape[1] + horizon
        if given is None or given.shape[1] != needed:
            have = "none" if given is None else f"{given.shape[1]} steps"
            raise DataError(f"{one.name}: {field} must span {needed} steps (history + {horizon}), there are {have}")
        if len(given) != len(first):
            raise DataError(f"{one.name}: {len(given)} rows of {field}, {series[0].name} has {len(first)}")
        steps = min(needed, context + horizon)
        values[row, -steps:] = zero(_as_float32(given[:, -steps:], one.name)).T
        observed[row, -steps:] = ~np.isnan(given[:, -steps:]).T
    return torch.from_numpy(values), torch.from_numpy(observed)


def _as_float32(values: Float[np.ndarray, "row time"], name: str) -> Float[np.ndarray, "row time"]:
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if np.isinf(narrow).any():
        raise DataError(
            f"{name}: holds values that are infinite in float32; rescale them, or mark them as missing (NaN)"
        )
    return narrow
