"""What a frequency means: its pandas offset, and how many of its steps make a season."""

import re
import warnings

from pandas.tseries.frequencies import to_offset as parse_offset
from pandas.tseries.offsets import BaseOffset, Tick

from moirai.errors import ConfigError

# Names that pandas 2.2 renamed. Published data sets still use them.
RENAMED = {
    "H": "h",
    "T": "min",
    "S": "s",
    "L": "ms",
    "U": "us",
    "N": "ns",
    "d": "D",
    "w": "W",
    "b": "B",
    "M": "ME",
    "BM": "BME",
    "Q": "QE",
    "BQ": "BQE",
    "A": "YE",
    "Y": "YE",
    "BA": "BYE",
    "BY": "BYE",
    "AS": "YS",
    "BAS": "BYS",
    "SM": "SME",
    "BH": "bh",
}

# Seconds in a unit, and how many of that unit make a season.
CLOCK_SEASONS = (
    (7 * 86_400, 52),  # weeks in a year
    (86_400, 7),  # days in a week
    (3_600, 24),  # hours in a day
    (60, 1_440),  # minutes in a day
    (1, 3_600),  # seconds in an hour
)
CALENDAR_SEASONS = {
    "W": 52,
    "B": 5,
    "C": 5,
    "ME": 12,
    "MS": 12,
    "BME": 12,
    "BMS": 12,
    "QE": 4,
    "QS": 4,
    "BQE": 4,
    "BQS": 4,
}
NANOSECONDS = 1_000_000_000


def to_offset(freq: str) -> BaseOffset:
    """The pandas offset of a frequency, whether named the old or the new way.

    `h` and `H`, `min` and `T`, `s` and `S`, `ME` and `M`, `QE` and `Q`, `YE`, `Y` and `A` mean the
    same; so do their multiples (`15min`, `2H`), sums (`1h30min`) and anchored forms (`W-SUN`,
    `Q-MAR`).

    Args:
        freq: name of a frequency.

    Returns:
        The offset, of at least one unit.

    Raises:
        ConfigError: pandas knows no such frequency, it does not move forward, or it could be
            minutes or months (`m`).
    """
    renamed = re.sub(r"([A-Za-z]+)(-\w+)?", _rename, freq.strip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # one of the rarer old names
            offset = parse_offset(renamed)
    except ValueError as error:
        raise ConfigError(
            f"{freq!r} is no frequency; write a pandas offset: 15min, h, D, B, W, MS, QS, YS, …"
        ) from error
    if offset.n < 1:
        raise ConfigError(f"frequency {freq!r} does not move forward; write a positive multiple")
    return offset


def season_length(freq: str) -> int:
    """Steps in the season that series of this frequency usually have.

    | frequency             | season     | steps |
    |-----------------------|------------|-------|
    | `s`                   | hour       | 3600  |
    | `min`                 | day        | 1440  |
    | `h`                   | day        | 24    |
    | `D`                   | week       | 7     |
    | `B`                   | week       | 5     |
    | `W`                   | year       | 52    |
    | `ME`, `MS`            | year       | 12    |
    | `QE`, `QS`            | year       | 4     |
    | `YE`, `YS`, all other | none       | 1     |

    A multiple divides: `15min` has 96, `2h` 12, `3MS` 4. One that fills a larger unit is that unit,
    however it is written: `60min` is `h`, `24h` is `D`, `7D` is `W`. One that does not divide its
    season (`7h`, `2D`) has none: 1.

    GIFT-Eval takes the table of `gluonts.time_feature.get_seasonality`, where `D` and `W` have no
    season; pass season 1 yourself to compare with its published figures.

    Args:
        freq: name of a frequency, old or new.

    Returns:
        Steps per season, at least 1.

    Raises:
        ConfigError: `freq` names no frequency.
    """
    offset = to_offset(freq)
    if isinstance(offset, Tick):
        return _clock_season(offset)
    unit = offset.rule_code.split("-")[0]
    return _divided(CALENDAR_SEASONS.get(unit, 1), offset.n)


def _rename(name: re.Match[str]) -> str:
    alias, anchor = name[1], name[2] or ""
    if alias == "m":
        raise ConfigError("frequency 'm' could be minutes or months; write min, MS or ME")
    return RENAMED.get(alias, alias) + anchor


def _clock_season(step: Tick) -> int:
    """Season of a step of fixed duration, counted in the largest unit that divides it."""
    seconds, rest = divmod(step.nanos, NANOSECONDS)
    for unit, season in CLOCK_SEASONS:
        if not rest and seconds % unit == 0:
            return _divided(season, seconds // unit)
    return 1  # fractions of a second


def _divided(season: int, multiple: int) -> int:
    steps, rest = divmod(season, multiple)
    return steps if steps and not rest else 1
