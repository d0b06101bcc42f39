"""`MoiraiForecast`: load a model, forecast arrays, frames or GluonTS data sets."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float

from moirai.errors import ConfigError, DataError
from moirai.forecasting.decoding import decode_quantiles, passes
from moirai.forecasting.inputs import SeriesInput, stack_inputs
from moirai.forecasting.levels import at_levels, check_levels
from moirai.models.moirai2 import Moirai2Module
from moirai.tokens import ForecastInputs

if TYPE_CHECKING:
    import pandas as pd

    from moirai.forecasting.covariates import CovariateEncoding
    from moirai.forecasting.gluonts import MoiraiPredictor

Precision = Literal["fp32", "bf16"]
DEFAULT_CONTEXT = 2048  # steps


class MoiraiForecast:
    """Probabilistic forecasts of a pretrained model.

    Args:
        module: the network.
        prediction_length: steps to forecast when a call names none; None: as many as one forward
            pass gives.
        context_length: latest steps of a series that the model sees.
        batch_size: series per forward pass; roll-outs beyond one pass take fewer, as each has a
            copy per quantile.
        device: `cpu`, `cuda`, …; `auto` takes a GPU where there is one.
        precision: `fp32`, or `bf16` for matrix products in bfloat16 (faster where the processor has
            them).
    """

    def __init__(
        self,
        module: Moirai2Module,
        *,
        prediction_length: int | None = None,
        context_length: int = DEFAULT_CONTEXT,
        batch_size: int = 64,
        device: str = "auto",
        precision: Precision = "fp32",
    ) -> None:
        config = module.config
        one_pass = config.patch_size * config.num_predict_token
        self.prediction_length = one_pass if prediction_length is None else prediction_length
        self.context_length = context_length
        self.batch_size = batch_size
        for name in ("prediction_length", "context_length", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if precision not in ("fp32", "bf16"):
            raise ConfigError(f"precision must be fp32 or bf16, not {precision!r}")
        self.precision: Precision = precision
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.device = torch.device(chosen)
        self.module = module.to(self.device).eval()

    @classmethod
    def from_pretrained(
        cls,
        reference: str | Path,
        *,
        prediction_length: int | None = None,
        context_length: int = DEFAULT_CONTEXT,
        batch_size: int = 64,
        device: str = "auto",
        precision: Precision = "fp32",
    ) -> "MoiraiForecast":
        """Load a model: `starter`, a folder, or a hub id with an optional `@revision`.

        Raises:
            CheckpointError: nothing is there, it is damaged, or it is of another architecture.
        """
        return cls(
            Moirai2Module.from_pretrained(reference),
            prediction_length=prediction_length,
            context_length=context_length,
            batch_size=batch_size,
            device=device,
            precision=precision,
        )

    @property
    def quantile_levels(self) -> tuple[float, ...]:
        """Levels that the model was trained on."""
        return self.module.config.quantile_levels

    def predict_tensors(
        self, inputs: ForecastInputs, *, horizon: int | None = None
    ) -> Float[torch.Tensor, "batch quantile horizon target"]:
        """Quantiles at the trained levels for inputs without missing values; they may cross."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return decode_quantiles(self.module, inputs.to(self.device), horizon=self._horizon(horizon))

    def predict_inputs(
        self,
        series: Sequence[SeriesInput],
        *,
        horizon: int | None = None,
        whole_patches: bool = False,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> Float[np.ndarray, "series quantile horizon target"]:
        """Quantiles at the trained levels, for series with the same targets and features.

        Series may have any lengths. Those of similar length share a batch, so that short ones do
        not pay for the padding of long ones.

        Args:
            series: at least one.
            horizon: steps to forecast; None: `prediction_length`.
            whole_patches: start every batch at the edge of a patch, as fine-tuning does. Otherwise, as in the published
                models, features of a series that is shorter than others of its batch may begin with a patch of padding
                that counts as seen.
            on_batch: called after every batch with the series done and the series in all.

        Raises:
            DataError: there is no series, one is empty, or its features have the wrong length.
        """
        horizon = self._horizon(horizon)
        if not series:
            raise DataError("there is no series to forecast")
        lengths = [min(one.target.shape[1], self.context_length) for one in series]
        order = np.argsort(lengths, kind="stable")[::-1]
        copies = 1 if passes(self.module, horizon) == 1 else len(self.quantile_levels)
        size = max(1, self.batch_size // (copies * (1 + series[0].features)))
        patch_size = self.module.config.patch_size if whole_patches else 1
        shape = (len(series), len(self.quantile_levels), horizon, len(series[0].target))
        result = np.empty(shape, np.float32)
        for start in range(0, len(series), size):
            chosen = order[start : start + size]
            some = [series[index] for index in chosen]
            inputs = stack_inputs(some, context=lengths[chosen[0]], horizon=horizon, patch_size=patch_size)
            result[chosen] = self.predict_tensors(inputs, horizon=horizon).cpu().numpy()
            if on_batch is not None:
                on_batch(min(start + size, len(series)), len(series))
        return result

    def predict_arrays(
        self,
        series: Sequence[Float[np.ndarray, "_time"]],  # lengths differ
        *,
        horizon: int | None = None,
        levels: Sequence[float] | None = None,
        interpolate: bool = False,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> Float[np.ndarray, "series quantile horizon"]:
        """Quantiles of univariate series; NaN marks missing values.

        Args:
            series: values up to each forecast origin, of any lengths.
            horizon: steps to forecast; None: `prediction_length`.
            levels: quantile levels; None: the trained ones.
            interpolate: whether levels between trained ones may be interpolated.
            on_batch: called after every batch with the series done and the series in all.

        Raises:
            ConfigError: a level the model cannot give.
            DataError: a series is empty.
        """
        asked = self.quantile_levels if levels is None else levels
        check_levels(self.quantile_levels, asked, interpolate=interpolate)  # before the work
        inputs = [SeriesInput(target=one[None], name=f"series {index}") for index, one in enumerate(series)]
        quantiles = self.predict_inputs(inputs, horizon=horizon, on_batch=on_batch)[..., 0]
        return at_levels(quantiles, self.quantile_levels, asked, interpolate=interpolate)

    def predict_frame(
        self,
        df: "pd.DataFrame",
        *,
        freq: str,
        target: str | Sequence[str] = "target",
        known: Sequence[str] = (),
        past: Sequence[str] = (),
        future: "pd.DataFrame | None" = None,
        encoding: "CovariateEncoding | None" = None,
        horizon: int | None = None,
        levels: Sequence[float] | None = None,
        interpolate: bool = False,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> "pd.DataFrame":
        """Forecast a long frame.

        Covariates help a model that was fine-tuned with them; one that never saw any forecasts worse with them.

        Args:
            df: columns item_id, timestamp, the targets and the covariates, on a regular grid, NaN where a value is
                missing.
            freq: distance of two time stamps: `h`, `D`, `MS`, …
            target: name of the target column, or several; each is forecast as a series of its own.
            known: names of numeric covariates that are known for the horizon.
            past: names of numeric covariates that are known up to the origin.
            future: item_id, timestamp and the known covariates for the horizon behind each series' last row.
            encoding: the covariates that the model was trained with, categorical ones included
                (`CovariateEncoding.read(folder)`); instead of `known` and `past`.
            horizon: steps to forecast; None: `prediction_length`.
            levels: quantile levels; None: the trained ones.
            interpolate: whether levels between trained ones may be interpolated.
            on_batch: called after every batch with the series done and the series in all.

        Returns:
            item_id, target_name, origin, timestamp, mean and a column per level (`q10`, …), sorted within a row, target
            by target. The mean is the integral of the trained quantiles with flat tails.

        Raises:
            DataError: columns are absent, time stamps are not on the grid, or a known covariate lacks a value of the
                horizon.
            ConfigError: a level the model cannot give, or a horizon beyond what it sees of known covariates.
        """
        from moirai.forecasting.covariates import CovariateEncoding  # noqa: PLC0415 - pandas waits until needed
        from moirai.forecasting.frame import covariate_arrays, forecast_frame, split_frame  # noqa: PLC0415 - see above

        asked = self.quantile_levels if levels is None else levels
        check_levels(self.quantile_levels, asked, interpolate=interpolate)  # before the work
        targets = [target] if isinstance(target, str) else list(target)
        steps = self._horizon(horizon)
        if encoding is None and (known or past):
            encoding = CovariateEncoding(known=tuple(known), past=tuple(past), lead=steps)
        elif known or past:
            raise ConfigError("give the covariates as `encoding`, or as `known` and `past`, not both")
        if encoding is not None and encoding.known and steps > encoding.lead:
            raise ConfigError(
                f"the model sees known covariates {encoding.lead} steps ahead; a horizon of {steps} is too long for it"
            )
        series = split_frame(df, freq=freq, targets=targets, covariates=encoding.columns if encoding else ())
        seen = covariate_arrays(series, encoding, future, freq=freq) if encoding else [None] * len(series.item_ids)
        inputs = [
            SeriesInput(target=values[None], past_feat_dynamic_real=covariates, name=f"series {item!r}")
            for name in targets
            for item, values, covariates in zip(series.item_ids, series.values(name), seen, strict=True)
        ]
        quantiles = self.predict_inputs(inputs, horizon=steps, whole_patches=True, on_batch=on_batch)[..., 0]
        return forecast_frame(
            series, quantiles, trained=self.quantile_levels, levels=asked, freq=freq, target_names=targets
        )

    def create_predictor(self, batch_size: int | None = None) -> "MoiraiPredictor":
        """A GluonTS predictor: its data sets in, its quantile forecasts out."""
        from moirai.forecasting.gluonts import MoiraiPredictor  # noqa: PLC0415 - GluonTS is optional here

        forecast = copy.copy(self)
        if batch_size is not None:
            forecast.batch_size = batch_size
        return MoiraiPredictor(forecast)

    def _horizon(self, horizon: int | None) -> int:
        if horizon is not None and horizon < 1:
            raise ConfigError(f"horizon must be at least 1, not {horizon}")
        return horizon or self.prediction_length
