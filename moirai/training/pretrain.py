"""Pretraining: a configuration, batches and settings -> a trained module, through Lightning.

In: an architecture, a data set whose element n is batch n of the run, settings. Out: the module, its averaged twin
where one was asked for, and in the run's folder its states and its curve. Fails with `ConfigError` where settings
cannot work or the folder holds another run, with `DataError` where values, a loss or a gradient are not finite. A run
that was stopped or killed goes on from its last state and ends with the weights of one that was not.
"""

import json
import logging
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from moirai.config import AnyConfig
from moirai.errors import ConfigError
from moirai.hub import MODULES, OWN_LICENCE, save_module
from moirai.models.pretrained import PretrainedModule
from moirai.training.batch_loader import Batches, BatchLoader
from moirai.training.objectives import DEFAULT
from moirai.training.optimizer import BETAS, OPTIMIZERS, SCHEDULES, WEIGHT_DECAY
from moirai.training.pretrain_callbacks import Curve, Keeper, LogPoint, MovingAverage, saved_states
from moirai.training.pretrain_module import MoiraiPretrainModule
from moirai.training.quiet_lightning import quiet_lightning

RUN_FILE = "run.json"  # what the states of a folder belong to
LOCK_FILE = "run.lock"  # held while a run trains
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
STORAGE = {"fp32": torch.float32, "bf16": torch.bfloat16}
# May change between two parts of a run; everything else decides the weights.
FREE = ("steps", "save_every", "log_every", "workers", "accelerator")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """How a run trains; what decides the weights besides architecture and data.

    Attributes:
        steps: optimiser steps.
        learning_rate: peak rate.
        optimizer: a name of `OPTIMIZERS`.
        weight_decay: of the weights that decay.
        betas: memory of the gradient's moments.
        schedule: a name of `SCHEDULES`.
        warmup: steps over which the rate rises from 0.
        loss: a name of `LOSSES`, or `default`.
        clip: largest norm of the gradient; None: any.
        accumulate: batches of one process per optimiser step.
        precision: `fp32`, or `bf16` for the matrix products.
        ema_decay: of the moving average of the weights; None: there is none.
        seed: of the initial weights and of dropout.
        save_every: steps between two states.
        log_every: steps between two points of the curve.
        accelerator: `auto`, `cpu` or `cuda`.
        devices: training processes, each with a device of its own.
        workers: processes that make batches for each of them; 0: a thread.
    """

    steps: int
    learning_rate: float = 1e-3
    optimizer: str = "adamw"
    weight_decay: float = WEIGHT_DECAY
    betas: tuple[float, float] = BETAS
    schedule: str = "cosine_with_restarts"
    warmup: int = 0
    loss: str = DEFAULT
    clip: float | None = 1.0
    accumulate: int = 1
    precision: str = "fp32"
    ema_decay: float | None = None
    seed: int = 0
    save_every: int = 500
    log_every: int = 50
    accelerator: str = "auto"
    devices: int = 1
    workers: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "save_every", "log_every", "devices"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        known = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": PRECISIONS}
        for name, table in known.items():
            if getattr(self, name) not in table:
                raise ConfigError(f"{name} must be one of {', '.join(table)}, not {getattr(self, name)!r}")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ConfigError(f"ema_decay must lie inside (0, 1), not {self.ema_decay}")

    @property
    def step_batches(self) -> int:
        """Batches that a step takes, of all processes together."""
        return self.accumulate * self.devices

    @property
    def batches(self) -> int:
        """Batches that the run takes."""
        return self.steps * self.step_batches


@dataclass(frozen=True)
class PretrainResult:
    """What a run, or a part of one, leaves behind."""

    module: PretrainedModule
    average: PretrainedModule | None  # with the averaged weights
    step: int
    steps: int
    stopped_by: str | None  # what asked for the end before the last step
    last: LogPoint | None  # the newest point of the curve; None: no step was made

    @property
    def message(self) -> str:
        """How the run ended, for a person."""
        if self.stopped_by is None:
            return f"pretrained for {self.step} steps"
        return f"stopped by {self.stopped_by} at step {self.step} of {self.steps}; the same command goes on from there"


def pretrain(
    config: AnyConfig,
    data: Batches,
    settings: PretrainSettings,
    *,
    state: Path | None = None,
    data_settings: Mapping[str, Any] | None = None,
    on_log: Callable[[LogPoint], None] | None = None,
) -> PretrainResult:
    """Train from scratch, or go on from the last state of a folder.

    Args:
        config: architecture.
        data: map-style, of `settings.batches` `TrainingBatch`es; number n may depend on n alone.
        settings: length, rates, precision, seed.
        state: folder for the run's states and curve; None: nothing is kept, and a killed run is lost.
        data_settings: what decides the batches, in plain values: a folder with states of other data is refused.
        on_log: called with every point of the curve.

    Raises:
        ConfigError: the data set is shorter than the run, the folder holds another run or is in use.
        DataError: values, a loss or a gradient are not finite.
    """
    if (length := len(data)) < settings.batches:
        raise ConfigError(f"the run takes {settings.batches} batches, but the data has {length}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        module = MODULES[type(config)](config).train()
    learner = _learner(module, settings)
    identity = {"architecture": config.to_dict(), "data": dict(data_settings or {}), "settings": asdict(settings)}
    with _held(state), quiet_lightning(), _tf32():
        found = None if state is None else _newest(state, identity)
        first = 0 if found is None else int(found[1]["global_step"])
        if found is not None:
            logger.info("going on from step %d of %d", first, settings.steps)
        average = None if settings.ema_decay is None else MovingAverage(settings.ema_decay)
        curve = Curve(every=settings.log_every, folder=state, on_log=on_log)
        keeper = Keeper(state, every=settings.save_every)
        trainer = pl.Trainer(
            max_steps=settings.steps,
            accelerator=settings.accelerator,
            devices=settings.devices,
            # A step need not use every parameter: the variate bias cancels, an expert may have no visitor.
            strategy="auto" if settings.devices == 1 else "ddp_find_unused_parameters_true",
            precision=PRECISIONS[settings.precision],
            accumulate_grad_batches=settings.accumulate,
            gradient_clip_val=settings.clip,
            callbacks=[*([average] if average else []), curve, keeper],
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        loader = BatchLoader(data, first=first * settings.step_batches, workers=settings.workers)
        trainer.fit(learner, loader, ckpt_path=found and found[0], weights_only=True)
    module.eval()
    twin = None
    if average is not None:
        average.copy_to(twin := deepcopy(module))
    return PretrainResult(module, twin, trainer.global_step, settings.steps, keeper.stopped_by, curve.last)


def _learner(module: PretrainedModule, settings: PretrainSettings) -> MoiraiPretrainModule:
    return MoiraiPretrainModule(
        module,
        loss=settings.loss,
        optimizer=settings.optimizer,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        betas=settings.betas,
        schedule=settings.schedule,
        warmup=settings.warmup,
        max_steps=settings.steps,
        seed=settings.seed,
    )


def is_first_process() -> bool:
    """Whether this process leads those of a run; before the trainer knows."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


@contextmanager
def _held(state: Path | None) -> Iterator[None]:
    """Keep other runs out of a folder."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - comes with torch

    if state is None or not is_first_process():
        yield
        return
    state.mkdir(parents=True, exist_ok=True)
    lock = FileLock(state / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"another run trains in {state}; stop it first, or name another folder") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _tf32() -> Iterator[None]:
    """Let a GPU multiply float32 in TF32, as the published models were trained (specification, section 15)."""
    before = torch.get_float32_matmul_precision()
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _newest(state: Path, identity: dict[str, Any]) -> tuple[Path, dict[str, Any]] | None:
    """The newest state that can be read, with its content; a fresh folder is marked as this run's."""
    state.mkdir(parents=True, exist_ok=True)
    mine, mark = json.loads(json.dumps(identity)), state / RUN_FILE
    states = saved_states(state)
    if states and mark.is_file():
        theirs = json.loads(mark.read_text(encoding="utf-8"))
        if different := _first_difference(theirs, mine):
            raise ConfigError(f"{state} holds another run: {different}; name another folder, or delete this one")
    if is_first_process():
        mark.write_text(json.dumps(mine, indent=2) + "\n", encoding="utf-8")
    for path in states:
        try:
            return path, torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            logger.warning("%s cannot be read (%s); an older state is taken", path, " ".join(str(error).split())[:200])
    return None


def _first_difference(theirs: Mapping[str, Any], mine: Mapping[str, Any], prefix: str = "") -> str | None:
    for name in sorted({*theirs, *mine}):
        if prefix == "settings." and name in FREE:
            continue
        old, new = theirs.get(name), mine.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            if found := _first_difference(old, new, f"{prefix}{name}."):
                return found
        elif old != new:
            return f"its {prefix}{name} is {old!r}, this one's {new!r}"
    return None


def save_result(result: PretrainResult, out: Path, *, licence: str = OWN_LICENCE, storage: str = "bf16") -> list[Path]:
    """Write the checkpoint folder, and that of the averaged weights beside it.

    Args:
        result: of a run.
        out: folder of the checkpoint; the averaged one has `-ema` behind its name.
        licence: recorded in the weights' header.
        storage: of the stored parameters, `fp32` or `bf16`.
    """
    folders = [save_module(result.module, out, licence=licence, dtype=STORAGE[storage])]
    if result.average is not None:
        folder = out.with_name(f"{out.name}-ema")
        folders.append(save_module(result.average, folder, licence=licence, dtype=STORAGE[storage]))
    return folders
