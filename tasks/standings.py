"""How scores compare with published ones: rows per task, geometric means over the marked tasks, tasks won.

In: our scores, the data folder, in which `published-scores.csv` (scores of models on configurations of GIFT-Eval) and
`baselines.csv` (scores of statistical methods on our tasks) may lie. Out: `Published` rows, `Standing`s, counts. Fails
with `DataError` where such a file lacks a column or holds something else than numbers in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from moirai.errors import DataError
from moirai.evaluation.tasks import TASKS
from tasks.evaluate import Score

PUBLISHED_FILE = "published-scores.csv"
BASELINES_FILE = "baselines.csv"
PUBLISHED_NAIVE = "seasonal_naive"  # as that file calls it
AUTO_ETS = "AutoETS"  # the strongest of the statistical methods, as that file calls it


@dataclass(frozen=True)
class Published:
    """A published score."""

    task: str
    model: str
    mase: float
    wql: float


@dataclass(frozen=True)
class Standing:
    """Geometric means of the ratios to seasonal naive over the same marked tasks."""

    model: str
    mase: float
    wql: float
    is_ours: bool


@dataclass(frozen=True)
class Wins:
    """On how many tasks a model is below seasonal naive, and in WQL below AutoETS."""

    model: str
    tasks: int
    mase: int
    wql: int
    with_auto_ets: int  # tasks that have such a row
    auto_ets: int


def published_models(data: Path) -> list[Published]:
    """Rows of models on the marked tasks; none where the file is not there."""
    tasks = {task.gift_eval: task.name for task in TASKS if task.gift_eval}
    return [
        Published(tasks[config], model, mase, wql)
        for config, model, mase, wql in _rows(data / PUBLISHED_FILE, "config")
        if config in tasks
    ]


def published_baselines(data: Path) -> list[Published]:
    """Rows of statistical methods on our tasks; none where the file is not there."""
    return [Published(*row) for row in _rows(data / BASELINES_FILE, "task")]


def standings(scores: Sequence[Score], published: Sequence[Published]) -> list[Standing]:
    """Our models and the published ones, best WQL first; empty where no marked task was scored."""
    marked = {task.name for task in TASKS if task.gift_eval} & {one.task for one in scores}
    if not marked:
        return []
    ratios: dict[tuple[str, bool], dict[str, tuple[float, float]]] = {}
    for one in scores:
        if one.task in marked:
            ratios.setdefault((one.model, True), {})[one.task] = (one.ratios["mase"], one.ratios["wql"])
    naive = {one.task: one for one in published if one.model == PUBLISHED_NAIVE}
    for row in published:
        if row.task in marked & set(naive):
            base = naive[row.task]
            ratios.setdefault((row.model, False), {})[row.task] = (row.mase / base.mase, row.wql / base.wql)
    means = {
        who: np.exp(np.log(list(by_task.values())).mean(0)) for who, by_task in ratios.items() if set(by_task) == marked
    }
    made = [Standing(model, float(mase), float(wql), ours) for (model, ours), (mase, wql) in means.items()]
    return sorted(made, key=lambda one: one.wql)


def wins(scores: Sequence[Score], baselines: Sequence[Published]) -> list[Wins]:
    """Tasks won by each model, in the order of the scores."""
    auto_ets = {one.task: one.wql for one in baselines if one.model == AUTO_ETS}
    made = []
    for model in dict.fromkeys(one.model for one in scores):
        own = [one for one in scores if one.model == model]
        beside = [one for one in own if one.task in auto_ets]
        made.append(
            Wins(
                model,
                len(own),
                mase=sum(one.ratios["mase"] < 1 for one in own),
                wql=sum(one.ratios["wql"] < 1 for one in own),
                with_auto_ets=len(beside),
                auto_ets=sum(one.values["wql"] < auto_ets[one.task] for one in beside),
            )
        )
    return made


def _rows(path: Path, key: str) -> list[tuple[str, str, float, float]]:
    """Key, model, MASE and WQL of every row."""
    if not path.is_file():
        return []
    try:
        frame = pd.read_csv(path)
        columns = (
            frame[key].astype(str),
            frame["model"].astype(str),
            frame["MASE"].astype(float),
            frame["WQL"].astype(float),
        )
    except (KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path} needs the columns {key}, model, MASE and WQL, the last two numbers ({reason}); mend or remove it"
        ) from error
    return list(zip(*columns, strict=True))
