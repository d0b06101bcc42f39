"""Train: fine-tune the base model on the span before the first backtest window.

In: a job, a clean panel, the resolved base model. Out: a checkpoint folder with its loss curve and its scores before
and after, named by what decided the weights (`training_key`): the same choices, training values and base give the same
folder, and a second run reuses it. Beside it stands `<key>.state` while it is made: a run that was killed goes on from
there, and ends where it would have ended. Fails with `DataError` when no series is long enough or a loss is not finite,
and with `TrainingError` when the process that trains was killed. No value after the first backtest origin is read,
known covariates apart, which are known for a horizon more: the arrays are cut before anything is computed from them.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from moirai.errors import MoiraiError
from moirai.forecasting.covariates import ENCODING_FILE
from tasks.covariates import model_encoding
from tasks.errors import TrainingError
from tasks.job import Job
from tasks.limits import training
from tasks.model_reference import TRAINING_RECORD, ModelRef
from tasks.panel import PanelRef, read_panel, target_series
from tasks.progress import progress
from tasks.training.process import fine_tune_apart
from tasks.training.request import Request, Series, write_request
from tasks.training.result import TrainResult
from tasks.training.settings import asked, place
from tasks.training.span import TrainingCovariates, covariate_span, training_end, training_span
from tasks.training.work import CURVE_FILE, MADE, OnPoint, Outcome, fine_tune_here
from tasks.whole_files import whole_file, whole_folder

__all__ = ["TrainResult", "train", "train_model", "training_key"]

RECIPE = "3"  # raise when the way of training changes, so that older checkpoints are not taken for new ones
COVARIATE_RECIPE = "1"  # the same for what only trainings with covariates do
RECORD_FILE = TRAINING_RECORD  # written last: a folder that has it is whole
RUN_FOLDER = "run"  # in a state: the library's part of it

logger = logging.getLogger(__name__)


class Work(Protocol):
    """Does what a folder's request asks, in this process or in one of its own."""

    def __call__(self, folder: Path, *, on_point: OnPoint | None) -> Outcome:
        """Returns what was found."""
        ...


@dataclass(frozen=True)
class Ingredients:
    """Everything that a training is made of."""

    job: Job
    base: ModelRef
    item_ids: list[str]
    values: list[np.ndarray]
    covariates: TrainingCovariates | None
    end: pd.Timestamp  # last time stamp of the training span

    @property
    def until(self) -> pd.Timestamp:
        """Last time stamp that these weights or those they start from may have seen."""
        return max(self.end, self.base.trained_until or self.end)

    @property
    def key(self) -> str:
        """Names the checkpoint."""
        return training_key(self.job, self.values, self.base.digest, self.covariates)

    @property
    def series(self) -> Series:
        """What the process is given of the data."""
        return Series(self.values, None if self.covariates is None else self.covariates.arrays)


def training_key(
    job: Job,
    values: list[np.ndarray],
    base_digest: str,
    covariates: TrainingCovariates | None = None,
) -> str:
    """First 16 digits of the SHA-256 of everything that decides the weights."""
    settings = asked(job)  # what it leaves open follows from the series, which are below, and the longest context
    settings |= {"longest": job.context, "devices": job.finetune.devices, "recipe": RECIPE, "base": base_digest}
    if covariates is not None:
        settings |= {"covariates": covariates.encoding.fingerprint, "covariate_recipe": COVARIATE_RECIPE}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for one in [*values, *(covariates.arrays if covariates else [])]:
        digest.update(one.shape[-1].to_bytes(8, "little"))
        digest.update(np.where(np.isnan(one), np.nan, one).astype(np.float32).tobytes())
    return digest.hexdigest()[:16]


def train_model(
    job: Job, panel: PanelRef, base: ModelRef, *, on_step: OnPoint | None = None, apart: bool = True
) -> TrainResult:
    """Fine-tune, or find the checkpoint that an earlier run made of the same ingredients.

    Args:
        job: the `finetune` block, context, horizon and backtest windows decide.
        panel: a clean panel.
        base: where training starts from.
        on_step: called after every validation with the point of the curve and the number of steps in all.
        apart: train in a process of its own, whose memory comes back; False: in this one.
    """
    model_encoding(job, base)  # a base with other covariates is refused
    made_of = _ingredients(job, panel, base)
    folder = job.workspace_path / "checkpoints" / made_of.key
    work = fine_tune_apart if apart else fine_tune_here
    with _one_at_a_time(folder):
        found = _find(made_of, folder)
        if found is None:
            return _train(made_of, folder, work=work, on_step=on_step)
        logger.info("checkpoint %s stands already; nothing to train", folder.name)
        return found if found.scored_by == _scored_by(job) else _score_again(made_of, folder, found, work=work)


def _ingredients(job: Job, panel: PanelRef, base: ModelRef) -> Ingredients:
    """Cut the training span."""
    series = target_series(read_panel(panel), job.columns.target)
    values = training_span(job, series)
    covariates = covariate_span(job, panel, series, values)
    end = pd.Timestamp(training_end(job, series)[0])
    return Ingredients(job, base, [one.item_id for one in series], values, covariates, end)


def _find(made_of: Ingredients, folder: Path) -> TrainResult | None:
    """The record of a checkpoint that stands already, if it is whole."""
    record = folder / RECORD_FILE
    if record.is_file() and not _is_whole(folder, made_of.covariates):
        logger.warning("checkpoint %s lost files; training it anew", folder.name)
        record.unlink()
    if not record.is_file():
        return None
    found = TrainResult.model_validate_json(record.read_text(encoding="utf-8"))
    places = {"folder": str(folder), "curve_path": str(folder / CURVE_FILE)}  # a workspace may have moved
    known = {"base": made_of.base, "reused": True, "trained_until": made_of.until}
    return found.model_copy(update=places | known)


def _is_whole(folder: Path, covariates: TrainingCovariates | None) -> bool:
    from moirai.hub import CONFIG_FILE, WEIGHTS_FILE  # noqa: PLC0415 - torch waits until needed

    needed = [CONFIG_FILE, WEIGHTS_FILE, CURVE_FILE] + ([ENCODING_FILE] if covariates else [])
    return all((folder / name).is_file() for name in needed)


def _train(made_of: Ingredients, folder: Path, *, work: Work, on_step: OnPoint | None) -> TrainResult:
    """Fine-tune and write the checkpoint, whole or not at all."""
    job, base, covariates = made_of.job, made_of.base, made_of.covariates
    logger.info("fine-tuning %s by method %s, at most %d steps", base.name, job.finetune.method, job.finetune.max_steps)
    if covariates is not None:
        logger.info("covariates: %s", ", ".join(covariates.encoding.variates))
    with _state_of(folder) as state:
        write_request(state, _request(made_of, state), made_of.series)
        outcome = work(state, on_point=on_step)
        assert outcome.training is not None, "asked for a training"
        trained = TrainResult(
            folder=str(folder),
            training_key=folder.name,
            base=base,
            curve_path=str(folder / CURVE_FILE),
            **outcome.training.model_dump(),
            held_out=outcome.held_out,
            scored_by=_scored_by(job),
            reused=False,
            trained_until=made_of.until,
            encoding=None if covariates is None else covariates.encoding,
        )
        with whole_folder(folder, mark=RECORD_FILE) as made:
            for file in (state / MADE).iterdir():
                file.rename(made / file.name)
            if covariates is not None:
                covariates.encoding.write(made)
            _write_record(trained, made / RECORD_FILE)
    logger.info("%s", trained.sentence())
    return trained


def _score_again(made_of: Ingredients, folder: Path, found: TrainResult, *, work: Work) -> TrainResult:
    """The record with the scores by which the job forecasts now, also on disk."""
    with _state_of(folder) as state:
        write_request(state, _request(made_of, state, tuned=folder), made_of.series)
        scored = {"held_out": work(state, on_point=None).held_out, "scored_by": _scored_by(made_of.job)}
    again = found.model_copy(update=scored)
    with whole_file(folder / RECORD_FILE) as made:
        _write_record(again.model_copy(update={"reused": False}), made)
    return again


def _write_record(trained: TrainResult, path: Path) -> None:
    path.write_text(trained.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _request(made_of: Ingredients, state: Path, *, tuned: Path | None = None) -> Request:
    job = made_of.job
    return Request(
        base=str(made_of.base.folder),
        licence=made_of.base.licence,
        tuned=None if tuned is None else str(tuned),
        settings=asked(job),
        trainer=place(job),
        state=str(state / RUN_FOLDER),
        item_ids=made_of.item_ids,
        **_scoring(job),
    )


def _scoring(job: Job) -> dict[str, Any]:
    """How the held-out windows are forecast and scored."""
    inference = job.inference.model_dump()
    return {"context": job.context, "season": job.season_length, "frequency": job.frequency, "inference": inference}


def _scored_by(job: Job) -> str:
    return hashlib.sha256(json.dumps(_scoring(job), sort_keys=True).encode()).hexdigest()[:12]


@contextmanager
def _state_of(folder: Path) -> Iterator[Path]:
    """The folder from which a killed run goes on.

    It goes when the checkpoint is whole, and when an error says that going on would end the same way.
    """
    state = folder.with_name(f"{folder.name}.state")
    if (state / RUN_FOLDER).exists():
        logger.info("going on from where an earlier run was stopped, by %s", state)
    try:
        yield state
    except TrainingError:
        raise
    except MoiraiError:
        shutil.rmtree(state, ignore_errors=True)
        raise
    shutil.rmtree(state, ignore_errors=True)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the lock of a checkpoint: a second run of the same training waits and finds it made."""
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only runs that train need it

    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("another run trains the same; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@task(name="fine-tune", task_run_name="fine-tune {base.name}", cache_policy=NO_CACHE)
def train(job: Job, panel: PanelRef, base: ModelRef) -> TrainResult:
    """Fine-tune with a progress artifact."""
    with training(job.finetune.accelerator), progress(job, "fine-tuning") as report:
        return train_model(job, panel, base, on_step=lambda point, total: report(point.step, total))
