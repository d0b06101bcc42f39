"""The rhythm of a table's series: their frequency, and where each row lies on its grid.

In: the series and time stamps of the rows. Out: a `Rhythm`. Fails with `SourceError` where no
series has two time stamps.
"""

from dataclasses import dataclass

import pandas as pd

from tasks.errors import SourceError
from tasks.grid import Grid
from tasks.inference.findings import Confidence, Finding, counted, percent

WEEKDAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
FRIDAY = 4
MONTH_DAYS = {"M": (28, 31), "Q": (89, 92), "Y": (365, 366)}  # days of one step
MONTHS = {"M": 1, "Q": 3, "Y": 12}
MONTH_NAMES = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
UNITS = {"D": 86_400, "h": 3_600, "min": 60, "s": 1}  # seconds
WORDS = {
    "Y": ("yearly", "year"), "Q": ("quarterly", "quarter"), "M": ("monthly", "month"),
    "W": ("weekly", "week"), "B": ("on business days", "business day"), "D": ("daily", "day"),
    "h": ("hourly", "hour"), "min": ("every minute", "minute"), "s": ("every second", "second"),
}  # fmt: skip
SURE, LIKELY = 0.95, 0.6  # shares of steps that have the common width


@dataclass(frozen=True)
class Rhythm:
    """Frequency of the series and where each row lies on its grid."""

    frequency: str
    unit: str
    """Key of `WORDS`."""
    multiple: int
    """How many units one step has."""
    positions: pd.DataFrame
    """Columns `item`, `step`: a row per series and observed step, named by its row in the table."""
    findings: list[Finding]


def find_rhythm(items: pd.Series, times: pd.Series) -> Rhythm:
    """Find the frequency that most steps have.

    Args:
        items: series of each row.
        times: time stamp of each row, without time zone.

    Raises:
        SourceError: no series has two time stamps.
    """
    rows = pd.DataFrame({"item": items.to_numpy(), "time": times.to_numpy()})
    rows = rows.drop_duplicates().sort_values(["item", "time"])
    gaps = rows.groupby("item")["time"].diff().dropna()
    if gaps.empty:
        raise SourceError("no series has two different time stamps; a frequency needs at least two")
    unit, multiple, frequency = _frequency(rows["time"], gaps)
    grid = Grid.covering(frequency, rows["time"])
    is_off = grid.floor(rows["time"]) != rows["time"].to_numpy().astype("datetime64[ns]")
    positions = rows.assign(step=grid.steps(rows["time"])).drop_duplicates(["item", "step"])
    findings = [_explain_frequency(frequency, unit, multiple, positions)]
    if is_off.any():
        why = f"{percent(is_off.mean())} of the time stamps lie between two grid points"
        findings.append(Finding("transform.off_grid", "floor", "guess", why))
    return Rhythm(frequency, unit, multiple, positions[["item", "step"]], findings)


def _frequency(times: pd.Series, gaps: pd.Series) -> tuple[str, int, str]:
    """Unit, multiple and pandas alias of the most common gap."""
    common = gaps.mode()[0]
    days = common / pd.Timedelta(days=1)
    for unit, (fewest, most) in MONTH_DAYS.items():
        if fewest <= days <= most and (_is_constant(times.dt.day) or times.dt.is_month_end.all()):
            return unit, 1, _calendar_alias(unit, times)
    if days == 7:  # noqa: PLR2004 - a week
        return "W", 1, f"W-{WEEKDAYS[times.dt.dayofweek.mode()[0]]}"
    if days == 1 and (times.dt.dayofweek <= FRIDAY).all() and (gaps == pd.Timedelta(days=3)).any():
        return "B", 1, "B"
    seconds = max(1, round(common.total_seconds()))
    unit = next(unit for unit, size in UNITS.items() if seconds % size == 0)
    multiple = seconds // UNITS[unit]
    return unit, multiple, f"{multiple if multiple > 1 else ''}{unit}"


def _is_constant(values: pd.Series) -> bool:
    return bool((values == values.iloc[0]).all())


def _calendar_alias(unit: str, times: pd.Series) -> str:
    """Alias of months, quarters or years, by where in the month and year the stamps lie."""
    is_end = bool(times.dt.is_month_end.all())
    month = int(times.dt.month.mode()[0])
    side = "E" if is_end else "S"
    if unit == "M":
        return f"M{side}"
    # pandas names quarters by the first month that one starts in, or the last one ends in
    anchor = month if unit == "Y" else (month - 1) % 3 + (10 if is_end else 1)
    usual = 1 if not is_end else 12
    return f"{unit}{side}" if anchor == usual else f"{unit}{side}-{MONTH_NAMES[anchor - 1]}"


def _explain_frequency(frequency: str, unit: str, multiple: int, positions: pd.DataFrame) -> Finding:
    """`hourly: 99.2 % of steps are 1 h; 11,976 hours missing`."""
    steps = positions.groupby("item")["step"].diff().dropna()
    share, missing = float((steps == 1).mean()), int((steps - 1).sum())
    adverb, noun = WORDS[unit]
    name = adverb if multiple == 1 else f"every {counted(multiple, noun)}"
    gaps = f"{counted(missing, noun if multiple == 1 else 'step')} missing" if missing else "none missing"
    confidence: Confidence = "sure" if share >= SURE else "likely" if share >= LIKELY else "guess"
    width = f"{multiple} {unit}" if unit in UNITS and unit != "D" else counted(multiple, noun)
    return Finding("frequency", frequency, confidence, f"{name}: {percent(share)} of steps are {width}; {gaps}")
