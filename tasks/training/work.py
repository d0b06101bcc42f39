"""The fine-tuning itself: load the base, train, score before and after, write the checkpoint.

In: a folder with a request. Out: an `Outcome`, and in the folder the weights in published form and the loss curve.
Fails with `DataError` (no series is long enough, a loss is not finite), `ConfigError` and `CheckpointError` as the
library does, and with `TrainingError` where the memory does not suffice.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ConfigDict

from tasks.errors import TrainingError
from tasks.training.request import Request, Series, read_request
from tasks.training.scores import FINE_TUNED, ZERO_SHOT, HeldOutScores, score_held_out

if TYPE_CHECKING:
    from moirai.models.pretrained import PretrainedModule
    from moirai.training.finetune_settings import FinetuneSettings

MADE = "made"  # subfolder with the checkpoint
CURVE_FILE = "curve.parquet"

logger = logging.getLogger(__name__)


class LossPoint(NamedTuple):
    """Losses at one step; NaN where not evaluated."""

    step: int
    train_loss: float
    validation_loss: float


OnPoint = Callable[[LossPoint, int], None]  # a point of the curve, and the steps in all


class Training(BaseModel):
    """How a training went."""

    model_config = ConfigDict(frozen=True)

    best_step: int  # 0: the base was not beaten
    steps: int
    zero_shot_loss: float
    best_loss: float
    settings: dict[str, str | int | float]  # what the series decided included
    derived: list[str]  # which of them the series decided
    trained_share: float  # of the parameters


class Outcome(BaseModel):
    """What a request led to; weights and curve of a training lie beside it."""

    model_config = ConfigDict(frozen=True)

    training: Training | None  # None: only scores were asked for
    held_out: HeldOutScores


def fine_tune_here(folder: Path, *, on_point: OnPoint | None) -> Outcome:
    """Do what the request in a folder asks, in this process."""
    outcome = fulfil(folder, on_point=on_point)
    assert outcome is not None, "this process was started by nobody"
    return outcome


def fulfil(folder: Path, *, on_point: OnPoint | None) -> Outcome | None:
    """Do what the request in a folder asks; the checkpoint comes into its subfolder `made`.

    Args:
        folder: holds the request.
        on_point: called after every validation.

    Returns:
        What was found; None in a process that only helps the first one with a device of its own.
    """
    from moirai.hub import load_module, resolve  # noqa: PLC0415 - torch waits until needed

    request, series = read_request(folder)
    base = resolve(Path(request.base))
    with _memory_explained():
        if request.tuned is not None:
            training, tuned = None, load_module(resolve(Path(request.tuned)))
        else:
            training, tuned = _train(request, series, load_module(base), folder / MADE, on_point=on_point)
        if not is_first_process():
            return None
        logger.info("scoring the held-out windows with and without fine-tuning")
        held_out = score_held_out(request, series, {ZERO_SHOT: load_module(base), FINE_TUNED: tuned})
    return Outcome(training=training, held_out=held_out)


def is_first_process() -> bool:
    """Whether this process writes and reports; with several devices Lightning starts one more for each other one."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _train(
    request: Request, series: Series, module: "PretrainedModule", folder: Path, *, on_point: OnPoint | None
) -> "tuple[Training, PretrainedModule]":
    """Fine-tune, and fill a folder with the checkpoint and its curve."""
    import pandas as pd  # noqa: PLC0415 - see above

    from moirai.hub import save_module  # noqa: PLC0415
    from moirai.training.finetune import CurvePoint, finetune  # noqa: PLC0415

    def told(point: CurvePoint, total: int) -> None:
        if on_point is not None:
            on_point(LossPoint(point.step, point.train_loss, point.validation_loss), total)

    settings, is_capped = _settings(request, series, module)
    result = finetune(
        module,
        series.values,
        settings,
        covariates=series.covariates,
        item_ids=request.item_ids,
        state=Path(request.state),
        on_step=told,
        **request.trainer,
    )
    if is_first_process():
        save_module(result.module, folder, licence=request.licence)
        curve = pd.DataFrame(result.curve, columns=list(LossPoint._fields))
        curve.to_parquet(folder / CURVE_FILE, index=False)
    used = {name: value for name, value in asdict(result.plan).items() if value is not None}  # no rank without adapters
    training = Training(
        best_step=result.best_step,
        steps=result.curve[-1].step,
        zero_shot_loss=result.zero_shot_loss,
        best_loss=result.best_loss,
        settings=used,
        derived=[*sorted(used.keys() & result.derived.keys()), *(["context"] if is_capped else [])],
        trained_share=result.trained_share,
    )
    return training, result.module


def _settings(request: Request, series: Series, module: "PretrainedModule") -> "tuple[FinetuneSettings, bool]":
    """What is asked, with an open context no longer than what forecasts will see, and whether that cut it."""
    from moirai.training.finetune_settings import FinetuneSettings, complete  # noqa: PLC0415 - see above

    settings = FinetuneSettings(**request.settings)
    variates = len(series.covariates[0]) if series.covariates else 0
    filled = complete(settings, module, [len(one) for one in series.values], covariates=variates)
    if settings.context is not None or filled.context <= request.context:
        return settings, False
    return replace(settings, context=request.context), True


@contextmanager
def _memory_explained() -> Iterator[None]:
    """Turn what torch raises when memory runs out into one sentence."""
    import torch  # noqa: PLC0415 - see above

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TrainingError(_memory(error)) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise TrainingError(_memory(error)) from error


def _memory(error: BaseException) -> str:
    reason = str(error).split(". ")[0].splitlines()[0] if str(error) else type(error).__name__
    return f"fine-tuning ran out of memory ({reason}); lower finetune.batch_size or finetune.context"
