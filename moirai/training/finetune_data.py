"""What a fine-tuning is trained and judged on: windows of the series, and the loaders that a run asks for.

In: series with their covariates and names, complete plan. Out: training windows, held-out windows, loaders. Fails
with `DataError`: no series is long enough, or one holds infinite values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import lightning.pytorch as pl
import numpy as np
from jaxtyping import Float
from torch.utils.data import DataLoader

from moirai.forecasting.families import Family, View
from moirai.training.finetune_learner import FinetuneLearner
from moirai.training.finetune_settings import FinetunePlan
from moirai.training.holdout import HeldOutWindows
from moirai.training.window_layout import window_shape
from moirai.training.windows import WindowSampler

MOST_ROWS = 512  # of a validation pass, where a forecast takes several (roll-outs, sample paths)


@dataclass(frozen=True)
class Span:
    """Series with what belongs to them."""

    series: Sequence[Float[np.ndarray, "_time"]]
    covariates: Sequence[Float[np.ndarray, "_covariate _time"]] | None
    item_ids: Sequence[str] | None

    @property
    def variates(self) -> int:
        """Variates beside the target."""
        return len(self.covariates[0]) if self.covariates else 0

    def held_out(self, plan: FinetunePlan, family: Family, processes: int = 1) -> HeldOutWindows:
        """The windows at the end of every series, as a family looks at them; at least one batch for each process."""
        rows = max(1, MOST_ROWS // family.copies(View(plan.context, plan.horizon)))
        return HeldOutWindows(
            self.series,
            context=plan.context,
            horizon=plan.horizon,
            windows=plan.validation_windows,
            batch_size=min(plan.batch_size, rows),
            min_batches=processes,
            patch_size=family.patch(View(plan.context, plan.horizon)),
            covariates=self.covariates,
            item_ids=self.item_ids,
        )

    def training(self, plan: FinetunePlan, *, is_causal: bool) -> WindowSampler:
        """Windows of what comes before the held-out ones."""
        held = plan.validation_windows * plan.horizon
        shape = window_shape(
            context=plan.context, horizon=plan.horizon, patch_size=plan.patch_size, is_causal=is_causal
        )
        return WindowSampler(
            [one[: max(0, len(one) - held)] for one in self.series],
            shape,
            batch_size=plan.batch_size,
            seed=plan.seed,
            is_causal=is_causal,
            covariates=self.covariates and [one[:, : max(0, one.shape[1] - held)] for one in self.covariates],
            item_ids=self.item_ids,
        )


class Loaders(pl.LightningDataModule):
    """Batches of a run. An epoch is what lies between two validations, so that a run can go on from any step.

    Batch n of process r of w is that of number n * w + r.
    """

    def __init__(
        self,
        training: WindowSampler,
        held_out: HeldOutWindows,
        learner: FinetuneLearner,
        plan: FinetunePlan,
    ) -> None:
        super().__init__()
        self.training, self.held_out, self.learner, self.plan = training, held_out, learner, plan

    def train_dataloader(self) -> DataLoader:
        """The batches up to the next validation."""
        assert self.trainer is not None, "Lightning asks for loaders of a trainer"
        processes, rank, step = self.trainer.world_size, self.trainer.global_rank, self.learner.step
        numbers = [n * processes + rank for n in range(step, self.plan.next_validation(step))]
        return DataLoader(self.training, batch_size=None, sampler=numbers)

    def val_dataloader(self) -> DataLoader:
        """This process' share of the held-out windows."""
        assert self.trainer is not None, "Lightning asks for loaders of a trainer"
        numbers = range(self.trainer.global_rank, len(self.held_out), self.trainer.world_size)
        return DataLoader(self.held_out, batch_size=None, sampler=list(numbers))
