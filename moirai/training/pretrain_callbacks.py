"""What happens beside the steps of a pretraining run: curves, saved states, requests to stop, averaged weights.

In: settings of the run, its folder. Out: what the callbacks keep. Fails as the file system does. All of them act once
per optimiser step, however many batches are accumulated in it.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from moirai.models.pretrained import PretrainedModule
from moirai.training.batch import TrainingBatch
from moirai.training.pretrain_module import MoiraiPretrainModule

LOG_FILE = "log.jsonl"
STOP_FILE = "stop"
STATES = "step-*.ckpt"
KEPT = 2  # states
LOOK_EVERY = 1.0  # seconds between two looks for the stop file
AGREE_EVERY = 10  # steps after which several processes agree whether to stop


@dataclass(frozen=True, kw_only=True)
class LogPoint:
    """What a run did since the last point."""

    step: int
    loss: float  # mean since the last point
    learning_rate: float  # of the next step
    gradient_norm: float  # of the last step, before clipping
    tokens_per_second: float  # of all processes, without padding
    fill: float  # share of the tokens that are no padding


class EachStep(pl.Callback):
    """A callback that acts at the end of every optimiser step."""

    def __init__(self) -> None:
        self._step = -1

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Note where the run stands."""
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Act where an optimiser step was made."""
        assert isinstance(pl_module, MoiraiPretrainModule), "these callbacks watch pretraining only"
        self.after_batch(pl_module, args[1])
        if trainer.global_step > self._step:
            self.after_step(trainer, pl_module)

    def after_batch(self, pl_module: MoiraiPretrainModule, batch: TrainingBatch) -> None:
        """What is done after every batch."""

    def after_step(self, trainer: pl.Trainer, pl_module: MoiraiPretrainModule) -> None:
        """What is done after every optimiser step."""
        raise NotImplementedError


class Curve(EachStep):
    """Loss, rate and throughput, every few steps; into a file of the run's folder and to whoever asked.

    Args:
        every: steps between two points.
        folder: of the run; None: no file.
        on_log: called with every point.
    """

    def __init__(self, *, every: int, folder: Path | None, on_log: Callable[[LogPoint], None] | None) -> None:
        super().__init__()
        self.every, self.file, self.on_log = every, folder and folder / LOG_FILE, on_log
        self.last: LogPoint | None = None
        self._begin()

    def _begin(self) -> None:
        self._losses: list[Tensor] = []
        self._tokens = self._places = 0
        self._started = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A run that goes on from a state forgets the points behind it."""
        self._begin()
        if self.file is not None and self.file.is_file() and trainer.is_global_zero:
            lines = self.file.read_text(encoding="utf-8").splitlines(keepends=True)
            self.file.write_text("".join(one for one in lines if _step_of(one) <= trainer.global_step), "utf-8")

    def after_batch(self, pl_module: MoiraiPretrainModule, batch: TrainingBatch) -> None:
        """Gather; nothing is waited for."""
        assert pl_module.last_loss is not None, "a batch was trained on"
        self._losses.append(pl_module.last_loss)
        self._tokens += pl_module.batch_tokens
        self._places += batch.tokens.sample_id.numel()

    def after_step(self, trainer: pl.Trainer, pl_module: MoiraiPretrainModule) -> None:
        """Make a point where one is due."""
        step = trainer.global_step
        if step % self.every and step != trainer.max_steps:
            return
        loss = trainer.strategy.reduce(torch.stack(self._losses).float().mean(), reduce_op="mean")
        norm = pl_module.gradient_norm
        rates = trainer.optimizers[0].param_groups[0]
        self.last = LogPoint(
            step=step,
            loss=float(loss),
            learning_rate=float(rates["lr"]),
            gradient_norm=float("nan") if norm is None else float(norm),
            tokens_per_second=self._tokens * trainer.world_size / max(time.monotonic() - self._started, 1e-9),
            fill=self._tokens / max(self._places, 1),
        )
        self._begin()
        if not trainer.is_global_zero:
            return
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(self.last)) + "\n")
        if self.on_log is not None:
            self.on_log(self.last)


def _step_of(line: str) -> float:
    """Step of a line of the log; one that a kill cut off belongs behind everything."""
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return float("inf")


class MovingAverage(EachStep):
    """An exponential moving average of the weights.

    In the first steps it forgets faster: weights from before anything was learnt are not worth keeping.

    Args:
        decay: what is kept of the average at every step.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay, self.steps = decay, 0
        self.average: list[Tensor] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with the weights as they are, where no state gave an average."""
        own = list(pl_module.parameters())
        if not self.average:
            self.average = [parameter.detach().clone() for parameter in own]
        self.average = [one.to(parameter.device) for one, parameter in zip(self.average, own, strict=True)]

    @torch.no_grad()
    def after_step(self, trainer: pl.Trainer, pl_module: MoiraiPretrainModule) -> None:
        """Move the average towards the weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.average, [p.detach() for p in pl_module.parameters()], 1 - decay)

    def copy_to(self, module: PretrainedModule) -> None:
        """Give a module of the same shape the averaged weights."""
        with torch.no_grad():
            for parameter, value in zip(module.parameters(), self.average, strict=True):
                parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """What a saved state keeps."""
        return {"steps": self.steps, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.steps, self.average = int(state_dict["steps"]), list(state_dict["average"])


class Keeper(EachStep):
    """Saves the state of a run, and ends the run where that is asked for: by the stop file or a signal.

    A state is written beside its place and moved there whole; the newest two stay.

    Args:
        folder: of the run; None: nothing is saved.
        every: steps between two states.
    """

    def __init__(self, folder: Path | None, *, every: int) -> None:
        super().__init__()
        self.folder, self.every = folder, every
        self.stopped_by: str | None = None
        self._signal: str | None = None
        self._looked = 0.0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals over: Lightning's way of ending does not save."""
        if self.folder is not None and trainer.is_global_zero:
            (self.folder / STOP_FILE).unlink(missing_ok=True)
        if threading.current_thread() is threading.main_thread():
            self._before = {one: signal.signal(one, self._noted) for one in (signal.SIGINT, signal.SIGTERM)}

    def _noted(self, number: int, frame: FrameType | None) -> None:
        """The first signal ends the run in order, a second one at once."""
        self._signal = signal.Signals(number).name
        self.give_signals_back()

    def give_signals_back(self) -> None:
        """Handle signals as before the run."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The run is over."""
        self.give_signals_back()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """The run is over."""
        self.give_signals_back()

    def after_step(self, trainer: pl.Trainer, pl_module: MoiraiPretrainModule) -> None:
        """Save where it is due, or where the run is to end."""
        step, is_last = trainer.global_step, trainer.global_step == trainer.max_steps
        if not is_last:
            self.stopped_by = self._request(trainer)
        if self.folder is not None and (is_last or self.stopped_by or step % self.every == 0):
            self._save(trainer, self.folder, step)
        if self.stopped_by:
            trainer.should_stop = True

    def _request(self, trainer: pl.Trainer) -> str | None:
        """What asks for an end, if anything does; several processes agree on it."""
        found = self._signal
        if found is None and self.folder is not None and time.monotonic() - self._looked > LOOK_EVERY:
            self._looked = time.monotonic()
            found = f"the file {self.folder / STOP_FILE}" if (self.folder / STOP_FILE).exists() else None
        if trainer.world_size == 1:
            return found
        if trainer.global_step % AGREE_EVERY:
            self._signal = found
            return None
        agreed = trainer.strategy.reduce_boolean_decision(found is not None, all=False)
        return (found or "another process") if agreed else None

    def _save(self, trainer: pl.Trainer, folder: Path, step: int) -> None:
        partial = folder / ".partial.ckpt"
        trainer.save_checkpoint(partial)
        if not trainer.is_global_zero:
            return
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(folder / f"step-{step:08d}.ckpt")
        for old in saved_states(folder)[KEPT:]:
            old.unlink()
        if self.stopped_by:
            (folder / STOP_FILE).unlink(missing_ok=True)


def saved_states(folder: Path) -> list[Path]:
    """The states in a run's folder, the newest first."""
    return sorted(folder.glob(STATES), reverse=True)
