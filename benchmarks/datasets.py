"""Public data sets and the forecasting tasks on them, as the README of the data folder defines them.

A data set is a wide frame: one row per step of its regular grid, one column per series, NaN where a
value is missing or the series has not begun. Nothing else is cleaned.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

Loader = Callable[[Path], pd.DataFrame]
MIN_YEARS = 30  # of a country's history


@dataclass(frozen=True)
class Task:
    """One data set with what is asked of it."""

    name: str
    load: Loader  # data folder -> wide frame
    freq: str
    horizon: int  # steps per window
    season: int  # steps; of MASE and of the seasonal naive forecast
    windows: int
    gift_eval: str | None = None  # the configuration of GIFT-Eval that this is


def ett_hourly(data: Path) -> pd.DataFrame:
    """ETTh1: seven variables of a transformer station."""
    return _stamped(data / "etth1" / "ETTh1.csv", "date")


def ett_quarter_hourly(data: Path) -> pd.DataFrame:
    """ETTm1: the same station every 15 minutes."""
    return _stamped(data / "ettm1" / "ETTm1.csv.gz", "date")


def ett_summed(rule: str) -> Loader:
    """Loader of ETTm1 summed over the bins of a frequency, the first one from the first row on."""
    return lambda data: _full_bins(ett_quarter_hourly(data), rule)


def pasta_daily(data: Path) -> pd.DataFrame:
    """Units sold of 118 items on every calendar day; closing days are missing."""
    frame = _stamped(_plain_or_gzip(data / "pasta_sales" / "hierarchical_sales_data.csv"), "DATE")
    return frame.filter(regex="^QTY_").asfreq("D")


def pasta_weekly(data: Path) -> pd.DataFrame:
    """The same in weeks that end on Wednesday, as the first one begins on a Thursday."""
    return _full_bins(pasta_daily(data), "W-WED")


def metro_traffic(data: Path) -> pd.DataFrame:
    """Vehicles per hour; hours with several weather reports repeat, many hours are missing."""
    path = data / "metro_traffic" / "Metro_Interstate_Traffic_Volume.csv"
    frame = _stamped(path, "date_time")[["traffic_volume"]]
    return frame[~frame.index.duplicated()].asfreq("h")


def beijing_pm25(data: Path) -> pd.DataFrame:
    """Fine particles in the air of Beijing, hourly."""
    frame = pd.read_csv(data / "beijing_pm25" / "pollution.csv")
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame[["year", "month", "day", "hour"]]))
    return frame[["pm2.5"]].asfreq("h")


def us_gasoline(data: Path) -> pd.DataFrame:
    """Gasoline supplied, weekly; the time stamp is the Monday of the ISO week."""
    frame = pd.read_csv(data / "us_gasoline" / "us_gasoline.csv")
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame["Week"] + "-1", format="%G W%V-%u"))
    return frame[["Barrels"]].asfreq("W-MON")


def us_employment(data: Path) -> pd.DataFrame:
    """Persons employed in 148 industries, monthly; they begin in different years."""
    path = data / "us_employment" / "US_employment_fpp3_Monthly.txt"
    return _stamped(path, "observation_date", sep="\t").asfreq("MS")


def tourism(data: Path) -> pd.DataFrame:
    """Overnight trips per region and purpose, quarterly."""
    frame = pd.read_csv(data / "tourism" / "tourism.csv")
    quarter = frame["Quarter"].str.replace(" ", "", regex=False)
    frame["start"] = pd.PeriodIndex(quarter, freq="Q").to_timestamp()
    wide = frame.pivot_table("Trips", index="start", columns=["Region", "State", "Purpose"])
    return wide.asfreq("QS")


def global_economy(indicator: str) -> Loader:
    """Loader of a yearly indicator of the countries that have enough of it.

    Enough are 30 observations before 2012 and one in the test span after it.
    """

    def load(data: Path) -> pd.DataFrame:
        frame = pd.read_csv(data / "global_economy" / "global_economy.csv")
        frame["start"] = pd.to_datetime(frame["Year"].astype(str))
        wide = frame.pivot_table(indicator, index="start", columns="Country").asfreq("YS")
        enough = (wide[:"2011"].count() >= MIN_YEARS) & (wide["2012":].count() >= 1)
        return wide.loc[:, enough]

    return load


def m4_hourly(data: Path) -> pd.DataFrame:
    """M4 hourly, training and test part joined, aligned at the end: the series have no time stamps."""
    folder = data / "m4_hourly"
    train = pd.read_csv(folder / "Hourly-train.csv", index_col=0)
    test = pd.read_csv(folder / "Hourly-test.csv", index_col=0)
    joined = {name: [*train.loc[name].dropna(), *test.loc[name]] for name in train.index.astype(str)}
    longest = max(map(len, joined.values()))
    hours = pd.date_range("2000-01-01", periods=longest, freq="h")  # any day would do
    columns = {name: pd.Series(row, index=hours[-len(row) :]) for name, row in joined.items()}
    return pd.DataFrame(columns, index=hours)


def _stamped(path: Path, column: str, sep: str = ",") -> pd.DataFrame:
    return pd.read_csv(path, index_col=column, parse_dates=[column], sep=sep)


def _plain_or_gzip(path: Path) -> Path:
    """The file itself or, where only that is there, its gzip: the tests carry it compressed."""
    zipped = path.with_name(f"{path.name}.gz")
    return zipped if zipped.exists() and not path.exists() else path


def _full_bins(frame: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Sums over bins, missing values left out; bins that are not full are dropped."""
    bins = frame.resample(rule)
    sizes = bins.size()
    return bins.sum()[sizes == sizes.max()]


# fmt: off
TASKS = (
    #    name                      loader                    freq    h    m    W   GIFT-Eval
    Task("etth1",                  ett_hourly,               "h",     48, 24, 20),
    Task("ettm1_short",            ett_quarter_hourly,       "15min", 48, 96, 20, "ett1/15T/short"),
    Task("ettm1_medium",           ett_quarter_hourly,       "15min", 480, 96, 15, "ett1/15T/medium"),
    Task("ettm1_long",             ett_quarter_hourly,       "15min", 720, 96, 10, "ett1/15T/long"),
    Task("ett1_H_short",           ett_summed("h"),          "h",     48, 24, 20, "ett1/H/short"),
    Task("ett1_H_medium",          ett_summed("h"),          "h",     480, 24, 4, "ett1/H/medium"),
    Task("ett1_H_long",            ett_summed("h"),          "h",     720, 24, 3, "ett1/H/long"),
    Task("ett1_D",                 ett_summed("D"),          "D",     30, 1, 3,   "ett1/D/short"),
    Task("ett1_W",                 ett_summed("7D"),         "7D",    8, 1, 2,    "ett1/W/short"),
    Task("metro_traffic",          metro_traffic,            "h",     48, 24, 20),
    Task("pasta_sales_D",          pasta_daily,              "D",     30, 1, 7,   "hierarchical_sales/D/short"),
    Task("pasta_sales_D_m7",       pasta_daily,              "D",     30, 7, 7),
    Task("pasta_sales_W",          pasta_weekly,             "W-WED", 8, 1, 4,    "hierarchical_sales/W/short"),
    Task("beijing_pm25",           beijing_pm25,             "h",     48, 24, 20),
    Task("us_gasoline",            us_gasoline,              "W-MON", 13, 52, 11),
    Task("us_employment",          us_employment,            "MS",    12, 12, 2),
    Task("tourism",                tourism,                  "QS",    8, 4, 1),
    Task("global_economy_GDP",     global_economy("GDP"),    "YS",    6, 1, 1),
    Task("global_economy_Exports", global_economy("Exports"), "YS",   6, 1, 1),
    Task("m4_hourly",              m4_hourly,                "h",     48, 24, 1,  "m4_hourly/H/short"),
)
# fmt: on
