"""Who is judged: the parts that models play, and what a backtest calls them.

In: the judged models and a finished backtest. Out: `Contender`s, the challenger first, then whom it has to beat.
Nothing here fails.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.backtest import BacktestResult
from tasks.backtesting.forecasters import BASELINE_VERSION
from tasks.job import Job
from tasks.model_reference import ModelRef

Part = Literal["challenger", "champion", "zero-shot base", "seasonal naive"]
NAIVE = "seasonal_naive"  # of the job's season, whatever baselines the job names


class Contender(BaseModel):
    """A model that is judged."""

    model_config = ConfigDict(frozen=True)

    part: Part
    name: str  # and version, as the backtest stores them
    version: str
    label: str  # as its scores are called


def contenders(
    job: Job, tested: BacktestResult, challenger: ModelRef, champion: ModelRef | None, base: ModelRef
) -> list[Contender]:
    """The judged models of a backtest.

    Args:
        job: its season decides which seasonal naive is meant.
        tested: it scored all of them.
        challenger: the version that may become champion.
        champion: the present one; None: there is none.
        base: the pretrained model that the challenger comes from.
    """
    models: Sequence[tuple[Part, ModelRef | None]] = [
        ("challenger", challenger),
        ("champion", champion),
        ("zero-shot base", base),
    ]
    naive = f"{NAIVE}:{job.season_length}"
    return [
        *(
            Contender(part=part, name=one.name, version=one.version, label=tested.label(one))
            for part, one in models
            if one is not None
        ),
        Contender(part="seasonal naive", name=naive, version=BASELINE_VERSION, label=naive),
    ]
