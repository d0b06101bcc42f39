"""The forecasting tasks that models are scored on: a data set, a horizon, a season, a number of windows.

In: names. Out: `Task`s. Fails with `ConfigError`, which lists the known names. Windows and metrics are those of
`windows.py` and `metrics.py`; tasks with a `gift_eval` are the same evaluation as that configuration of GIFT-Eval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from moirai.errors import ConfigError
from moirai.evaluation import public_data as data
from moirai.evaluation.public_data import DataSet


@dataclass(frozen=True)
class Task:
    """One data set with what is asked of it."""

    name: str
    data: DataSet
    freq: str
    horizon: int  # steps per window
    season: int  # steps; of MASE and of the seasonal naive forecast
    windows: int
    gift_eval: str | None = None  # the configuration of GIFT-Eval that this is


# fmt: off
TASKS = (
    #    name                      data                           freq     h    m   W   GIFT-Eval
    Task("etth1",                  data.ETT_HOURLY,               "h",     48, 24, 20),
    Task("ettm1_short",            data.ETT_QUARTER_HOURLY,       "15min", 48, 96, 20,  "ett1/15T/short"),
    Task("ettm1_medium",           data.ETT_QUARTER_HOURLY,       "15min", 480, 96, 15, "ett1/15T/medium"),
    Task("ettm1_long",             data.ETT_QUARTER_HOURLY,       "15min", 720, 96, 10, "ett1/15T/long"),
    Task("ett1_H_short",           data.ett_summed("h"),          "h",     48, 24, 20,  "ett1/H/short"),
    Task("ett1_H_medium",          data.ett_summed("h"),          "h",     480, 24, 4,  "ett1/H/medium"),
    Task("ett1_H_long",            data.ett_summed("h"),          "h",     720, 24, 3,  "ett1/H/long"),
    Task("ett1_D",                 data.ett_summed("D"),          "D",     30, 1, 3,    "ett1/D/short"),
    Task("ett1_W",                 data.ett_summed("7D"),         "7D",    8, 1, 2,     "ett1/W/short"),
    Task("metro_traffic",          data.METRO_TRAFFIC,            "h",     48, 24, 20),
    Task("pasta_sales_D",          data.PASTA_DAILY,              "D",     30, 1, 7,    "hierarchical_sales/D/short"),
    Task("pasta_sales_D_m7",       data.PASTA_DAILY,              "D",     30, 7, 7),
    Task("pasta_sales_W",          data.PASTA_WEEKLY,             "W-WED", 8, 1, 4,     "hierarchical_sales/W/short"),
    Task("beijing_pm25",           data.BEIJING_PM25,             "h",     48, 24, 20),
    Task("us_gasoline",            data.US_GASOLINE,              "W-MON", 13, 52, 11),
    Task("us_employment",          data.US_EMPLOYMENT,            "MS",    12, 12, 2),
    Task("tourism",                data.TOURISM,                  "QS",    8, 4, 1),
    Task("global_economy_GDP",     data.global_economy("GDP"),    "YS",    6, 1, 1),
    Task("global_economy_Exports", data.global_economy("Exports"), "YS",   6, 1, 1),
    Task("m4_hourly",              data.M4_HOURLY,                "h",     48, 24, 1,   "m4_hourly/H/short"),
)
# fmt: on


@runtime_checkable
class Named(Protocol):
    """Whatever has a name."""

    @property
    def name(self) -> str:
        """What it is asked for by."""


NamedT = TypeVar("NamedT", bound=Named)


def tasks_named(names: Sequence[str]) -> list[Task]:
    """The tasks of these names, in the order of `TASKS`; all for no name.

    Raises:
        ConfigError: there is no such task.
    """
    return chosen(TASKS, names, kind="task")


def chosen(tasks: Sequence[NamedT], names: Sequence[str], *, kind: str) -> list[NamedT]:
    """Those of some tasks that are named, in their order; all for no name.

    Raises:
        ConfigError: there is no such task; `kind` says what was asked for.
    """
    known = [task.name for task in tasks]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"unknown {kind} {unknown[0]!r}; known: {', '.join(known)}")
    return [task for task in tasks if not names or task.name in names]
