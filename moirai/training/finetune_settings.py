"""Settings of a fine-tuning, and what they are where none is given: derived from the series and the model.

In: settings with gaps, a module, the lengths of the series. Out: a plan without gaps, and what of it was derived.
Fails with `ConfigError` where a setting does not fit the family. The patch size of Moirai 1.x is measured, not derived
(`finetune.py`): of those that leave two patches of context the one that forecasts the held-out windows best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moirai.errors import ConfigError
from moirai.forecasting.families import Choices, View, family_of
from moirai.models.moirai1 import MoiraiModule
from moirai.models.pretrained import PretrainedModule
from moirai.training.methods import METHODS, default_rank
from moirai.training.window_layout import window_shape

LONGEST_CONTEXT = 2048  # steps
LEAST_PATCHES = 2  # of a context
TOKENS = 8192  # of a step, about
BATCH_SIZES = (8, 64)  # least and most windows of a step
MOST_WINDOWS = 4  # that are held out of every series
HELD_OUT_SHARE = 0.1  # of a series, at most about
# Peak rate times width of the model: what a step changes in a token stays alike between widths (Yang et al. 2022).
# Measured with the starter: 1e-3 for all weights, ten times that for adapters and for the head.
RATE_TIMES_WIDTH = {"full": 0.2, "head": 2.0, "frozen_ffn": 0.2, "lora": 2.0}


def default_rate(method: str, width: int) -> float:
    """Peak rate of a method for a model of this width, to two digits."""
    return float(f"{RATE_TIMES_WIDTH[method] / width:.2g}")


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """Everything that decides the weights, besides module and series; None: derived from both."""

    horizon: int  # steps
    context: int | None = None  # steps
    patch_size: int | None = None  # steps, one of the model's
    method: str = "full"  # one of `METHODS`
    lora_rank: int | None = None  # of the adapters of `lora`
    max_steps: int = 400
    batch_size: int | None = None  # windows of a step, of each process
    learning_rate: float | None = None  # peak
    validate_every: int = 50  # steps
    patience: int = 4  # validations without gain
    validation_windows: int | None = None  # of every series
    precision: str = "fp32"  # or bf16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"there is no fine-tuning method {self.method!r}; known: {', '.join(METHODS)}")
        if self.precision not in ("fp32", "bf16"):
            raise ConfigError(f"precision of a fine-tuning is fp32 or bf16, not {self.precision!r}")
        counts = ("horizon", "max_steps", "validate_every", "patience")
        derived = ("context", "patch_size", "batch_size", "validation_windows", "lora_rank")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ConfigError(f"learning_rate of a fine-tuning must be above 0, not {self.learning_rate}")
        for name in (*counts, *(one for one in derived if getattr(self, one) is not None)):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of a fine-tuning must be at least 1, not {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class FinetunePlan(FinetuneSettings):
    """Settings without gaps; a rank there is where the method has adapters."""

    context: int
    patch_size: int
    batch_size: int
    learning_rate: float
    validation_windows: int

    def next_validation(self, step: int) -> int:
        """The step behind this one after which the next validation takes place."""
        return min((step // self.validate_every + 1) * self.validate_every, self.max_steps)


def complete(
    settings: FinetuneSettings, module: PretrainedModule, lengths: Sequence[int], *, covariates: int = 0
) -> FinetunePlan:
    """The settings with every gap filled; of several patch sizes that come into question the smallest stands there.

    Args:
        settings: with gaps.
        module: what is trained.
        lengths: steps of every series.
        covariates: variates beside the target.

    Raises:
        ConfigError: the model has no such patch size, or no such method.
    """
    horizon, longest = settings.horizon, max(lengths, default=0)
    windows = settings.validation_windows
    if windows is None:
        typical = float(np.median(lengths)) if len(lengths) else 0.0
        windows = int(min(max(1, -(-HELD_OUT_SHARE * typical // horizon)), MOST_WINDOWS))
    context = settings.context
    if context is None:
        # What a window of the longest series holds beside its horizon, in whole patches.
        there, patch = longest - (windows + 1) * horizon, min(patch_sizes(module, settings.patch_size, 0))
        context = min(LONGEST_CONTEXT, max(LEAST_PATCHES, -(-there // patch)) * patch)
    patch = min(patch_sizes(module, settings.patch_size, context))
    rate, rank = settings.learning_rate, settings.lora_rank
    found = {
        "validation_windows": windows,
        "context": context,
        "patch_size": patch,
        "batch_size": settings.batch_size or _batch_size(context, horizon, patch, covariates, module),
        "learning_rate": rate or default_rate(settings.method, module.config.d_model),
        "lora_rank": default_rank(module) if rank is None and settings.method == "lora" else rank,
    }
    return FinetunePlan(**(vars(settings) | found))


def patch_sizes(module: PretrainedModule, given: int | None, context: int) -> tuple[int, ...]:
    """The patch sizes that come into question: the one given, the family's own, or those of a Moirai 1.x.

    Args:
        module: of any family.
        given: a choice; None: there is none.
        context: steps; of the sizes of a Moirai 1.x those of which it holds two patches count, else the smallest.

    Raises:
        ConfigError: the model has no such patch size.
    """
    if not isinstance(module, MoiraiModule) or given is not None:
        return (family_of(module, Choices(patch_size=given)).patch(View(context, 1)),)
    sizes = tuple(module.config.patch_sizes)
    return tuple(size for size in sizes if context >= LEAST_PATCHES * size) or (min(sizes),)


def derived_settings(given: FinetuneSettings, plan: FinetunePlan) -> dict[str, Any]:
    """What was derived, by name."""
    return {name: value for name, value in vars(plan).items() if getattr(given, name) is None and value is not None}


def _batch_size(context: int, horizon: int, patch: int, covariates: int, module: PretrainedModule) -> int:
    """A power of two of windows that makes about as many tokens as a step can use."""
    is_causal = not isinstance(module, MoiraiModule)
    shape = window_shape(context=context, horizon=horizon, patch_size=patch, is_causal=is_causal)
    fitting = max(1, TOKENS // (shape.tokens * (1 + covariates)))
    least, most = BATCH_SIZES
    return min(most, max(least, 2 ** (fitting.bit_length() - 1)))
