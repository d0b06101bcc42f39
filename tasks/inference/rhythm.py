"""The rhythm of a table's series: their frequency, and where each row lies on its grid.

In: the series and time stamps of the rows. Out: a `Rhythm`. Fails with `SourceError` where no series has two time
stamps. Time stamps that keep no rhythm get the finest usual frequency at which most steps have a row.
"""

from dataclasses import dataclass, replace

import pandas as pd

from tasks.errors import SourceError
from tasks.grid import Grid
from tasks.inference.findings import Confidence, Finding, counted, percent

WEEKDAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
FRIDAY = 4
MONTH_DAYS = {"M": (28, 31), "Q": (89, 92), "Y": (365, 366)}  # days of one step
MONTH_NAMES = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
UNITS = {"D": 86_400, "h": 3_600, "min": 60, "s": 1}  # seconds
WORDS = {
    "Y": ("yearly", "year"), "Q": ("quarterly", "quarter"), "M": ("monthly", "month"),
    "W": ("weekly", "week"), "B": ("on business days", "business day"), "D": ("daily", "day"),
    "h": ("hourly", "hour"), "min": ("every minute", "minute"), "s": ("every second", "second"),
}  # fmt: skip
SURE, LIKELY = 0.95, 0.6  # shares of steps that have the common width
USUAL = [  # frequencies for irregular time stamps, finest first: unit, multiple, alias
    ("s", 1, "s"), ("min", 1, "min"), ("min", 5, "5min"), ("min", 15, "15min"), ("h", 1, "h"), ("D", 1, "D"),
    ("W", 1, "W-MON"), ("M", 1, "MS"), ("Q", 1, "QS"), ("Y", 1, "YS"),
]  # fmt: skip
COVERED = 0.7  # share of steps that must have a row at such a frequency
KEPT = 0.3  # the same share where no time stamp has to be moved


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


def find_rhythm(items: pd.Series, times: pd.Series, told: Finding | None = None) -> Rhythm:
    """Find the frequency that most steps have.

    Args:
        items: series of each row.
        times: time stamp of each row, without time zone.
        told: the finding for the frequency, where it does not come from the time stamps.

    Raises:
        SourceError: no series has two time stamps.
    """
    rows = pd.DataFrame({"item": items.to_numpy(), "time": times.to_numpy()})
    count = len(rows)
    rows = rows.drop_duplicates().sort_values(["item", "time"])
    try:
        gaps = rows.groupby("item")["time"].diff().dropna()
    except OverflowError as error:
        text = f"two time stamps of a series lie centuries apart ({times.min()} and {times.max()})"
        raise SourceError(f"{text}; mend or remove the wrong one") from error
    if gaps.empty:
        raise SourceError("no series has two different time stamps; a frequency needs at least two")
    unit, multiple, frequency = _frequency(rows["time"], gaps)
    if told is None and _is_irregular(multiple, unit, gaps):
        unit, multiple, frequency = _usual_frequency(rows)
    grid = Grid.covering(frequency, rows["time"])
    is_off = grid.floor(rows["time"]) != rows["time"].to_numpy().astype("datetime64[ns]")
    positions = rows.assign(step=grid.steps(rows["time"])).drop_duplicates(["item", "step"])
    findings = [told or _explain_frequency(frequency, unit, multiple, positions)]
    if is_off.any():
        why = f"{percent(is_off.mean())} of the time stamps lie between two grid points"
        findings.append(Finding("transform.off_grid", "floor", "guess", why))
        findings += _explain_merged(len(rows) - len(positions), count)
        doubt = "guess" if is_off.mean() > 1 - SURE else findings[0].confidence
        findings[0] = replace(findings[0], confidence=doubt)
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


def _is_irregular(multiple: int, unit: str, gaps: pd.Series) -> bool:
    """Whether the most common gap is no step of a grid.

    It is odd on the clock, or rare and either no divisor of the others or so short that hardly a step has a row.
    """
    if unit not in UNITS:
        return False
    width = multiple * UNITS[unit]
    seconds = gaps.dt.total_seconds()
    fits = float((seconds % width == 0).mean())
    is_odd = UNITS["D"] % width != 0 and width % UNITS["D"] != 0
    share = float((seconds == width).mean())
    covered = float(len(seconds) * width / seconds.sum())
    return (is_odd and fits < SURE) or (share < LIKELY and (fits < SURE or covered < KEPT))


def _usual_frequency(rows: pd.DataFrame) -> tuple[str, int, str]:
    """The coarsest usual frequency that moves no time stamp, or else the finest at which most steps have a row."""
    kept = None
    for unit, multiple, alias in USUAL:
        grid = Grid.covering(alias, rows["time"])
        steps = pd.DataFrame({"item": rows["item"], "step": grid.steps(rows["time"])}).drop_duplicates()
        by_item = steps.groupby("item")["step"]
        covered = len(steps) / float((by_item.max() - by_item.min() + 1).sum())
        is_on = bool((grid.floor(rows["time"]) == rows["time"].to_numpy().astype("datetime64[ns]")).all())
        if is_on and covered >= KEPT:
            kept = (unit, multiple, alias)
        elif kept is not None:
            return kept
        elif covered >= COVERED:
            return unit, multiple, alias
    return kept or USUAL[-1]


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
    share = float((steps == 1).mean()) if len(steps) else 1.0
    missing = int((steps - 1).sum())
    adverb, noun = WORDS[unit]
    name = adverb if multiple == 1 else f"every {counted(multiple, noun)}"
    gaps = f"{counted(missing, noun if multiple == 1 else 'step')} missing" if missing else "none missing"
    confidence: Confidence = "sure" if share >= SURE else "likely" if share >= LIKELY else "guess"
    width = f"{multiple} {unit}" if unit in UNITS and unit != "D" else counted(multiple, noun)
    return Finding("frequency", frequency, confidence, f"{name}: {percent(share)} of steps are {width}; {gaps}")


def _explain_merged(merged: int, rows: int) -> list[Finding]:
    """What becomes of rows that share a grid point once they are moved to it."""
    if not merged:
        return []
    why = f"{merged:,} of {counted(rows, 'row')} share a grid point with an earlier one then: the mean of its values"
    return [Finding("transform.duplicates", "mean", "guess", f"{why}; sum where they are amounts")]
