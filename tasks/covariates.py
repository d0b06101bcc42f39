"""Covariates: the columns of a panel -> what a model sees of them.

In: a job, a panel, a model or the end of a training. Out: the encoding (which columns, which names, how far ahead), and
arrays [variate, time] per series, laid out as in `moirai/forecasting/covariates.py`. Fails with `JobError` when the job
names other covariates than the model was fine-tuned with, and with `DataError` as that module does.

A model that was not trained with covariates forecasts from the target alone: the starter and the published models know
single series only, and forecast worse with variates that they never learnt to read.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from moirai.evaluation.seasonality import to_offset
from moirai.forecasting.covariates import CovariateEncoding, arrange, future_values
from tasks.errors import JobError
from tasks.job import Job
from tasks.model_reference import ModelRef
from tasks.panel import KEYS, PanelRef, read_beside, read_panel

logger = logging.getLogger(__name__)


def model_encoding(job: Job, model: ModelRef) -> CovariateEncoding | None:
    """The covariates that a model is fed in this job; None: none.

    Raises:
        JobError: the model was fine-tuned with other covariates, or to see known ones another number of steps ahead.
    """
    encoding, columns = model.encoding, job.columns
    if encoding is None:
        if columns.covariates:
            logger.info("model %s was not trained with covariates; it forecasts from the targets alone", model.name)
        return None
    wanted = CovariateEncoding(
        known=tuple(columns.known),
        past=tuple(columns.past),
        lead=job.horizon,
        names=dict.fromkeys(columns.categorical, ()),
    )
    title = f"model {model.name} (version {model.version})"
    if encoding.summary != wanted.summary:
        raise JobError(
            f"{title} was fine-tuned with the covariates {encoding.summary}; the job names {wanted.summary}: "
            "name the same in columns, or make a version for these with `moirai finetune`"
        )
    if encoding.known and encoding.lead != job.horizon:
        raise JobError(
            f"{title} was fine-tuned to see known covariates {encoding.lead} steps ahead; the job's horizon is "
            f"{job.horizon}: set horizon: {encoding.lead}, or make a version for it with `moirai finetune`"
        )
    return encoding


def named(frame: pd.DataFrame, panel: PanelRef) -> pd.DataFrame:
    """A frame of the panel with names in place of the codes of its categorical columns."""
    coded = [column for column in panel.levels if column in frame.columns]
    return frame.assign(**{column: _names(frame[column], panel.levels[column]) for column in coded})


def _names(codes: pd.Series, levels: Sequence[str]) -> pd.Categorical:
    return pd.Categorical.from_codes(codes.fillna(-1).to_numpy(dtype=np.int64), categories=list(levels))


def future_frame(panel: PanelRef, encoding: CovariateEncoding) -> pd.DataFrame:
    """The known covariates behind the last target of each series, with names; empty where the source has none."""
    future = read_beside(panel.future_path)
    columns = [*KEYS, *encoding.known]
    if future is None:
        future = read_panel(panel).head(0)
    return named(future[columns], panel)


def panel_covariates(job: Job, panel: PanelRef, encoding: CovariateEncoding) -> dict[str, np.ndarray]:
    """What a model sees of the covariates of every item, from its first to its last step: [variate, time]."""
    frame = named(read_panel(panel)[[*KEYS, *encoding.columns]], panel)
    return _arranged(job, encoding, frame, future_frame(panel, encoding))


def training_covariates(
    job: Job, panel: PanelRef, end: np.datetime64
) -> tuple[CovariateEncoding, dict[str, np.ndarray]]:
    """The encoding of a training, and what it sees of the covariates of every item that has begun by its end.

    Args:
        job: its columns and horizon.
        panel: a clean panel.
        end: the last time stamp of the training; known covariates are seen for the horizon behind it, nothing else is.

    Raises:
        ConfigError: the covariates are too many variates.
    """
    bare = CovariateEncoding(known=tuple(job.columns.known), past=tuple(job.columns.past), lead=job.horizon)
    frame = named(read_panel(panel)[[*KEYS, *bare.columns]], panel)
    is_seen = frame["timestamp"] <= end
    known = [*KEYS, *bare.known]
    later = pd.concat([frame.loc[~is_seen, known], future_frame(panel, bare)], ignore_index=True)
    last = pd.Timestamp(end) + job.horizon * to_offset(job.frequency)
    later = later[later["timestamp"] <= last]
    seen = frame[is_seen]
    names = {
        column: _occurring([one[column] for one in (seen, later) if column in one.columns])
        for column in job.columns.categorical
    }
    encoding = CovariateEncoding(known=bare.known, past=bare.past, lead=bare.lead, names=names)
    return encoding, _arranged(job, encoding, seen, later)


def _occurring(parts: Sequence[pd.Series]) -> tuple[str, ...]:
    """Names that occur in a categorical column, sorted; a model learns nothing of the other ones."""
    return tuple(sorted({str(name) for part in parts for name in part.dropna().unique()}))


def _arranged(job: Job, encoding: CovariateEncoding, rows: pd.DataFrame, future: pd.DataFrame) -> dict[str, np.ndarray]:
    items = rows["item_id"].astype(str).to_numpy()
    starts = np.flatnonzero(np.concatenate(([True], items[1:] != items[:-1])))
    last = pd.DatetimeIndex(rows["timestamp"])[np.append(starts[1:], len(items)) - 1]
    ids = items[starts].tolist()
    ahead = future_values(future, encoding, item_ids=ids, last_timestamps=last, freq=job.frequency)
    return dict(zip(ids, arrange(encoding, rows, starts, ahead), strict=True))
