"""The Lightning module that fine-tunes a network of any family.

In: a module, a loss or its name, a rate; batches of packed tokens. Out: the same module, trained in place. Fails with
`ConfigError` where method, loss or patch size do not fit the family, and with `DataError`, which names the series of
the batch, where a loss or its gradient is not finite. Hyperparameters are plain values: a checkpoint of Lightning holds
nothing that torch would not load with `weights_only`.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from moirai.config import Moirai2Config
from moirai.errors import ConfigError, DataError
from moirai.models.pretrained import PretrainedModule
from moirai.tokens import PackedTokens
from moirai.training.batch import TrainingBatch
from moirai.training.holdout import HeldOutBatch
from moirai.training.methods import choose_trained, finish, trained_share
from moirai.training.objectives import DEFAULT, Loss, find_loss, training_loss
from moirai.training.optimizer import WEIGHT_DECAY, adamw, warmup_cosine

WARMUP_SHARE = 0.05  # of the schedule
MAX_NORM = 1.0  # of the gradient
MOST_NAMES = 5  # in an error

AnyBatch = TrainingBatch | PackedTokens | HeldOutBatch


class MoiraiFinetuneModule(pl.LightningModule):
    """Training of a Moirai network on packed tokens.

        trainer.fit(MoiraiFinetuneModule(MoiraiModule.from_pretrained(folder), "nll", lr=1e-4), dataloader)

    Batches are `TrainingBatch`es, or `PackedTokens` whose patches are as wide as one of the model's patch sizes.
    With `method="lora"` the module carries adapters until `finish` merges them.

    Args:
        module: trained in place.
        loss_fn: name of a loss of `moirai.training.objectives.LOSSES`, or an object that knows its name; its name is
            what is stored.
        lr: peak learning rate.
        method: what is trained, see `moirai/training/methods.py`.
        lora_rank: rank of the adapters of `lora`; None: the largest that trains less than 3 % of the parameters.
        max_steps: length of the schedule (warm-up, then half a cosine); None: the rate is constant.
        weight_decay: of the weights of linear layers and projections.

    Raises:
        ConfigError: there is no such method or loss, or the loss is none of the family's.
    """

    def __init__(
        self,
        module: PretrainedModule,
        loss_fn: str | Loss = DEFAULT,
        *,
        lr: float = 1e-4,
        method: str = "full",
        lora_rank: int | None = None,
        max_steps: int | None = None,
        weight_decay: float = WEIGHT_DECAY,
    ) -> None:
        super().__init__()
        self.loss_fn = find_loss(loss_fn, module)
        name = getattr(self.loss_fn, "name", None)
        if not isinstance(name, str):
            raise ConfigError(f"loss_fn must be a name or an object with a name, not {type(loss_fn).__name__}")
        choose_trained(module, method, lora_rank=lora_rank)
        self.module = module.train()
        settings = {"loss_fn": name, "lr": lr, "method": method, "lora_rank": lora_rank}
        self.save_hyperparameters(settings | {"max_steps": max_steps, "weight_decay": weight_decay})
        self.lr, self.max_steps, self.weight_decay = lr, max_steps, weight_decay
        self.first_step = 0  # steps that an earlier part of the run took
        self._batch: TrainingBatch | None = None

    @property
    def step(self) -> int:
        """Optimiser steps done, those of an earlier part of the run included."""
        return self.first_step + (self.trainer.global_step if self._trainer is not None else 0)

    @property
    def trained_share(self) -> float:
        """Share of the network's parameters that are trained."""
        return trained_share(self.module)

    def trained_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """What is trained, by name."""
        return ((name, p) for name, p in self.module.named_parameters() if p.requires_grad)

    def finish(self) -> PretrainedModule:
        """The network as an ordinary one: adapters merged, nothing frozen."""
        finish(self.module)
        return self.module.eval()

    def transfer_batch_to_device(self, batch: AnyBatch, device: torch.device, dataloader_idx: int) -> AnyBatch:
        """Batches are frozen records that know how to move; Lightning's own way refuses them."""
        return batch.to(device)

    def training_step(self, batch: TrainingBatch | PackedTokens, batch_idx: int) -> Tensor:
        """Loss of one batch of windows."""
        self._batch = self._packed(batch)
        with parametrize.cached():
            loss = training_loss(self.module, self._batch, self.loss_fn)
        if not torch.isfinite(loss):
            raise self._not_finite("loss", loss.item())
        self.log("train_loss", loss, batch_size=len(self._batch.tokens.target))
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of the gradient; one that is not finite is never stepped along."""
        norm = nn.utils.clip_grad_norm_([p for _, p in self.trained_parameters()], gradient_clip_val or MAX_NORM)
        if not torch.isfinite(norm):
            raise self._not_finite("gradient", norm.item())

    def configure_optimizers(self) -> Any:
        """AdamW; with `max_steps` a warm-up and half a cosine, stepped every batch."""
        optimizer = adamw(self.module, learning_rate=self.lr, weight_decay=self.weight_decay)
        if self.max_steps is None:
            return optimizer
        multiplier = warmup_cosine(max(1, int(WARMUP_SHARE * self.max_steps)), self.max_steps)
        first = self.first_step + 1  # the first step has a rate above zero
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: multiplier(first + step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _packed(self, batch: TrainingBatch | PackedTokens) -> TrainingBatch:
        """A batch that knows its patch size."""
        if isinstance(batch, TrainingBatch):
            return batch
        config, width = self.module.config, batch.target.shape[-1]
        sizes = (config.patch_size,) if isinstance(config, Moirai2Config) else tuple(config.patch_sizes)
        if width not in sizes:
            raise ConfigError(
                f"patches of {width} steps are none of the model's sizes ({', '.join(map(str, sizes))}); give a "
                "TrainingBatch, which says the patch size of its tokens"
            )
        return TrainingBatch(tokens=batch, patch_size=width)

    def _not_finite(self, what: str, value: float) -> DataError:
        """The error that names the series of the batch, those at fault alone where it can be told."""
        batch = self._batch
        assert batch is not None, "a step has a batch"
        rows = batch.item_ids
        if rows:
            faults = [n for n in range(len(rows)) if not torch.isfinite(self._row_loss(batch, n))]
            rows = tuple(rows[n] for n in faults) or rows
        names = list(dict.fromkeys(repr(item) for row in rows for item in row))
        shown = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if names[MOST_NAMES:] else "")
        series = f"series {shown}" if names else "series that the batch does not name"
        return DataError(
            f"the {what} of training step {self.step + 1} is {value} ({series}); look for extreme values there, or "
            "lower finetune.learning_rate"
        )

    @torch.no_grad()
    def _row_loss(self, batch: TrainingBatch, row: int) -> Tensor:
        tokens = PackedTokens(**{name: value[row : row + 1] for name, value in vars(batch.tokens).items()})
        size = batch.patch_size if isinstance(batch.patch_size, int) else batch.patch_size[row : row + 1]
        return training_loss(self.module, replace(batch, tokens=tokens, patch_size=size, item_ids=()), self.loss_fn)
