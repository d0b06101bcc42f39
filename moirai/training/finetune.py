"""Fine-tune Moirai 2.0 on series of one's own, with Lightning.

In: a module, the series of the training span, settings. Out: the module with the weights of the best validation (the ones it
came with, if none was better) and the loss curve. Fails with `DataError` when no series is long enough or a loss is not
finite. The last `validation_windows` horizons of every series are held out of training and forecast exactly as later in
use; their weighted quantile loss decides when to stop and what to keep.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float
from torch.utils.data import DataLoader, Dataset

from moirai.errors import DataError
from moirai.forecasting.decoding import decode_quantiles
from moirai.forecasting.inputs import SeriesInput, stack_inputs
from moirai.losses import pinball
from moirai.models.moirai2 import Moirai2Module
from moirai.tokens import ForecastInputs, PackedTokens
from moirai.training.objective import quantile_objective
from moirai.training.optimizer import adamw, warmup_cosine
from moirai.training.windows import WindowSampler, window_shape

MAX_VALIDATION_FORECASTS = 512  # enough for a steady figure; more would take longer than the training between two validations
WARMUP_SHARE = 0.05

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


@dataclass(frozen=True)
class ValidationBatch:
    """Held-out windows: what the model sees and what came."""

    inputs: ForecastInputs
    actual: Float[torch.Tensor, "batch horizon"]  # NaN where missing

    def to(self, device: torch.device | str) -> "ValidationBatch":
        """The same windows on a device."""
        return ValidationBatch(self.inputs.to(device), self.actual.to(device))


class MoiraiFinetuneModule(pl.LightningModule):
    """Quantile training of a `Moirai2Module`.

    Args:
        module: trained in place.
        learning_rate: peak of the schedule (warm-up, then half a cosine).
        max_steps: length of the schedule.
        horizon: steps that validation forecasts.
    """

    def __init__(
        self, module: Moirai2Module, *, learning_rate: float, max_steps: int, horizon: int
    ) -> None:
        super().__init__()
        self.module = module
        self.learning_rate, self.max_steps, self.horizon = learning_rate, max_steps, horizon
        self._sums = torch.zeros(2, dtype=torch.float64)

    def transfer_batch_to_device(
        self, batch: PackedTokens | ValidationBatch, device: torch.device, dataloader_idx: int
    ) -> PackedTokens | ValidationBatch:
        """Batches are frozen records that know how to move; Lightning's own way refuses them."""
        return batch.to(device)

    def training_step(self, batch: PackedTokens, batch_idx: int) -> torch.Tensor:
        """Loss of one batch of windows."""
        loss = quantile_objective(self.module, batch)
        if not torch.isfinite(loss):
            raise DataError(
                f"the loss of training batch {batch_idx} is {loss.item()}; lower finetune.learning_rate"
            )
        self.log("train_loss", loss)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start the sums over."""
        self._sums.zero_()

    def validation_step(self, batch: ValidationBatch, batch_idx: int) -> None:
        """Add the quantile losses and actual values of some held-out windows."""
        quantiles = decode_quantiles(self.module, batch.inputs, horizon=self.horizon)[
            ..., 0
        ].float()
        levels = torch.tensor(self.module.config.quantile_levels, device=quantiles.device)
        is_known = ~torch.isnan(batch.actual)
        loss = 2 * pinball(quantiles, batch.actual.nan_to_num(), levels)
        sums = torch.stack(
            [loss[is_known].double().sum(), batch.actual[is_known].double().abs().sum()]
        )
        self._sums += sums.cpu()

    def on_validation_epoch_end(self) -> None:
        """Weighted quantile loss over all held-out windows."""
        loss, scale = self._sums.tolist()
        self.log("validation_loss", loss / scale if scale else loss)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with warm-up and cosine, stepped every batch."""
        optimizer = adamw(self.module, learning_rate=self.learning_rate)
        multiplier = warmup_cosine(max(1, int(WARMUP_SHARE * self.max_steps)), self.max_steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: multiplier(step + 1))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class _ValidationSet(Dataset):
    """Batches of held-out windows, made once."""

    def __init__(self, series: Sequence[np.ndarray], settings: FinetuneSettings) -> None:
        horizon, count = settings.horizon, settings.validation_windows
        windows = [
            (one[: len(one) - back * horizon], one[len(one) - back * horizon :][:horizon])
            for back in range(count, 0, -1)
            for one in series
            if len(one) > back * horizon and not np.isnan(one[: len(one) - back * horizon]).all()
        ]
        windows = [(past, future) for past, future in windows if not np.isnan(future).all()]
        if not windows:
            raise DataError(
                f"no series can hold out {count} validation windows of {horizon} steps before the first backtest "
                "window; lower finetune.validation_windows or backtest.windows"
            )
        kept = np.unique(np.linspace(0, len(windows) - 1, MAX_VALIDATION_FORECASTS).astype(int))
        chosen = [windows[index] for index in kept]
        self.batches = [
            self._batch(chosen[start : start + settings.batch_size], settings)
            for start in range(0, len(chosen), settings.batch_size)
        ]

    @staticmethod
    def _batch(
        windows: list[tuple[np.ndarray, np.ndarray]], settings: FinetuneSettings
    ) -> ValidationBatch:
        longest = min(settings.context, max(len(past) for past, _ in windows))
        inputs = stack_inputs(
            [SeriesInput(target=past[None]) for past, _ in windows],
            context=longest,
            horizon=settings.horizon,
        )
        return ValidationBatch(
            inputs, torch.from_numpy(np.stack([future for _, future in windows]).astype(np.float32))
        )

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> ValidationBatch:
        return self.batches[index]


class _Watch(pl.Callback):
    """Keeps curve and best weights, stops when validation no longer gains, reports progress."""

    def __init__(
        self, settings: FinetuneSettings, on_step: Callable[[CurvePoint, int], None] | None
    ) -> None:
        self.settings, self.on_step = settings, on_step
        self.curve: list[CurvePoint] = []
        self.best_step, self.best_loss, self.since_best = 0, math.inf, 0
        self.best_state: dict[str, torch.Tensor] = {}
        self._losses: list[float] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
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
        point = CurvePoint(
            trainer.global_step, float(np.mean(self._losses)) if self._losses else math.nan, loss
        )
        self._losses.clear()
        self.curve.append(point)
        if loss < self.best_loss:
            self.best_step, self.best_loss, self.since_best = point.step, loss, 0
            self.best_state = deepcopy(pl_module.module.state_dict())
        else:
            self.since_best += 1
            trainer.should_stop = self.since_best >= self.settings.patience
        logger.info(
            "step %d/%d: training loss %.4f, validation loss %.4f%s",
            point.step,
            self.settings.max_steps,
            point.train_loss,
            loss,
            " (best)" if self.since_best == 0 else "",
        )
        if self.on_step is not None:
            self.on_step(point, self.settings.max_steps)


def finetune(
    module: Moirai2Module,
    series: Sequence[Float[np.ndarray, "time"]],
    settings: FinetuneSettings,
    *,
    on_step: Callable[[CurvePoint, int], None] | None = None,
) -> FinetuneResult:
    """Fine-tune in place and return the module with its best weights.

    Args:
        module: where training starts from.
        series: values up to the end of the training span, NaN where missing.
        settings: windows, rates, length, seed.
        on_step: called after every validation with the point of the curve and the number of steps in all.

    Raises:
        DataError: no series is long enough, or a loss is not finite.
    """
    torch.manual_seed(settings.seed)
    held_out = settings.validation_windows * settings.horizon
    shape = window_shape(
        context=settings.context, horizon=settings.horizon, patch_size=module.config.patch_size
    )
    training = WindowSampler(
        [one[: max(0, len(one) - held_out)] for one in series],
        shape,
        batch_size=settings.batch_size,
        seed=settings.seed,
    )
    loaders = (
        DataLoader(training, batch_size=None),
        DataLoader(_ValidationSet(series, settings), batch_size=None),
    )
    watch = _Watch(settings, on_step)
    learner = MoiraiFinetuneModule(
        module,
        learning_rate=settings.learning_rate,
        max_steps=settings.max_steps,
        horizon=settings.horizon,
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


class _quiet_lightning:  # noqa: N801 - reads as a statement
    """Silences Lightning's advice on loader workers and its banners; everything else stays."""

    def __enter__(self) -> None:
        self._levels = {
            name: logging.getLogger(name).level
            for name in ("lightning.pytorch", "lightning.fabric")
        }
        for name in self._levels:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*LeafSpec.*")

    def __exit__(self, *error: object) -> None:
        self._warnings.__exit__(*error)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
