"""The Lightning module that pretrains any of the three families.

In: a network or its configuration, plain settings. Out: losses and optimiser steps for a Lightning trainer whose loader
gives `TrainingBatch`es. Fails with `DataError` when values, a loss or a gradient are not finite; it names the items of
the batch. A checkpoint of it loads without unpickling objects: what it keeps of its settings is numbers, texts and
lists.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from moirai.config import config_from_dict
from moirai.errors import DataError
from moirai.hub import MODULES
from moirai.models.pretrained import PretrainedModule
from moirai.training.batch import TrainingBatch
from moirai.training.objectives import DEFAULT, Loss, find_loss
from moirai.training.optimizer import BETAS, WEIGHT_DECAY, make_optimizer, schedule

MOST_NAMED = 8  # items in a message


class MoiraiPretrainModule(pl.LightningModule):
    """Training of a network from scratch.

    The figures of a step are looked at when the next one begins, or is saved: by then they are there, and nothing has
    to wait for them. What a step draws at random (dropout) depends on the seed and the number of its batch alone.

    Args:
        module: trained in place; or the mapping that its `config.json` holds, of which a new one is made.
        loss: a name of `LOSSES`, `default`, or a loss object; its name is what is stored.
        optimizer: a name of `OPTIMIZERS`.
        learning_rate: peak rate.
        weight_decay: of the weights that decay.
        betas: memory of the gradient's moments.
        schedule: a name of `SCHEDULES`.
        warmup: steps over which the rate rises from 0.
        max_steps: length of the schedule.
        seed: of what is drawn in training.
    """

    def __init__(
        self,
        module: PretrainedModule | Mapping[str, Any],
        *,
        loss: str | Loss = DEFAULT,
        optimizer: str = "adamw",
        learning_rate: float = 1e-3,
        weight_decay: float = WEIGHT_DECAY,
        betas: Sequence[float] = BETAS,
        schedule: str = "cosine_with_restarts",
        warmup: int = 10_000,
        max_steps: int = 100_000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.module = _built(module) if isinstance(module, Mapping) else module
        self.loss = find_loss(loss, self.module)
        settings = {
            "module": _plain(self.module.config.to_dict()),
            "loss": self.loss.name,
            "optimizer": optimizer,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "betas": [float(beta) for beta in betas],
            "schedule": schedule,
            "warmup": warmup,
            "max_steps": max_steps,
            "seed": seed,
        }
        self.save_hyperparameters(settings)
        config = self.module.config
        self._draws = config.dropout_p > 0 or config.attn_dropout_p > 0
        self.last_loss: Tensor | None = None
        self.gradient_norm: Tensor | None = None
        self.last_batch: TrainingBatch | None = None
        self.batch_tokens = 0  # of the last batch, without padding

    def on_before_batch_transfer(self, batch: TrainingBatch, dataloader_idx: int) -> TrainingBatch:
        """Look at the values while they are on the host."""
        check_values(batch)
        self.batch_tokens = int((batch.tokens.sample_id > 0).sum())
        return batch

    def transfer_batch_to_device(
        self, batch: TrainingBatch, device: torch.device, dataloader_idx: int
    ) -> TrainingBatch:
        """Batches are frozen records that know how to move; Lightning's own way refuses them."""
        return batch.to(device)

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        self.judge()
        if self._draws:
            torch.manual_seed(self._batch_seed(batch_idx))
        loss = self.loss(self.module, batch)
        self.last_loss, self.last_batch = loss.detach(), batch
        if self.trainer.loggers:  # a call takes a part of a short step
            self.log("train_loss", loss)
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm of all gradients together, and keep it."""
        limit = float("inf") if gradient_clip_val is None else float(gradient_clip_val)
        self.gradient_norm = torch.nn.utils.clip_grad_norm_(self.parameters(), limit)

    def judge(self) -> None:
        """See whether the last step was sound. Raises `DataError`."""
        loss, norm, batch = self.last_loss, self.gradient_norm, self.last_batch
        self.last_batch = None
        if loss is None or batch is None:
            return
        if not torch.isfinite(loss):
            raise DataError(f"the loss is {loss.item()} in the batch of {_listed(_all(batch))}; {MENDS}")
        if norm is not None and not torch.isfinite(norm):
            raise DataError(f"the gradient is not finite after the batch of {_listed(_all(batch))}; {MENDS}")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Nothing unsound is saved."""
        self.judge()

    def on_train_end(self) -> None:
        """The last step has no next one."""
        self.judge()

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser, with its schedule stepped every batch."""
        given = self.hparams
        optimizer = make_optimizer(
            given["optimizer"],
            self.module,
            learning_rate=given["learning_rate"],
            weight_decay=given["weight_decay"],
            betas=tuple(given["betas"]),
        )
        multiplier = schedule(given["schedule"], warmup=given["warmup"], total=given["max_steps"])
        rates = torch.optim.lr_scheduler.LambdaLR(optimizer, multiplier)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rates, "interval": "step"}}

    def _batch_seed(self, batch_idx: int) -> int:
        number = batch_idx * self.trainer.world_size + self.trainer.global_rank
        return int(np.random.SeedSequence([self.hparams["seed"], number]).generate_state(1, np.uint32)[0])


MENDS = "look at their values, lower the learning rate or lengthen the warm-up"


def check_values(batch: TrainingBatch) -> None:
    """Raise `DataError` where values are not finite, with the items that hold them."""
    tokens = batch.tokens
    if bool(torch.isfinite(tokens.target).all()):
        return
    wrong = ~torch.isfinite(tokens.target).all(-1)
    rows, places = wrong.nonzero(as_tuple=True)
    samples = tokens.sample_id[rows, places].tolist()
    found = dict.fromkeys(_name(batch, row, sample) for row, sample in zip(rows.tolist(), samples, strict=True))
    raise DataError(
        f"a training batch holds values that are not finite, of {_listed(found)}; mark what is missing as not observed"
    )


def _name(batch: TrainingBatch, row: int, sample: int) -> str:
    """The item of a sample, where it is known."""
    known = batch.item_ids[row] if row < len(batch.item_ids) else ()
    return known[sample - 1] if 0 < sample <= len(known) else f"sample {sample} in row {row}"


def _all(batch: TrainingBatch) -> Iterable[str]:
    """Every item of a batch, once."""
    known = dict.fromkeys(item for row in batch.item_ids for item in row)
    return known or [f"{len(batch.tokens.sample_id)} rows without item ids"]


def _listed(items: Iterable[str]) -> str:
    names = list(items)
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _built(settings: Mapping[str, Any]) -> PretrainedModule:
    config = config_from_dict(settings)
    return MODULES[type(config)](config)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same without tuples inside, which a checkpoint read without unpickling would not bring back as such."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
