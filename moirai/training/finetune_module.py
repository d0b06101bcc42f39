"""The Lightning module that fine-tunes Moirai 2.0."""

from typing import Any

import lightning.pytorch as pl
import torch

from moirai.errors import DataError
from moirai.forecasting.decoding import decode_quantiles
from moirai.losses import pinball
from moirai.models.moirai2 import Moirai2Module
from moirai.tokens import PackedTokens
from moirai.training.holdout import HeldOutBatch
from moirai.training.objective import quantile_objective
from moirai.training.optimizer import adamw, warmup_cosine

WARMUP_SHARE = 0.05  # of the schedule


class MoiraiFinetuneModule(pl.LightningModule):
    """Quantile training of a `Moirai2Module`.

    Args:
        module: trained in place.
        learning_rate: peak of the schedule (warm-up, then half a cosine).
        max_steps: length of the schedule.
        horizon: steps that validation forecasts.
        target_tokens: tokens at the start of every row that hold the target, those behind them hold covariates; None:
            all.
    """

    def __init__(
        self,
        module: Moirai2Module,
        *,
        learning_rate: float,
        max_steps: int,
        horizon: int,
        target_tokens: int | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.learning_rate, self.max_steps, self.horizon = learning_rate, max_steps, horizon
        self.target_tokens = target_tokens
        self._sums = torch.zeros(2, dtype=torch.float64)

    def transfer_batch_to_device(
        self, batch: PackedTokens | HeldOutBatch, device: torch.device, dataloader_idx: int
    ) -> PackedTokens | HeldOutBatch:
        """Batches are frozen records that know how to move; Lightning's own way refuses them."""
        return batch.to(device)

    def training_step(self, batch: PackedTokens, batch_idx: int) -> torch.Tensor:
        """Loss of one batch of windows."""
        loss = quantile_objective(self.module, batch, target_tokens=self.target_tokens)
        if not torch.isfinite(loss):
            raise DataError(f"the loss of training batch {batch_idx} is {loss.item()}; lower finetune.learning_rate")
        self.log("train_loss", loss)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start the sums over."""
        self._sums.zero_()

    def validation_step(self, batch: HeldOutBatch, batch_idx: int) -> None:
        """Add the quantile losses and actual values of some held-out windows."""
        quantiles = decode_quantiles(self.module, batch.inputs, horizon=self.horizon)[..., 0].float()
        levels = torch.tensor(self.module.config.quantile_levels, device=quantiles.device)
        is_known = ~torch.isnan(batch.actual)
        loss = 2 * pinball(quantiles, batch.actual.nan_to_num(), levels)
        sums = torch.stack([loss[is_known].double().sum(), batch.actual[is_known].double().abs().sum()])
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
