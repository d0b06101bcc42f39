"""What a forecast is for each family: which levels it has, what it needs to see, how it is decoded.

In: a network and the choices of a user. Out: a `Family`, which turns forecast inputs into quantiles, means and sample
paths. Fails with `ConfigError` where a choice does not fit the family. `MoiraiForecast` batches for all of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from moirai.distributions.base import Distribution
from moirai.errors import ConfigError
from moirai.forecasting import expert_decoding, masked_decoding
from moirai.forecasting.cached_decoding import decode_quantiles_cached
from moirai.forecasting.decoding import decode_quantiles, passes
from moirai.models.moirai1 import MoiraiModule
from moirai.models.moirai2 import Moirai2Module
from moirai.models.moirai_moe import MoiraiMoEModule
from moirai.models.pretrained import PretrainedModule
from moirai.tokens import ForecastInputs

Decoding = Literal["exact", "cached"]
PatchSize = int | Literal["auto", "frequency"]
DEFAULT_LEVELS = tuple(level / 10 for level in range(1, 10))
DEFAULT_HORIZON = 64  # steps, of families whose passes have no length of their own
EXPERT_PATCH = 16  # of the published Moirai-MoE


@dataclass(frozen=True)
class View:
    """What a forecast looks at and how far it looks."""

    context: int  # latest steps of a series
    horizon: int  # steps to forecast
    freq: str | None = None  # distance of two time stamps, where a patch size depends on it


@dataclass(frozen=True)
class Prediction:
    """A forecast in data units."""

    quantiles: Float[Tensor, "batch quantile horizon target"]  # the model's own: those of Moirai 2.0 may cross
    mean: Float[Tensor, "batch horizon target"] | None  # None: the family has quantiles only


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a user decides about decoding."""

    patch_size: PatchSize | None = None  # None: that of fine-tuning, otherwise the family's default
    decoding: Decoding = "exact"
    num_samples: int = expert_decoding.NUM_PATHS
    seed: int = 0


class Family(ABC):
    """A network as something that forecasts."""

    trained_levels: tuple[float, ...] | None = None  # None: any level can be asked for
    default_horizon: int = DEFAULT_HORIZON
    fills_zero = False  # a missing value of a single target is 0, not the mean of what came before
    is_aligned = True  # batches may start at the edge of a patch

    def steps(self, view: View) -> int:
        """Past steps that decoding needs; of one family more than the context."""
        return view.context

    @abstractmethod
    def copies(self, view: View) -> int:
        """Rows that a series takes in the widest pass."""

    @abstractmethod
    def patch(self, view: View) -> int:
        """Steps of a patch."""

    @abstractmethod
    def predict(self, inputs: ForecastInputs, view: View, levels: Sequence[float]) -> Prediction:
        """Quantiles at these levels: the trained ones where there are such.

        Args:
            inputs: `steps(view)` past steps at most, missing values filled.
            view: context and horizon.
            levels: rising or not.
        """

    @abstractmethod
    def sample(self, inputs: ForecastInputs, view: View, samples: int) -> Float[Tensor, "batch sample horizon target"]:
        """Sample paths, the same for the same seed and batch.

        Raises:
            ConfigError: the family has no distribution to draw from.
        """


# ruff: noqa: ARG002 - every family answers the same questions, not all need every fact


class QuantileFamily(Family):
    """Moirai 2.0: trained levels, a roll-out beyond one pass."""

    def __init__(self, module: Moirai2Module, choices: Choices) -> None:
        config = module.config
        if choices.patch_size not in (None, "frequency", config.patch_size):
            raise ConfigError(f"patch_size of this model is {config.patch_size}, it cannot be {choices.patch_size!r}")
        self.module, self.choices = module, choices
        self.trained_levels = tuple(config.quantile_levels)
        self.default_horizon = config.patch_size * config.num_predict_token

    def copies(self, view: View) -> int:
        """One per quantile path beyond the first pass."""
        return 1 if passes(self.module, view.horizon) == 1 else self.module.config.num_quantiles

    def patch(self, view: View) -> int:
        """Steps of a patch."""
        return self.module.config.patch_size

    def predict(self, inputs: ForecastInputs, view: View, levels: Sequence[float]) -> Prediction:
        """Quantiles at the trained levels."""
        decode = decode_quantiles_cached if self.choices.decoding == "cached" else decode_quantiles
        return Prediction(decode(self.module, inputs, horizon=view.horizon), None)

    def sample(self, inputs: ForecastInputs, view: View, samples: int) -> Float[Tensor, "batch sample horizon target"]:
        """There is no distribution to draw from."""
        raise ConfigError("Moirai 2.0 forecasts quantiles, it has no sample paths; ask for levels")


class _Distributional(Family):
    """What the two families with a distribution head share."""

    sizes: tuple[int, ...]
    choices: Choices

    def patch(self, view: View) -> int:
        """Steps of a patch: as chosen, or by frequency."""
        from moirai.forecasting.patch_sizes import patch_size_by_frequency  # noqa: PLC0415 - pandas when needed

        chosen = self.choices.patch_size
        if chosen == "frequency":
            if view.freq is None:
                raise ConfigError("patch_size 'frequency' needs freq; give it, or a number")
            return patch_size_by_frequency(view.freq, self.sizes, context=view.context)
        assert isinstance(chosen, int), "resolved by the constructor"
        return chosen

    def _generator(self, device: torch.device) -> torch.Generator:
        return torch.Generator(device).manual_seed(self.choices.seed)


class MaskedFamily(_Distributional):
    """Moirai 1.x: any level, one pass (so nothing to keep between passes), one patch size for each series."""

    fills_zero = True

    def __init__(self, module: MoiraiModule, choices: Choices) -> None:
        self.module = module
        self.sizes = sizes = tuple(module.config.patch_sizes)
        usual = module.trained_patch_size or (sizes[0] if len(sizes) == 1 else "auto")
        self.choices = Choices(**{**vars(choices), "patch_size": choices.patch_size or usual})
        _check_patch_size(self.choices.patch_size, sizes)

    @property
    def is_auto(self) -> bool:
        """Whether the patch size is chosen by the likelihood of the last steps."""
        return self.choices.patch_size == "auto"

    @property
    def is_aligned(self) -> bool:  # type: ignore[override]
        """With several patch sizes there is no common edge."""
        return not self.is_auto

    def steps(self, view: View) -> int:
        """The choice of a patch size looks at a horizon more."""
        return view.context + view.horizon if self.is_auto else view.context

    def copies(self, view: View) -> int:
        """One."""
        return 1

    def predict(self, inputs: ForecastInputs, view: View, levels: Sequence[float]) -> Prediction:
        """Quantiles and mean of the mixture, by inverting its distribution function."""
        law = self._law(inputs, view)
        asked = torch.tensor(levels, dtype=torch.float32, device=inputs.past_target.device)
        return Prediction(law.quantile(asked).transpose(0, 1), law.mean)

    def sample(self, inputs: ForecastInputs, view: View, samples: int) -> Float[Tensor, "batch sample horizon target"]:
        """Independent draws of every step, as in the published forecasts."""
        law = self._law(inputs, view)
        return law.sample(samples, self._generator(inputs.past_target.device)).transpose(0, 1)

    def _law(self, inputs: ForecastInputs, view: View) -> Distribution:
        if not self.is_auto:
            return masked_decoding.decode(self.module, inputs, horizon=view.horizon, patch_size=self.patch(view))
        return masked_decoding.decode_auto(self.module, inputs, context=view.context, horizon=view.horizon)


class ExpertFamily(_Distributional):
    """Moirai-MoE: exact in the first patch, sample paths beyond."""

    def __init__(self, module: MoiraiMoEModule, choices: Choices) -> None:
        self.module = module
        self.sizes = sizes = tuple(module.config.patch_sizes)
        usual = module.trained_patch_size or (EXPERT_PATCH if EXPERT_PATCH in sizes else sizes[0])
        self.choices = Choices(**{**vars(choices), "patch_size": choices.patch_size or usual})
        if self.choices.patch_size == "auto":
            raise ConfigError("patch_size 'auto' is for Moirai 1.x; give a number or 'frequency'")
        _check_patch_size(self.choices.patch_size, sizes)

    def copies(self, view: View) -> int:
        """One per path once there is a second patch."""
        return 1 if view.horizon <= self.patch(view) else self.choices.num_samples

    def predict(self, inputs: ForecastInputs, view: View, levels: Sequence[float]) -> Prediction:
        """Of the first patch by inversion, beyond it those of the paths."""
        made = expert_decoding.decode(
            self.module,
            inputs,
            horizon=view.horizon,
            patch_size=self.patch(view),
            paths=self.choices.num_samples,
            rescale=self.choices.decoding == "exact",
            generator=self._generator(inputs.past_target.device),
        )
        asked = torch.tensor(levels, dtype=torch.float32, device=inputs.past_target.device)
        return Prediction(made.quantile(asked).transpose(0, 1), made.mean)

    def sample(self, inputs: ForecastInputs, view: View, samples: int) -> Float[Tensor, "batch sample horizon target"]:
        """Paths of the model's own roll-out."""
        return expert_decoding.sample_paths(
            self.module,
            inputs,
            horizon=view.horizon,
            patch_size=self.patch(view),
            paths=samples,
            rescale=self.choices.decoding == "exact",
            generator=self._generator(inputs.past_target.device),
        )


def family_of(module: PretrainedModule, choices: Choices) -> Family:
    """The family of a network.

    Raises:
        ConfigError: a choice does not fit it.
    """
    if choices.decoding not in ("exact", "cached"):
        raise ConfigError(f"decoding must be exact or cached, not {choices.decoding!r}")
    if choices.num_samples < 1:
        raise ConfigError(f"num_samples must be at least 1, not {choices.num_samples}")
    match module:
        case Moirai2Module():
            return QuantileFamily(module, choices)
        case MoiraiModule():
            return MaskedFamily(module, choices)
        case MoiraiMoEModule():
            return ExpertFamily(module, choices)
    raise ConfigError(f"{type(module).__name__} is no family that can forecast")


def _check_patch_size(chosen: PatchSize | None, sizes: Sequence[int]) -> None:
    if chosen not in ("auto", "frequency", *sizes):
        known = ", ".join(map(str, sizes))
        raise ConfigError(f"patch_size {chosen!r} is none of the model's ({known}); 'frequency' chooses one of them")
