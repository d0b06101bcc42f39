"""Fine-tune a network of any family on series of one's own, with Lightning.

In: a module, the series of the training span, settings. Out: the module with the weights of the best validation (the
ones it came with, if none was better), the loss curve, the settings as they were used. Fails with `DataError` when no
series is long enough, or where values, a loss or a gradient are not finite: it names the series; with `ConfigError`
when settings do not fit the family or the state is that of another run. The last `validation_windows` horizons of every
series are held out of training and forecast exactly as later in use; their weighted quantile loss decides when to stop
and what to keep.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.utils.data import DataLoader

from moirai.forecasting.families import Choices, family_of
from moirai.models.moirai1 import MoiraiModule
from moirai.models.moirai_moe import MoiraiMoEModule
from moirai.models.pretrained import PretrainedModule
from moirai.training.finetune_data import Loaders, Span
from moirai.training.finetune_learner import FinetuneLearner
from moirai.training.finetune_settings import FinetunePlan, FinetuneSettings, complete, derived_settings, patch_sizes
from moirai.training.finetune_state import StateFolder, fingerprint
from moirai.training.finetune_watch import CurvePoint, Watch
from moirai.training.quiet_lightning import quiet_lightning

__all__ = ["CurvePoint", "FinetuneResult", "FinetuneSettings", "finetune"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuneResult:
    """What fine-tuning leaves behind."""

    module: PretrainedModule
    curve: list[CurvePoint]
    best_step: int  # 0: the module as it came was not beaten
    plan: FinetunePlan  # the settings without gaps
    derived: dict[str, Any]  # those of them that were derived from series and module
    trained_share: float  # of the module's parameters

    @property
    def zero_shot_loss(self) -> float:
        """Validation loss before the first step."""
        return self.curve[0].validation_loss

    @property
    def best_loss(self) -> float:
        """Validation loss of the weights that were kept."""
        return next(point.validation_loss for point in self.curve if point.step == self.best_step)


def finetune(
    module: PretrainedModule,
    series: Sequence[Float[np.ndarray, "_time"]],
    settings: FinetuneSettings,
    *,
    covariates: Sequence[Float[np.ndarray, "_covariate _time"]] | None = None,
    item_ids: Sequence[str] | None = None,
    state: Path | None = None,
    accelerator: str = "auto",
    devices: int = 1,
    on_step: Callable[[CurvePoint, int], None] | None = None,
) -> FinetuneResult:
    """Fine-tune in place and return the module with its best weights.

    With several devices every process runs this call and gets the same result; the first one alone writes the state.

    Args:
        module: where training starts from.
        series: values up to the end of the training span, NaN where missing.
        settings: windows, rates, method, length, seed; what is None there is derived.
        covariates: of every series, as `moirai/forecasting/covariates.py` arranges them: what stands at a step is known
            there; None: there are none.
        item_ids: of every series, for errors; None: their places.
        state: folder where the run keeps its state, and from which it goes on; None: nothing is kept.
        accelerator: as Lightning names them: `auto`, `cpu`, `gpu`.
        devices: of the accelerator; several share the work, each with batches of its own.
        on_step: called after every validation with the point of the curve and the number of steps in all.

    Raises:
        DataError: no series is long enough, or values, a loss or a gradient are not finite.
        ConfigError: settings do not fit the family, or the state is that of another run.
        CheckpointError: the state is damaged.
    """
    span = Span(series, covariates, item_ids)
    plan = complete(settings, module, [len(one) for one in series], covariates=span.variates)
    trainer = _Trainer(accelerator, devices, plan.precision)
    sizes = patch_sizes(module, settings.patch_size, plan.context)
    if len(sizes) > 1:
        plan = replace(plan, patch_size=_best_patch_size(module, sizes, span, plan, trainer))
    kept = None if state is None else StateFolder(state, fingerprint(module, plan, series, covariates))
    torch.manual_seed(plan.seed)
    learner = FinetuneLearner(
        module,
        _choices(module, plan.patch_size),
        lr=plan.learning_rate,
        method=plan.method,
        lora_rank=plan.lora_rank,
        max_steps=plan.max_steps,
    )
    share, derived = learner.trained_share, derived_settings(settings, plan)
    _state(plan, derived, share)
    watch = Watch(plan, kept, on_step)
    try:
        held_out = span.held_out(plan, family_of(module, learner.choices), devices)
        training = span.training(plan, is_causal=not isinstance(module, MoiraiModule))
        saved = None if kept is None else kept.load()
        _train(learner, Loaders(training, held_out, learner, plan), watch, trainer, saved=saved)
        learner.load_trained(watch.best_weights)
    finally:
        learner.finish()
    module.trained_patch_size = plan.patch_size if hasattr(module.config, "patch_sizes") else None
    return FinetuneResult(module, watch.curve, watch.best_step, plan, derived, share)


@rank_zero_only
def _state(plan: FinetunePlan, derived: dict[str, Any], share: float) -> None:
    """Say what was derived and how much is trained."""
    if derived:
        logger.info("derived: %s", ", ".join(f"{name} {value:g}" for name, value in derived.items()))
    logger.info("method %s: %.2f %% of the parameters are trained", plan.method, 100 * share)


@dataclass(frozen=True)
class _Trainer:
    """Where and in which precision Lightning computes."""

    accelerator: str
    devices: int
    precision: str

    def make(self, *, steps: int = 1, callbacks: Sequence[pl.Callback] = ()) -> pl.Trainer:
        """A trainer of that many steps."""
        # Unused parameters occur: experts without a token, the variate bias of single series.
        several = "ddp_find_unused_parameters_true"
        return pl.Trainer(
            max_steps=steps,
            max_epochs=-1,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            precision="bf16-mixed" if self.precision == "bf16" else "32-true",
            accelerator=self.accelerator,
            devices=self.devices,
            strategy="auto" if self.devices == 1 else several,
            use_distributed_sampler=False,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )


def _train(
    learner: FinetuneLearner,
    loaders: Loaders,
    watch: Watch,
    trainer: _Trainer,
    *,
    saved: dict[str, Any] | None,
) -> None:
    """From the first step, or from where the saved state stands, to the end."""
    with quiet_lightning():
        if saved is not None:
            learner.go_on(step=saved["step"], weights=saved["weights"], optimizer=saved["optimizer"])
            watch.take_up(saved)
            logger.info("going on from step %d", learner.step)
            if watch.is_done:
                return
        run = trainer.make(steps=watch.plan.max_steps - learner.step, callbacks=[watch])
        if saved is None:
            run.validate(learner, datamodule=loaders, verbose=False)
        learner.train()
        run.fit(learner, datamodule=loaders)


def _best_patch_size(
    module: PretrainedModule, sizes: Sequence[int], span: Span, plan: FinetunePlan, trainer: _Trainer
) -> int:
    """The patch size with which the module, as it is, forecasts the held-out windows best."""
    losses: dict[int, float] = {}
    for size in sizes:
        learner = FinetuneLearner(module, _choices(module, size))
        held_out = DataLoader(span.held_out(plan, family_of(module, learner.choices)), batch_size=None)
        with quiet_lightning():
            (found,) = trainer.make().validate(learner, held_out, verbose=False)
        losses[size] = found["validation_loss"]
    shown = ", ".join(f"{size}: {loss:.4f}" for size, loss in losses.items())
    logger.info("weighted quantile loss of the held-out windows by patch size: %s", shown)
    return min(losses, key=lambda size: losses[size])


def _choices(module: PretrainedModule, patch_size: int) -> Choices:
    """How held-out windows are forecast; sample paths with kept keys and values, which costs a small part."""
    is_sampled = isinstance(module, MoiraiMoEModule)
    return Choices(patch_size=patch_size, decoding="cached" if is_sampled else "exact")
