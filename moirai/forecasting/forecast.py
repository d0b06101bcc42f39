"""`MoiraiForecast`: load a model of any family, forecast arrays, frames or GluonTS data sets."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from moirai.errors import ConfigError
from moirai.forecasting.batching import (
    Batching,
    Precision,
    Progress,
    fast_precision,
    forecast_quantiles,
    forecast_samples,
)
from moirai.forecasting.families import DEFAULT_LEVELS, Choices, Decoding, PatchSize, View, family_of
from moirai.forecasting.inputs import SeriesInput
from moirai.forecasting.levels import check_levels
from moirai.models.pretrained import PretrainedModule
from moirai.tokens import ForecastInputs

if TYPE_CHECKING:
    import pandas as pd

    from moirai.forecasting.covariates import CovariateEncoding
    from moirai.forecasting.gluonts import MoiraiPredictor

DEFAULT_CONTEXT = 2048  # steps


class MoiraiForecast:
    """Probabilistic forecasts of a pretrained model: Moirai 1.x, Moirai-MoE or Moirai 2.0.

    Deterministic: quantiles and means of Moirai 1.x come from inverting its distribution function, Moirai 2.0 has
    quantiles only, and the sample paths that Moirai-MoE needs beyond its first patch are seeded.

    Args:
        module: the network.
        prediction_length: steps to forecast when a call names none; None: as many as one forward pass gives
            (Moirai 2.0), otherwise 64.
        context_length: latest steps of a series that the model sees.
        batch_size: rows per forward pass; of what needs several rows per series (roll-outs, sample paths, covariates)
            fewer series share one.
        device: `cpu`, `cuda`, …; `auto` takes a GPU where there is one.
        precision: `fp32`; `bf16` for matrix products in bfloat16; `auto`: bf16 where the processor is made for it.
        patch_size: of Moirai 1.x and Moirai-MoE: one of the model's, `frequency` (needs `freq`), or, for Moirai 1.x,
            `auto`: per series the one by which its last steps were likeliest. None: `auto`, and 16 for Moirai-MoE.
        decoding: beyond one pass `exact` recomputes location and scale with what was forecast, as published; `cached`
            keeps them and all keys and values, which is many times faster and changes the numbers a little.
        num_samples: sample paths of Moirai-MoE beyond its first patch.
        seed: of everything drawn.

    Raises:
        ConfigError: a choice does not fit, or does not fit the family.
    """

    def __init__(
        self,
        module: PretrainedModule,
        *,
        prediction_length: int | None = None,
        context_length: int = DEFAULT_CONTEXT,
        batch_size: int = 64,
        device: str = "auto",
        precision: Precision = "fp32",
        patch_size: PatchSize | None = None,
        decoding: Decoding = "exact",
        num_samples: int = 100,
        seed: int = 0,
    ) -> None:
        choices = Choices(patch_size=patch_size, decoding=decoding, num_samples=num_samples, seed=seed)
        self.family = family_of(module, choices)
        self.prediction_length = self.family.default_horizon if prediction_length is None else prediction_length
        self.context_length = context_length
        self.batch_size = batch_size
        for name in ("prediction_length", "context_length", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if precision not in ("fp32", "bf16", "auto"):
            raise ConfigError(f"precision must be fp32, bf16 or auto, not {precision!r}")
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self.device = torch.device(chosen)
        self.precision: Precision = fast_precision(self.device) if precision == "auto" else precision
        self.module = module.to(self.device).eval()

    @classmethod
    def from_pretrained(cls, reference: str | Path, **options: Any) -> "MoiraiForecast":
        """Load a model: `starter`, a folder, or a hub id with an optional `@revision`.

        Args:
            reference: what to load.
            options: as of the class: prediction_length, context_length, batch_size, …

        Raises:
            CheckpointError: nothing is there, or it is damaged.
            ConfigError: a choice does not fit the family.
        """
        from moirai.hub import load_module, resolve  # noqa: PLC0415 - hub imports the models

        return cls(load_module(resolve(reference)), **options)

    @property
    def quantile_levels(self) -> tuple[float, ...]:
        """Levels of a forecast that asks for none: the trained ones, otherwise 0.1, 0.2, … 0.9."""
        return self.family.trained_levels or DEFAULT_LEVELS

    def check_levels(self, levels: Sequence[float], *, interpolate: bool = False) -> None:
        """Refuse levels that the model cannot give: untrained ones of Moirai 2.0, or outside (0, 1). `ConfigError`."""
        if self.family.trained_levels is not None:
            check_levels(self.family.trained_levels, levels, interpolate=interpolate)
        elif wrong := [level for level in levels if not 0 < level < 1]:
            raise ConfigError(f"quantile {wrong[0]:g} is no level; levels lie inside (0, 1)")

    def predict_tensors(
        self, inputs: ForecastInputs, *, horizon: int | None = None, freq: str | None = None
    ) -> Float[torch.Tensor, "batch quantile horizon target"]:
        """Quantiles at `quantile_levels` for inputs without missing values; those of Moirai 2.0 may cross."""
        with self._batching().autocast():
            return self.family.predict(
                inputs.to(self.device), self._view(horizon, freq), self.quantile_levels
            ).quantiles

    def predict_inputs(
        self,
        series: Sequence[SeriesInput],
        *,
        horizon: int | None = None,
        levels: Sequence[float] | None = None,
        freq: str | None = None,
        whole_patches: bool = False,
        with_mean: bool = False,
        on_batch: Progress | None = None,
    ) -> Float[np.ndarray, "series quantile horizon target"]:
        """Quantiles for series with the same targets and features; those of Moirai 2.0 may cross.

        Args:
            series: at least one, of any lengths.
            horizon: steps to forecast; None: `prediction_length`.
            levels: quantile levels; None: `quantile_levels`.
            freq: distance of two time stamps, for `patch_size="frequency"`.
            whole_patches: start every batch at the edge of a patch, as fine-tuning does. Otherwise, as in the published
                models, features of a series that is shorter than others of its batch may begin with a patch of padding
                that counts as seen.
            with_mean: append the mean behind the quantiles, for families that have one.
            on_batch: called after every batch with the series done and the series in all.

        Raises:
            ConfigError: a level the model cannot give.
            DataError: there is no series, one is empty, or its features have the wrong length.
        """
        batching = self._batching(whole_patches=whole_patches, on_batch=on_batch)
        asked = self.quantile_levels if levels is None else levels
        self.check_levels(asked)  # before the work
        quantiles, means = forecast_quantiles(batching, series, self._view(horizon, freq), asked)
        return np.concatenate([quantiles, means[:, None]], axis=1) if with_mean and means is not None else quantiles

    def sample_inputs(
        self, series: Sequence[SeriesInput], *, samples: int, horizon: int | None = None, freq: str | None = None
    ) -> Float[np.ndarray, "series sample horizon target"]:
        """`samples` paths per series, the same for the same seed, series and batch size; else as `predict_inputs`.

        Raises:
            ConfigError: Moirai 2.0 has no sample paths.
        """
        return forecast_samples(self._batching(), series, self._view(horizon, freq), samples)

    def predict_arrays(
        self,
        series: Sequence[Float[np.ndarray, "_time"]],  # lengths differ
        *,
        horizon: int | None = None,
        levels: Sequence[float] | None = None,
        interpolate: bool = False,
        freq: str | None = None,
        on_batch: Progress | None = None,
    ) -> Float[np.ndarray, "series quantile horizon"]:
        """Quantiles of univariate series up to their origins, NaN where a value is missing; else as `predict_inputs`.

        Args:
            series: values of any lengths.
            horizon: steps to forecast; None: `prediction_length`.
            levels: quantile levels; None: `quantile_levels`.
            interpolate: whether levels between trained ones may be interpolated.
            freq: as of `predict_inputs`.
            on_batch: as of `predict_inputs`.
        """
        inputs = [SeriesInput(target=one[None], name=f"series {index}") for index, one in enumerate(series)]
        batching, view = self._batching(on_batch=on_batch), self._view(horizon, freq)
        asked = self.quantile_levels if levels is None else levels
        self.check_levels(asked, interpolate=interpolate)  # before the work
        return forecast_quantiles(batching, inputs, view, asked, interpolate=interpolate)[0][..., 0]

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
        joint: bool = False,
        on_batch: Progress | None = None,
    ) -> "pd.DataFrame":
        """Forecast a long frame.

        Covariates help a model that was trained with them: Moirai 1.x and Moirai-MoE were, Moirai 2.0 after
        fine-tuning; one that never saw any forecasts worse with them.

        Args:
            df: columns item_id, timestamp, the targets and the covariates, on a regular grid, NaN where a value is
                missing.
            freq: distance of two time stamps: `h`, `D`, `MS`, …
            target: name of the target column, or several; each is forecast as a series of its own.
            known: names of numeric covariates that are known for the horizon.
            past: names of numeric covariates that are known up to the origin.
            future: item_id, timestamp and the known covariates for the horizon behind each series' last row.
            encoding: the covariates that the model was fine-tuned with, categorical ones included
                (`CovariateEncoding.read(folder)`); instead of `known` and `past`.
            horizon: steps to forecast; None: `prediction_length`.
            levels: quantile levels; None: `quantile_levels`.
            interpolate: whether levels between trained ones may be interpolated.
            joint: forecast the targets of a series together, each seeing the others, instead of one by one.
            on_batch: called after every batch with the series done and the series in all.

        Returns:
            item_id, target_name, origin, timestamp, mean and a column per level (`q10`, …), sorted within a row, target
            by target. The mean is that of the distribution; where there is none (Moirai 2.0) or it is infinite, the
            integral of the quantiles with flat tails.

        Raises:
            DataError: columns are absent, time stamps are not on the grid, or a known covariate lacks a value of the
                horizon.
            ConfigError: a level the model cannot give, or a horizon beyond what it sees of known covariates.
        """
        from moirai.forecasting.frame import forecast_frame  # noqa: PLC0415 - pandas waits until needed
        from moirai.forecasting.frame_inputs import frame_inputs  # noqa: PLC0415 - see above

        asked = self.quantile_levels if levels is None else levels
        self.check_levels(asked, interpolate=interpolate)  # before the work
        targets = [target] if isinstance(target, str) else list(target)
        view = self._view(horizon, freq)
        series, inputs = frame_inputs(
            df,
            freq=freq,
            targets=targets,
            known=known,
            past=past,
            future=future,
            encoding=encoding,
            horizon=view.horizon,
            is_moved=self.family.trained_levels is not None,
            joint=joint,
        )
        made = self.family.trained_levels or tuple(sorted(asked))
        batching = self._batching(whole_patches=True, on_batch=on_batch)
        quantiles, means = forecast_quantiles(batching, inputs, view, made)
        return forecast_frame(
            series,
            np.concatenate(list(np.moveaxis(quantiles, -1, 0))),  # target by target
            means=None if means is None else np.concatenate(list(np.moveaxis(means, -1, 0))),
            trained=made,
            levels=asked,
            freq=freq,
            target_names=targets,
        )

    def create_predictor(self, batch_size: int | None = None, *, samples: int | None = None) -> "MoiraiPredictor":
        """A GluonTS predictor: its data sets in, its quantile forecasts out, or sample forecasts where asked for."""
        from moirai.forecasting.gluonts import MoiraiPredictor  # noqa: PLC0415 - GluonTS is optional here

        forecast = copy.copy(self)
        if batch_size is not None:
            forecast.batch_size = batch_size
        return MoiraiPredictor(forecast, samples=samples)

    def _batching(self, *, whole_patches: bool = False, on_batch: Progress | None = None) -> Batching:
        return Batching(
            family=self.family,
            device=self.device,
            precision=self.precision,
            batch_size=self.batch_size,
            whole_patches=whole_patches,
            on_batch=on_batch,
        )

    def _view(self, horizon: int | None, freq: str | None) -> View:
        if horizon is not None and horizon < 1:
            raise ConfigError(f"horizon must be at least 1, not {horizon}")
        return View(self.context_length, horizon or self.prediction_length, freq)
