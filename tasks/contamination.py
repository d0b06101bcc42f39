"""What a model may have seen of the windows that it is scored on.

In: a job, a model, and when the windows begin. Out: sentences with numbers, as records. Nothing here fails. Two things
are known: until when a fine-tuning saw (`ModelRef.trained_until`), and what published models were pretrained on
(`moirai/corpora.py`), where the job says which public data set it has (`dataset`).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from moirai.corpora import is_listed, pretrained_on
from tasks.job import Job
from tasks.model_reference import ModelRef

logger = logging.getLogger(__name__)


class Seen(BaseModel):
    """Windows that a model may have seen, and why."""

    model_config = ConfigDict(frozen=True)

    model: str  # as scores call it
    windows: int
    of: int
    why: str

    def sentence(self) -> str:
        """All of it in words."""
        share = "all" if self.windows == self.of else f"{self.windows:,} of"
        return f"{self.model} may have seen {share} {self.of:,} windows that it is scored on: {self.why}"


def seen_windows(job: Job, models: Mapping[str, ModelRef], first_steps: np.ndarray) -> list[Seen]:
    """What is known of models having seen windows.

    Args:
        job: its `dataset` names public data.
        models: pinned, by what scores call them.
        first_steps: time stamp of the first step of every window.
    """
    if job.dataset is not None and not is_listed(job.dataset):
        logger.info("dataset %s is in no list of pretraining data that we know of", job.dataset)
    return [seen for label, model in models.items() for seen in _seen_by(job, model, label, first_steps)]


def _seen_by(job: Job, model: ModelRef, label: str, first_steps: np.ndarray) -> Iterator[Seen]:
    count = len(first_steps)
    if model.trained_until is not None:
        before = int((first_steps <= model.trained_until.to_datetime64()).sum())
        why = f"it was trained on data up to {model.trained_until}; promotion leaves them out"
        if before:
            yield Seen(model=label, windows=before, of=count, why=why)
    for corpus in pretrained_on(model.pretrained, job.dataset or ""):
        why = (
            f"{model.pretrained} was pretrained on {corpus.name}, which has {job.dataset} ({corpus.part}); "
            "`backtest.after` restricts the windows to later data"
        )
        yield Seen(model=label, windows=count, of=count, why=why)


def clean_from(models: Sequence[ModelRef]) -> pd.Timestamp | None:
    """The moment up to which a fine-tuning of any of the models may have seen; None: none is known of."""
    known = [one.trained_until for one in models if one.trained_until is not None]
    return max(known, default=None)
