"""What watches a fine-tuning: the loss curve, the best weights, when to stop, and what a run needs to go on.

In: the hooks of Lightning. Out: `CurvePoint`s, the weights of the best validation, a state on disk. Fails with
`DataError` when a validation loss is not finite.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from moirai.errors import DataError
from moirai.training.finetune_learner import FinetuneLearner
from moirai.training.finetune_settings import FinetunePlan
from moirai.training.finetune_state import StateFolder

logger = logging.getLogger(__name__)

SAVE_EVERY = 25  # steps; every validation is saved as well


@dataclass(frozen=True)
class CurvePoint:
    """Losses at one step; NaN where not evaluated."""

    step: int
    train_loss: float  # mean training loss since the last point
    validation_loss: float  # weighted quantile loss of the held-out windows


class Watch(pl.Callback):
    """Keeps curve and best weights, stops when validation no longer gains, reports progress, saves the state.

    Args:
        plan: of the run.
        state: where the state is kept; None: nowhere.
        on_step: called after every validation with the point of the curve and the number of steps in all.
    """

    def __init__(
        self,
        plan: FinetunePlan,
        state: StateFolder | None = None,
        on_step: Callable[[CurvePoint, int], None] | None = None,
    ) -> None:
        self.plan, self.state, self.on_step = plan, state, on_step
        self.curve: list[CurvePoint] = []
        self.best_step, self.best_loss, self.since_best = 0, math.inf, 0
        self.best_weights: dict[str, torch.Tensor] = {}
        self._losses: list[float] = []

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to train."""
        last = self.curve[-1].step if self.curve else 0
        return last >= self.plan.max_steps or self.since_best >= self.plan.patience

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """What is drawn in a step (dropout) depends on the step alone, so that a run that goes on draws the same."""
        place = [self.plan.seed, _learner(pl_module).step, trainer.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Gather training losses; save now and then."""
        self._losses.append(float(trainer.callback_metrics["train_loss"]))
        step = _learner(pl_module).step
        if step % SAVE_EVERY == 0 and step != self.plan.next_validation(step - 1):
            self._save(trainer, _learner(pl_module))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """One point of the curve; keep the weights when they are the best so far."""
        learner = _learner(pl_module)
        loss, step = float(trainer.callback_metrics["validation_loss"]), learner.step
        if not math.isfinite(loss):
            raise DataError(f"the validation loss at step {step} is {loss}; lower finetune.learning_rate")
        point = CurvePoint(step, float(np.mean(self._losses)) if self._losses else math.nan, loss)
        self._losses.clear()
        self.curve.append(point)
        if loss < self.best_loss:
            self.best_step, self.best_loss, self.since_best = point.step, loss, 0
            self.best_weights = {name: p.detach().cpu().clone() for name, p in learner.trained_parameters()}
        else:
            self.since_best += 1
            trainer.should_stop = self.since_best >= self.plan.patience
        if trainer.is_global_zero:
            self._save(trainer, learner)
            self._report(point)

    def _report(self, point: CurvePoint) -> None:
        trained = "" if math.isnan(point.train_loss) else f"training loss {point.train_loss:.4f}, "
        mark = " (best)" if self.since_best == 0 else ""
        losses = f"{trained}validation loss {point.validation_loss:.4f}{mark}"
        logger.info("step %d/%d: %s", point.step, self.plan.max_steps, losses)
        if self.on_step is not None:
            self.on_step(point, self.plan.max_steps)

    def take_up(self, saved: dict[str, Any]) -> None:
        """Go on from what `_save` kept."""
        self.curve = [CurvePoint(*point) for point in saved["curve"]]
        self.best_step, self.best_loss, self.since_best = saved["best"]
        self.best_weights, self._losses = saved["best_weights"], saved["losses"]

    def _save(self, trainer: pl.Trainer, learner: FinetuneLearner) -> None:
        if self.state is None or not trainer.is_global_zero or not trainer.optimizers:
            return  # before the first step there is nothing to keep
        self.state.save(
            {
                "step": learner.step,
                "weights": {name: p.detach().cpu() for name, p in learner.trained_parameters()},
                "optimizer": trainer.optimizers[0].state_dict()["state"],
                "curve": [astuple(point) for point in self.curve],
                "best": (self.best_step, self.best_loss, self.since_best),
                "best_weights": self.best_weights,
                "losses": self._losses,
            }
        )


def _learner(pl_module: pl.LightningModule) -> FinetuneLearner:
    assert isinstance(pl_module, FinetuneLearner), "this callback watches fine-tuning only"
    return pl_module
