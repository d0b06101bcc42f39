"""What runs are called and found by, in both UIs: names, tags and keys of artifacts.

In: the job, the flow or stage, and what is known of the run. Out: text. Nothing here fails.
"""

import re
from typing import Protocol

import pandas as pd

from moirai.evaluation.seasonality import to_offset
from tasks.job import Job


class Named(Protocol):
    """What is called by a name: a job, a pretraining."""

    @property
    def name(self) -> str:
        """Lower case, digits, - and _."""


def run_name(job: Job, what: str, origin: pd.Timestamp | None = None, *, as_of: pd.Timestamp | None = None) -> str:
    """Name of a run: `metro forecast 2018-09-30 23:00`.

    Args:
        job: its name comes first.
        what: the flow or stage.
        origin: last time stamp that the run saw; None: not known yet.
        as_of: moment the run was told to stand at; shown as long as the origin is not known.
    """
    if origin is not None:
        return f"{job.name} {what} {moment_name(origin, job.frequency)}"
    return f"{job.name} {what}" + ("" if as_of is None else f" as of {moment_name(as_of, job.frequency)}")


def moment_name(moment: pd.Timestamp, frequency: str) -> str:
    """A moment for people: a date alone where steps are days or longer, seconds only where there are some."""
    is_date = moment == moment.normalize()
    if is_date and moment + to_offset(frequency) >= moment + pd.Timedelta(days=1):
        return f"{moment:%Y-%m-%d}"
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment.second else f"{moment:%Y-%m-%d %H:%M}"


def run_tags(job: Job, flow: str, model: str | None = None) -> list[str]:
    """Tags of a run in Prefect: `job:metro`, `flow:forecast`, and `model:starter` once the model is known."""
    return [f"job:{job.name}", f"flow:{flow}"] + ([f"model:{model}"] if model else [])


def artifact_key(job: Named, flow: str, what: str) -> str:
    """Key of an artifact in Prefect: the same for all runs of a job's flow, so that its history lies under it."""
    return re.sub(r"[^a-z0-9]+", "-", f"{job.name}-{flow}-{what}".lower()).strip("-")
