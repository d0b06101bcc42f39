"""Train: fine-tune the base model on the span before the first backtest window.

In: a job, a clean panel, the resolved base model. Out: a checkpoint folder with its loss curve, named by what decided
the weights (`training_key`): the same settings, training values and base give the same folder, and a second run reuses
it. Fails with `DataError` when no series is long enough or a loss is not finite. No value after the first backtest
origin is read, known covariates apart, which are known for a horizon more: the arrays are cut before anything is
computed from them.
"""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from moirai.errors import DataError
from moirai.forecasting.covariates import ENCODING_FILE, CovariateEncoding
from tasks.covariates import model_encoding, training_covariates
from tasks.job import Job
from tasks.model_reference import ModelRef
from tasks.panel import PanelRef, TargetSeries, read_panel, target_series
from tasks.progress import progress
from tasks.whole_files import whole_folder

if TYPE_CHECKING:
    from moirai.training.finetune import CurvePoint

RECIPE = "2"  # raise when the way of training changes, so that older checkpoints are not taken for new ones
COVARIATE_RECIPE = "1"  # the same for what only trainings with covariates do
RECORD_FILE = "training.json"  # written last: a folder that has it is whole
CURVE_FILE = "curve.parquet"

logger = logging.getLogger(__name__)


class TrainResult(BaseModel):
    """A fine-tuned checkpoint and how it came about."""

    model_config = ConfigDict(frozen=True)

    folder: str
    training_key: str
    base: ModelRef
    curve_path: str  # step, train_loss, validation_loss
    best_step: int  # 0: the base was not beaten and its weights were kept
    steps: int
    zero_shot_loss: float  # weighted quantile loss of the held-out windows before the first step
    best_loss: float
    reused: bool  # an earlier run had made it
    encoding: CovariateEncoding | None = None  # the covariates it was trained with

    @property
    def registration(self) -> dict[str, Any]:
        """What the registry keeps of a training."""
        return {
            "folder": Path(self.folder),
            "training_key": self.training_key,
            "base": self.base,
            "metrics": self.metrics,
        }

    @property
    def metrics(self) -> dict[str, float]:
        """Figures worth comparing between trainings."""
        return {
            "validation_wql_zero_shot": self.zero_shot_loss,
            "validation_wql": self.best_loss,
            "best_step": float(self.best_step),
        }


def training_end(job: Job, series: list[TargetSeries]) -> tuple[np.datetime64, str]:
    """The first backtest origin of all series, and whose it is: what came later in any of them is not trained on.

    One moment for all, because a model is trained on all series together: a later value of one would reach the weights
    that forecast an earlier window of another.

    Raises:
        DataError: no series is long enough for the backtest windows.
    """
    test_steps = job.backtest.windows * job.horizon
    tested = [one for one in series if len(one.values) > test_steps]
    if not tested:
        longest = max((len(one.values) for one in series), default=0)
        raise DataError(
            f"no series is longer than {job.backtest.windows} backtest windows of {job.horizon} steps (longest: "
            f"{longest}); take fewer backtest.windows or a shorter horizon"
        )
    first = min(tested, key=lambda one: one.timestamps[len(one.values) - test_steps - 1])
    return first.timestamps[len(first.values) - test_steps - 1], first.item_id


def training_span(job: Job, series: list[TargetSeries]) -> list[np.ndarray]:
    """Values of every series up to the first backtest origin of all of them."""
    end, item = training_end(job, series)
    logger.info("training ends at %s, the first backtest origin (of %s)", pd.Timestamp(end), item)
    return [one.values[one.timestamps <= end].astype(np.float32) for one in series]


@dataclass(frozen=True)
class TrainingCovariates:
    """What a training sees beside the targets."""

    encoding: CovariateEncoding
    arrays: list[np.ndarray]  # [variate, time] of every series, as long as its values


def covariate_span(
    job: Job, panel: PanelRef, series: list[TargetSeries], values: list[np.ndarray]
) -> TrainingCovariates | None:
    """The covariates of every series of a training span; None: the job has none."""
    if not job.columns.covariates:
        return None
    end, _ = training_end(job, series)
    encoding, found = training_covariates(job, panel, end)
    none = np.empty((len(encoding.variates), 0), np.float32)
    arrays = [found.get(one.item_id, none)[:, : len(cut)] for one, cut in zip(series, values, strict=True)]
    return TrainingCovariates(encoding, arrays)


def training_key(
    job: Job, values: list[np.ndarray], base_digest: str, covariates: TrainingCovariates | None = None
) -> str:
    """First 16 digits of the SHA-256 of everything that decides the weights."""
    settings = job.finetune.model_dump(mode="json", exclude={"base"})
    settings |= {
        "context": job.context,
        "horizon": job.horizon,
        "recipe": RECIPE,
        "base": base_digest,
    }
    if covariates is not None:
        settings |= {"covariates": covariates.encoding.fingerprint, "covariate_recipe": COVARIATE_RECIPE}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for one in [*values, *(covariates.arrays if covariates else [])]:
        digest.update(one.shape[-1].to_bytes(8, "little"))
        digest.update(np.where(np.isnan(one), np.nan, one).astype(np.float32).tobytes())
    return digest.hexdigest()[:16]


def train_model(
    job: Job,
    panel: PanelRef,
    base: ModelRef,
    *,
    on_step: "Callable[[CurvePoint, int], None] | None" = None,
) -> TrainResult:
    """Fine-tune, or find the checkpoint that an earlier run made of the same ingredients.

    Args:
        job: the `finetune` block, context, horizon and backtest windows decide.
        panel: a clean panel.
        base: where training starts from.
        on_step: called after every validation with the point of the curve and the number of steps in all.
    """
    model_encoding(job, base)  # a base with other covariates is refused
    series = target_series(read_panel(panel), job.columns.target)
    values = training_span(job, series)
    covariates = covariate_span(job, panel, series, values)
    key = training_key(job, values, base.digest, covariates)
    folder = job.workspace_path / "checkpoints" / key
    record = folder / RECORD_FILE
    if record.is_file() and not _is_whole(folder, covariates):
        logger.warning("checkpoint %s lost files; training it anew", key)
        record.unlink()
    if record.is_file():
        logger.info("checkpoint %s stands already; nothing to train", key)
        found = TrainResult.model_validate_json(record.read_text(encoding="utf-8"))
        places = {"folder": str(folder), "curve_path": str(folder / CURVE_FILE)}  # a workspace may have moved
        return found.model_copy(update=places | {"base": base, "reused": True})
    return _train(job, values, covariates, base, folder, on_step=on_step)


def _is_whole(folder: Path, covariates: TrainingCovariates | None) -> bool:
    from moirai.hub import CONFIG_FILE, WEIGHTS_FILE  # noqa: PLC0415 - torch waits until needed

    needed = [CONFIG_FILE, WEIGHTS_FILE, CURVE_FILE] + ([ENCODING_FILE] if covariates else [])
    return all((folder / name).is_file() for name in needed)


def _train(
    job: Job,
    values: list[np.ndarray],
    covariates: TrainingCovariates | None,
    base: ModelRef,
    folder: Path,
    *,
    on_step: "Callable[[CurvePoint, int], None] | None",
) -> TrainResult:
    """Fine-tune and write the checkpoint, whole or not at all."""
    from moirai.hub import load_as, resolve, save_module  # noqa: PLC0415 - torch waits until needed
    from moirai.models.moirai2 import Moirai2Module  # noqa: PLC0415 - see above
    from moirai.training.finetune import FinetuneSettings, finetune  # noqa: PLC0415 - so does Lightning

    settings = job.finetune
    logger.info("fine-tuning %s, at most %d steps", base.name, settings.max_steps)
    if covariates is not None:
        logger.info("covariates: %s", ", ".join(covariates.encoding.variates))
    result = finetune(
        load_as(resolve(base.folder), Moirai2Module),
        values,
        FinetuneSettings(context=job.context, horizon=job.horizon, **settings.model_dump(exclude={"base"})),
        covariates=None if covariates is None else covariates.arrays,
        on_step=on_step,
    )
    curve = pd.DataFrame(result.curve, columns=["step", "train_loss", "validation_loss"])
    trained = TrainResult(
        folder=str(folder),
        training_key=folder.name,
        base=base,
        curve_path=str(folder / CURVE_FILE),
        best_step=result.best_step,
        steps=result.curve[-1].step,
        zero_shot_loss=result.zero_shot_loss,
        best_loss=result.best_loss,
        reused=False,
        encoding=None if covariates is None else covariates.encoding,
    )
    with whole_folder(folder, mark=RECORD_FILE) as made:
        save_module(result.module, made, licence=base.licence)
        if covariates is not None:
            covariates.encoding.write(made)
        curve.to_parquet(made / CURVE_FILE, index=False)
        (made / RECORD_FILE).write_text(trained.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return trained


@task(name="fine-tune", task_run_name="fine-tune {base.name}", cache_policy=NO_CACHE)
def train(job: Job, panel: PanelRef, base: ModelRef) -> TrainResult:
    """Fine-tune with a progress artifact."""
    with progress(job, "fine-tuning") as report:
        return train_model(job, panel, base, on_step=lambda point, total: report(point.step, total))
