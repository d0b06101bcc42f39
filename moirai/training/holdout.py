"""Held-out windows: the end of every training span, forecast exactly as later in use.

In: series up to the end of the training span. Out: batches of what the model sees and what came. Fails with
`DataError` when no series can hold out a window.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch.utils.data import Dataset

from moirai.errors import DataError
from moirai.forecasting.inputs import SeriesInput, stack_inputs
from moirai.tokens import ForecastInputs
from moirai.training.windows import narrow

MAX_FORECASTS = 512  # enough for a steady figure; more would take longer than the training between two validations


@dataclass(frozen=True)
class HeldOutBatch:
    """Held-out windows: what the model sees and what came."""

    inputs: ForecastInputs
    actual: Float[torch.Tensor, "batch horizon"]  # NaN where missing

    def to(self, device: torch.device | str) -> "HeldOutBatch":
        """The same windows on a device."""
        return HeldOutBatch(self.inputs.to(device), self.actual.to(device))


class HeldOutWindows(Dataset):
    """Batches of rolling windows at the end of every series, made once.

    Args:
        series: values of the training span, NaN where missing.
        context: latest steps that the model sees.
        horizon: steps of a window.
        windows: windows per series, back to back.
        batch_size: windows in a batch, at most.
        min_batches: so many processes that share the windows; each needs some.
        patch_size: of the model.
        covariates: of every series: what stands at a step is known there; None: there are none.
        item_ids: of every series; None: their places.

    Raises:
        DataError: no series can hold out a window, one holds infinite values, or there are fewer windows than
            processes.
    """

    def __init__(
        self,
        series: Sequence[Float[np.ndarray, "_time"]],
        *,
        context: int,
        horizon: int,
        windows: int,
        batch_size: int,
        min_batches: int = 1,
        patch_size: int = 1,
        covariates: Sequence[Float[np.ndarray, "_covariate _time"]] | None = None,
        item_ids: Sequence[str] | None = None,
    ) -> None:
        names = [str(n) for n in range(len(series))] if item_ids is None else item_ids
        series = [narrow(one, name) for one, name in zip(series, names, strict=True)]
        beside: Sequence[np.ndarray | None] = [None] * len(series) if covariates is None else covariates
        pairs = [
            (_seen(one, known, len(one) - back * horizon, name), one[len(one) - back * horizon :][:horizon])
            for back in range(windows, 0, -1)
            for one, known, name in zip(series, beside, names, strict=True)
            if len(one) > back * horizon
        ]
        pairs = [pair for pair in pairs if not (np.isnan(pair[0].target).all() or np.isnan(pair[1]).all())]
        if not pairs:
            raise DataError(
                f"no series can hold out {windows} validation windows of {horizon} steps before the first "
                "backtest window; lower finetune.validation_windows or backtest.windows"
            )
        kept = np.unique(np.linspace(0, len(pairs) - 1, MAX_FORECASTS).astype(int))
        if len(kept) < min_batches:
            raise DataError(
                f"finetune.devices: {min_batches} processes share {len(kept)} held-out windows, and each needs one; "
                "lower finetune.devices or raise finetune.validation_windows"
            )
        batches = max(min_batches, -(-len(kept) // batch_size))
        self.batches = [
            _batch([pairs[index] for index in part], context=context, horizon=horizon, patch_size=patch_size)
            for part in np.array_split(kept, batches)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> HeldOutBatch:
        return self.batches[index]


def _seen(values: np.ndarray, covariates: np.ndarray | None, steps: int, name: str) -> SeriesInput:
    """What a forecast after `steps` steps looks at."""
    past = None if covariates is None else covariates[:, :steps]
    return SeriesInput(target=values[None, :steps], past_feat_dynamic_real=past, name=f"series {name!r}")


def _batch(pairs: list[tuple[SeriesInput, np.ndarray]], *, context: int, horizon: int, patch_size: int) -> HeldOutBatch:
    longest = min(context, max(one.target.shape[1] for one, _ in pairs))
    inputs = stack_inputs([one for one, _ in pairs], context=longest, horizon=horizon, patch_size=patch_size)
    actual = np.stack([future for _, future in pairs]).astype(np.float32)
    return HeldOutBatch(inputs, torch.from_numpy(actual))
