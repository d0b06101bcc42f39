"""Series of any lengths through a family, in batches of similar length: short ones do not pay for long ones' padding.

In: series, a family, what is asked. Out: arrays in the order of the series. Fails with `DataError` where series do not
fit together.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from moirai.errors import DataError
from moirai.forecasting.families import Family, View
from moirai.forecasting.inputs import SeriesInput, stack_inputs
from moirai.forecasting.levels import at_levels
from moirai.forecasting.masked_decoding import zero_filled
from moirai.tokens import ForecastInputs

Progress = Callable[[int, int], None]
Precision = Literal["fp32", "bf16", "auto"]


@dataclass(frozen=True, kw_only=True)
class Batching:
    """How series become batches."""

    family: Family
    device: torch.device
    precision: Precision
    batch_size: int  # rows of a pass, about
    whole_patches: bool = False  # start every batch at the edge of a patch, as fine-tuning does
    on_batch: Progress | None = None  # called with the series done and the series in all

    def autocast(self) -> torch.autocast:
        """Matrix products in the chosen precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def fast_precision(device: torch.device) -> Precision:
    """bf16 where matrix products in it are fast: on GPUs that have it, and on processors with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return "bf16" if able.get("amx_bf16") or able.get("avx512_bf16") else "fp32"


Forecast = tuple[Float[np.ndarray, "series quantile horizon target"], Float[np.ndarray, "series horizon target"] | None]


def forecast_quantiles(
    batching: Batching, series: Sequence[SeriesInput], view: View, levels: Sequence[float], *, interpolate: bool = False
) -> Forecast:
    """Quantiles at these levels and, of families that have one, the mean.

    Raises:
        ConfigError: a level that the family cannot give.
        DataError: there is no series, one is empty, or its features have the wrong length.
    """
    trained = batching.family.trained_levels
    made = trained or levels
    quantiles = np.empty(_shape(series, len(made), view), np.float32)
    means = None
    for chosen, inputs in _batches(batching, series, view, rows=batching.family.copies(view)):
        with batching.autocast():
            predicted = batching.family.predict(inputs, view, made)
        quantiles[chosen] = predicted.quantiles.float().cpu().numpy()
        if predicted.mean is not None:
            means = np.empty(np.delete(quantiles.shape, 1), np.float32) if means is None else means
            means[chosen] = predicted.mean.float().cpu().numpy()
    if trained is None or tuple(levels) == trained:
        return quantiles, means
    by_target = at_levels(np.moveaxis(quantiles, -1, 1), trained, levels, interpolate=interpolate)
    return np.moveaxis(by_target, 1, -1), means


def forecast_samples(
    batching: Batching, series: Sequence[SeriesInput], view: View, samples: int
) -> Float[np.ndarray, "series sample horizon target"]:
    """Sample paths.

    Raises:
        ConfigError: the family has no distribution.
        DataError: as `forecast_quantiles`.
    """
    drawn = np.empty(_shape(series, samples, view), np.float32)
    for chosen, inputs in _batches(batching, series, view, rows=samples):
        with batching.autocast():
            made = batching.family.sample(inputs, view, samples)
        drawn[chosen] = made.float().cpu().numpy()
    return drawn


def _shape(series: Sequence[SeriesInput], middle: int, view: View) -> tuple[int, int, int, int]:
    if not series:
        raise DataError("there is no series to forecast")
    return len(series), middle, view.horizon, len(series[0].target)


def _batches(
    batching: Batching, series: Sequence[SeriesInput], view: View, *, rows: int
) -> Iterator[tuple[np.ndarray, ForecastInputs]]:
    """Places of the series of a batch, longest first, and their tensors on the device."""
    family, steps = batching.family, batching.family.steps(view)
    least = 1 + steps - view.context  # a family that looks back a horizon more needs a step before it
    lengths = [max(min(one.target.shape[1], steps), least) for one in series]
    order = np.argsort(lengths, kind="stable")[::-1]
    size = max(1, batching.batch_size // (rows * (1 + series[0].features)))
    patch = family.patch(view) if batching.whole_patches and family.is_aligned else 1
    for start in range(0, len(series), size):
        chosen = order[start : start + size]
        some = [series[index] for index in chosen]
        inputs = stack_inputs(some, context=lengths[chosen[0]], horizon=view.horizon, patch_size=patch)
        if family.fills_zero:
            inputs = zero_filled(inputs)
        yield chosen, inputs.to(batching.device)
        if batching.on_batch is not None:
            batching.on_batch(min(start + size, len(series)), len(series))
