"""Periods written as text (`1991 W06`, `1998 Q1`, `2001 M03`) and dates whose parts are numbers, as their first day.

In: texts, or one array of whole numbers per part. Out: datetime64[ns], `NaT` for what does not exist, such as week 53
of a year that has 52, or 31 February; nothing here fails. The caller names what was not read.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

PERIOD = r"(?P<year>\d{4})[ -]?(?P<kind>[WwQqMm])(?P<number>\d{1,2})"  # of a whole text
KINDS = {"W": "week", "Q": "quarter", "M": "month"}
YEARS = (1678, 2261)  # whole years that nanoseconds since 1970 hold
BOUNDS = {  # smallest and largest number of a part, wherever it stands
    "year": YEARS,
    "quarter": (1, 4),
    "month": (1, 12),
    "week": (1, 53),
    "day": (1, 31),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
}
CLOCK = {"hour": 3_600_000_000_000, "minute": 60_000_000_000, "second": 1_000_000_000}  # nanoseconds
WEEKDAYS = 7
FOURTH = 3  # days from the first to the fourth: 4 January is always in week 1, a Thursday names its week's year


def is_period(texts: pd.Series) -> pd.Series:
    """Which texts are written as a period."""
    return texts.str.fullmatch(PERIOD)


def read_periods(texts: pd.Series) -> np.ndarray:
    """First day of each period; all must be of one kind, that of the first.

    Args:
        texts: at least one, without spaces around them.

    Returns:
        datetime64[ns]; NaT where a text is no period, one of another kind, or one that does not exist.
    """
    fields = texts.str.extract(f"^{PERIOD}$")
    kinds = fields["kind"].str.upper()
    is_read = (kinds == kinds.iloc[0]).to_numpy()
    found = np.full(len(texts), np.datetime64("NaT", "ns"))
    if not is_read.any():
        return found
    numbers = fields.loc[is_read, ["year", "number"]].astype(np.int64)
    parts = {"year": numbers["year"].to_numpy(), KINDS[kinds.iloc[0]]: numbers["number"].to_numpy()}
    found[is_read] = assemble_parts(parts)
    return found


def assemble_parts(parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Time stamps from their parts; a missing part is the first one, a day beside a week is 1 (Monday) to 7.

    Args:
        parts: whole numbers under the names in `BOUNDS`; `year` must be there, and one of quarter, month and week at
            most.

    Returns:
        datetime64[ns]; NaT where the parts make no time stamp.
    """
    is_real = np.ones(len(parts["year"]), dtype=bool)
    for name, numbers in parts.items():
        fewest, most = BOUNDS[name]
        is_real &= (numbers >= fewest) & (numbers <= most)
    safe = {name: np.where(is_real, numbers, max(1, BOUNDS[name][0])) for name, numbers in parts.items()}
    days, does_exist = _days_of_weeks(safe) if "week" in safe else _days_of_months(safe)
    nanoseconds = days.astype("datetime64[ns]").astype(np.int64)
    for name, width in CLOCK.items():
        nanoseconds = nanoseconds + safe[name] * width if name in safe else nanoseconds
    stamps = nanoseconds.astype("datetime64[ns]")
    stamps[~(is_real & does_exist)] = np.datetime64("NaT")
    return stamps


def _days_of_months(parts: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Calendar days, and whether the month has such a day."""
    month = parts["month"] if "month" in parts else 3 * parts["quarter"] - 2 if "quarter" in parts else 1
    months = (12 * (parts["year"] - 1970) + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (parts["day"] - 1 if "day" in parts else 0)
    return days, days.astype("datetime64[M]") == months


def _days_of_weeks(parts: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Days of ISO weeks, Monday when no day is given, and whether the year has such a week and the week such a day."""
    fourth = (parts["year"] - 1970).astype("datetime64[Y]").astype("datetime64[D]") + FOURTH
    weekday = (fourth.astype(np.int64) + FOURTH) % WEEKDAYS  # 1970 began on a Thursday; Monday is 0
    mondays = fourth - weekday + WEEKDAYS * (parts["week"] - 1)
    does_exist = (mondays + FOURTH).astype("datetime64[Y]").astype(np.int64) + 1970 == parts["year"]
    if "day" not in parts:
        return mondays, does_exist
    return mondays + parts["day"] - 1, does_exist & (parts["day"] <= WEEKDAYS)
