"""Fine-tune Moirai 2.0 on series of one's own, with Lightning.

In: a module, the series of the training span, settings. Out: the module with the weights of the best validation (the
ones it came with, if none was better) and the loss curve. Fails with `DataError` when no series is long enough or a
loss is not finite. The last `validation_windows` horizons of every series are held out of training and forecast exactly
as later in use; their weighted quantile loss decides when to stop and what to keep.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float
from torch.utils.data import DataLoader

from moirai.errors import DataError
from moirai.models.moirai2 import Moirai2Module
from moirai.training.finetune_module import MoiraiFinetuneModule
from moirai.training.holdout import HeldOutWindows
from moirai.training.windows import WindowSampler, window_shape

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """Everything that decides the weights, besides module and series."""

    context: int  # steps
    horizon: int  # steps
    max_steps: int
    batch_size: int
    learning_rate: float
    validate_every: int  # steps
    patience: int  # validations without gain
    validation_windows: int
    precision: str = "fp32"
    seed: int = 0


@dataclass(frozen=True)
class CurvePoint:
    """Losses at one step; NaN where not evaluated."""

    step: int
    train_loss: float  # mean quantile loss in scaled space since the last point
    validation_loss: float  # weighted quantile loss of the held-out windows


@dataclass(frozen=True)
class FinetuneResult:
    """What fine-tuning leaves behind."""

    module: Moirai2Module
    curve: list[CurvePoint]
    best_step: int  # 0: the module as it came was not beaten

    @property
    def zero_shot_loss(self) -> float:
        """Validation loss before the first step."""
        return self.curve[0].validation_loss

    @property
    def best_loss(self) -> float:
        """Validation loss of the weights that were kept."""
        return next(point.validation_loss for point in self.curve if point.step == self.best_step)


class _Watch(pl.Callback):
    """Keeps curve and best weights, stops when validation no longer gains, reports progress."""

    def __init__(self, settings: FinetuneSettings, on_step: Callable[[CurvePoint, int], None] | None) -> None:
        self.settings, self.on_step = settings, on_step
        self.curve: list[CurvePoint] = []
        self.best_step, self.best_loss, self.since_best = 0, math.inf, 0
        self.best_state: dict[str, torch.Tensor] = {}
        self._losses: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Gather training losses."""
        self._losses.append(float(trainer.callback_metrics["train_loss"]))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """One point of the curve; keep the weights when they are the best so far."""
        assert isinstance(pl_module, MoiraiFinetuneModule), "this callback watches fine-tuning only"
        loss = float(trainer.callback_metrics["validation_loss"])
        if not math.isfinite(loss):
            raise DataError(
                f"the validation loss at step {trainer.global_step} is {loss}; lower finetune.learning_rate"
            )
        point = CurvePoint(trainer.global_step, float(np.mean(self._losses)) if self._losses else math.nan, loss)
        self._losses.clear()
        self.curve.append(point)
        if loss < self.best_loss:
            self.best_step, self.best_loss, self.since_best = point.step, loss, 0
            self.best_state = deepcopy(pl_module.module.state_dict())
        else:
            self.since_best += 1
            trainer.should_stop = self.since_best >= self.settings.patience
        trained = "" if math.isnan(point.train_loss) else f"training loss {point.train_loss:.4f}, "
        mark = " (best)" if self.since_best == 0 else ""
        logger.info("step %d/%d: %svalidation loss %.4f%s", point.step, self.settings.max_steps, trained, loss, mark)
        if self.on_step is not None:
            self.on_step(point, self.settings.max_steps)


def finetune(
    module: Moirai2Module,
    series: Sequence[Float[np.ndarray, "_time"]],
    settings: FinetuneSettings,
    *,
    covariates: Sequence[Float[np.ndarray, "_covariate _time"]] | None = None,
    on_step: Callable[[CurvePoint, int], None] | None = None,
) -> FinetuneResult:
    """Fine-tune in place and return the module with its best weights.

    Args:
        module: where training starts from.
        series: values up to the end of the training span, NaN where missing.
        settings: windows, rates, length, seed.
        covariates: of every series, as `moirai/forecasting/covariates.py` arranges them: what stands at a step is known
            there; None: there are none.
        on_step: called after every validation with the point of the curve and the number of steps in all.

    Raises:
        DataError: no series is long enough, or a loss is not finite.
    """
    torch.manual_seed(settings.seed)
    held_out = HeldOutWindows(
        series,
        context=settings.context,
        horizon=settings.horizon,
        windows=settings.validation_windows,
        batch_size=settings.batch_size,
        patch_size=module.config.patch_size,
        covariates=covariates,
    )
    held_out_steps = settings.validation_windows * settings.horizon
    shape = window_shape(context=settings.context, horizon=settings.horizon, patch_size=module.config.patch_size)
    training = WindowSampler(
        [one[: max(0, len(one) - held_out_steps)] for one in series],
        shape,
        batch_size=settings.batch_size,
        seed=settings.seed,
        covariates=covariates and [one[:, : max(0, one.shape[1] - held_out_steps)] for one in covariates],
    )
    loaders = (
        DataLoader(training, batch_size=None),
        DataLoader(held_out, batch_size=None),
    )
    watch = _Watch(settings, on_step)
    learner = MoiraiFinetuneModule(
        module,
        learning_rate=settings.learning_rate,
        max_steps=settings.max_steps,
        horizon=settings.horizon,
        target_tokens=shape.tokens if covariates else None,
    )
    with _quiet_lightning():
        trainer = pl.Trainer(
            max_steps=settings.max_steps,
            val_check_interval=min(settings.validate_every, settings.max_steps),
            limit_train_batches=settings.max_steps,
            num_sanity_val_steps=0,
            precision="bf16-mixed" if settings.precision == "bf16" else "32-true",
            gradient_clip_val=1.0,
            devices=1,
            callbacks=[watch],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.validate(learner, loaders[1], verbose=False)
        learner.train()
        trainer.fit(learner, *loaders)
    module.load_state_dict(watch.best_state)
    return FinetuneResult(module.eval(), watch.curve, watch.best_step)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's banners and its advice on loader workers; everything else stays."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            warnings.filterwarnings("ignore", ".*LeafSpec.*")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
