"""The public data sets that models are scored on, as wide frames.

In: the folder that holds them, a folder per data set with the published files in it, each plain or gzipped. Out: a wide
frame, one row per step of its regular grid, one column per series, NaN where a value is missing or the series has not
begun; nothing else is cleaned. Fails with `DataError`, which names the file that is absent or is not the published one.
`docs/evaluation.md` says where they come from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from moirai.errors import DataError

MIN_YEARS = 30  # of a country's history


@dataclass(frozen=True)
class DataSet:
    """Published files and how they become a wide frame."""

    files: tuple[str, ...]  # paths inside the data folder
    read: Callable[..., pd.DataFrame]  # takes the paths of the files, in their order

    def absent(self, folder: Path) -> list[Path]:
        """The files that are there neither plain nor gzipped."""
        return [path for file in self.files if not (path := _plain_or_gzip(folder / file)).is_file()]

    def load(self, folder: Path) -> pd.DataFrame:
        """Read the files into a wide frame.

        Args:
            folder: the data folder.

        Raises:
            DataError: a file is absent, or is not the published one.
        """
        if absent := self.absent(folder):
            raise DataError(f"data file {absent[0]} does not exist; put the published file there, plain or gzipped")
        paths = [_plain_or_gzip(folder / file) for file in self.files]
        try:
            return self.read(*paths)
        except (KeyError, ValueError, UnicodeDecodeError, EOFError, OSError) as error:  # as pandas and gzip put it
            reason = " ".join(str(error).split())
            raise DataError(
                f"data file {' or '.join(map(str, paths))} is not the published one ({reason}); fetch it again"
            ) from error


def ett_summed(rule: str) -> DataSet:
    """ETTm1 summed over the bins of a frequency, the first one from the first row on."""
    return DataSet(ETT_QUARTER_HOURLY.files, lambda path: _full_bins(_dated(path), rule))


def global_economy(indicator: str) -> DataSet:
    """A yearly indicator of the countries that have enough of it.

    Enough are 30 observations before 2012 and one in the test span after it.
    """

    def read(path: Path) -> pd.DataFrame:
        frame = pd.read_csv(path)
        frame["start"] = pd.to_datetime(frame["Year"].astype(str))
        wide = frame.pivot_table(indicator, index="start", columns="Country").asfreq("YS")
        enough = (wide[:"2011"].count() >= MIN_YEARS) & (wide["2012":].count() >= 1)
        return wide.loc[:, enough]

    return DataSet(("global_economy/global_economy.csv",), read)


def _dated(path: Path) -> pd.DataFrame:
    return _stamped(path, "date")


def _pasta_daily(path: Path) -> pd.DataFrame:
    """Units sold of 118 items on every calendar day; closing days are missing."""
    return _stamped(path, "DATE").filter(regex="^QTY_").asfreq("D")


def _metro_traffic(path: Path) -> pd.DataFrame:
    """Vehicles per hour; hours with several weather reports repeat, many hours are missing."""
    frame = _stamped(path, "date_time")[["traffic_volume"]]
    return frame[~frame.index.duplicated()].asfreq("h")


def _beijing_pm25(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path)
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame[["year", "month", "day", "hour"]]))
    return frame[["pm2.5"]].asfreq("h")


def _us_gasoline(path: Path) -> pd.DataFrame:
    """The time stamp is the Monday of the ISO week."""
    frame = pd.read_csv(path)
    frame.index = pd.DatetimeIndex(pd.to_datetime(frame["Week"] + "-1", format="%G W%V-%u"))
    return frame[["Barrels"]].asfreq("W-MON")


def _us_employment(path: Path) -> pd.DataFrame:
    """148 industries; they begin in different years."""
    return _stamped(path, "observation_date", sep="\t").asfreq("MS")


def _tourism(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path)
    quarter = frame["Quarter"].str.replace(" ", "", regex=False)
    frame["start"] = pd.PeriodIndex(quarter, freq="Q").to_timestamp()
    wide = frame.pivot_table("Trips", index="start", columns=["Region", "State", "Purpose"])
    return wide.asfreq("QS")


def _m4_hourly(train_path: Path, test_path: Path) -> pd.DataFrame:
    """Training and test part joined, aligned at the end: the series have no time stamps."""
    train, test = (pd.read_csv(path, index_col=0) for path in (train_path, test_path))
    joined = {name: [*train.loc[name].dropna(), *test.loc[name]] for name in train.index.astype(str)}
    longest = max(map(len, joined.values()))
    hours = pd.date_range("2000-01-01", periods=longest, freq="h")  # any day would do
    columns = {name: pd.Series(row, index=hours[-len(row) :]) for name, row in joined.items()}
    return pd.DataFrame(columns, index=hours)


def _stamped(path: Path, column: str, sep: str = ",") -> pd.DataFrame:
    return pd.read_csv(path, index_col=column, parse_dates=[column], sep=sep)


def _plain_or_gzip(path: Path) -> Path:
    """The file itself or, where only that is there, its gzip."""
    zipped = path.with_name(f"{path.name}.gz")
    return zipped if zipped.exists() and not path.exists() else path


def _full_bins(frame: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Sums over bins, missing values left out; bins that are not full are dropped."""
    bins = frame.resample(rule)
    sizes = bins.size()
    return bins.sum()[sizes == sizes.max()]


PASTA_FILES = ("pasta_sales/hierarchical_sales_data.csv",)
M4_FILES = ("m4_hourly/Hourly-train.csv", "m4_hourly/Hourly-test.csv")
EMPLOYMENT_FILES = ("us_employment/US_employment_fpp3_Monthly.txt",)

ETT_HOURLY = DataSet(("etth1/ETTh1.csv",), _dated)
ETT_QUARTER_HOURLY = DataSet(("ettm1/ETTm1.csv",), _dated)
PASTA_DAILY = DataSet(PASTA_FILES, _pasta_daily)
PASTA_WEEKLY = DataSet(PASTA_FILES, lambda path: _full_bins(_pasta_daily(path), "W-WED"))  # it begins on a Thursday
METRO_TRAFFIC = DataSet(("metro_traffic/Metro_Interstate_Traffic_Volume.csv",), _metro_traffic)
BEIJING_PM25 = DataSet(("beijing_pm25/pollution.csv",), _beijing_pm25)
US_GASOLINE = DataSet(("us_gasoline/us_gasoline.csv",), _us_gasoline)
US_EMPLOYMENT = DataSet(EMPLOYMENT_FILES, _us_employment)
TOURISM = DataSet(("tourism/tourism.csv",), _tourism)
M4_HOURLY = DataSet(M4_FILES, _m4_hourly)
