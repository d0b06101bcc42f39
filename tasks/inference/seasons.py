"""Season of a table's series, by what is usual at their frequency and what their values show.

In: the rhythm and the values of the targets. Out: findings; nothing here fails. A season counts as seen where values
repeat after it without their moving average: a trend makes all lags look alike.
"""

import math

import numpy as np
import pandas as pd

from moirai.evaluation.seasonality import season_length
from tasks.inference.findings import Confidence, Finding
from tasks.inference.rhythm import Rhythm

# Per unit of `rhythm.WORDS`: seasons of the calendar in steps, of the clock in seconds.
SEASONS: dict[str, list[int]] = {"Y": [], "Q": [4], "M": [12], "W": [52], "B": [5], "D": [7]}
CLOCK_SEASONS = {"h": [86_400, 604_800], "min": [86_400, 604_800], "s": [3_600, 86_400]}
UNIT_SECONDS = {"h": 3_600, "min": 60, "s": 1}
PROBED_SERIES = 20  # longest series, times their targets, that the season is looked for in
CLEAR, VISIBLE = 0.5, 0.2  # autocorrelation at the season
FEWEST_PAIRS = 8  # pairs of values that a correlation needs


def find_seasons(rhythm: Rhythm, values: pd.DataFrame) -> list[Finding]:
    """The shortest usual season that the values show, or else the one usual at the frequency.

    Where a longer season shows as well, a second finding makes a baseline of it.
    """
    strengths = {season: _strength(rhythm, values, season) for season in _candidates(rhythm)}
    measured = {season: strength for season, strength in strengths.items() if not math.isnan(strength)}
    shown = ", ".join(f"{strength:.2f} at {season}" for season, strength in measured.items())
    seen = [season for season, strength in measured.items() if strength >= VISIBLE]
    if not seen:
        usual = season_length(rhythm.frequency)
        why = "usual at this frequency; " if usual > 1 else "none is usual at this frequency; "
        why += f"autocorrelation without the trend is only {shown}" if shown else "the series cannot show another"
        return [Finding("season", usual, "guess", why)]
    why = f"autocorrelation without the trend: {shown}"
    why += f"; {seen[1]} is a season as well" if seen[1:] else ""
    confidence: Confidence = "sure" if measured[seen[0]] >= CLEAR else "likely"
    findings = [Finding("season", seen[0], confidence, why)]
    if seen[1:]:
        baselines = ["naive", "seasonal_naive", f"seasonal_naive:{seen[1]}"]
        why = f"the longer season, {seen[1]}, is one more thing that a model must beat"
        findings.append(Finding("backtest.baselines", baselines, "likely", why))
    return findings


def _candidates(rhythm: Rhythm) -> list[int]:
    """Seasons in steps that are usual at a frequency: of the calendar or of the clock."""
    if rhythm.unit in SEASONS:
        return SEASONS[rhythm.unit] if rhythm.multiple == 1 else []
    return _clock_seasons(rhythm)


def _clock_seasons(rhythm: Rhythm) -> list[int]:
    """Steps in a day and a week (an hour and a day for seconds), where those are whole numbers."""
    step = UNIT_SECONDS.get(rhythm.unit, 0) * rhythm.multiple
    spans = CLOCK_SEASONS.get(rhythm.unit, [])
    return [span // step for span in spans if span % step == 0 and span > step]


def _strength(rhythm: Rhythm, values: pd.DataFrame, season: int) -> float:
    """Median autocorrelation at a lag, over some series and targets; NaN: all are too short."""
    found = []
    longest = rhythm.positions["item"].value_counts().index[:PROBED_SERIES]
    columns = list(values)[:: max(1, len(values.columns) * len(longest) // PROBED_SERIES)]
    for item in longest:
        steps = rhythm.positions[rhythm.positions["item"] == item]["step"]
        places = steps.to_numpy() - steps.iloc[0]
        for name in columns:
            series = np.full(places[-1] + 1, np.nan)
            series[places] = values.loc[steps.index, name].to_numpy(dtype=np.float64)
            found.append(_seasonality(pd.Series(series), season))
    known = [strength for strength in found if not math.isnan(strength)]
    return float(np.median(known)) if known else math.nan


def _seasonality(series: pd.Series, season: int) -> float:
    """Autocorrelation at the season without the moving average; 0 where no dip comes before it."""
    half = season // 2
    average = series.rolling(season, min_periods=half + 1, center=True).mean()
    swing = (series - average).to_numpy()[half : len(series) - half]  # at the ends it is lopsided
    strength = _autocorrelation(swing, season)
    between = [_autocorrelation(swing, max(1, season // part)) for part in (2, 3)]
    return strength if math.isnan(strength) or strength > np.nanmin([*between, 1]) else 0.0


def _autocorrelation(values: np.ndarray, lag: int) -> float:
    """Correlation of values with those a lag earlier, over pairs without gap; NaN: too few."""
    early, late = values[:-lag], values[lag:]
    both = ~np.isnan(early) & ~np.isnan(late)
    if both.sum() < max(lag, FEWEST_PAIRS) or early[both].std() == 0 or late[both].std() == 0:
        return math.nan
    return float(np.corrcoef(early[both], late[both])[0, 1])
