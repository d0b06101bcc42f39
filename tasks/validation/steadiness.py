"""Sudden change: how far a series' last stretch lies from what its own history makes usual.

In: the observed values of all series, one after the other. Out: one row per series. A stretch is a number of observed
values in a row; the history is cut into stretches backwards from the last value, at most `MOST` of them. A series with
fewer than `FEWEST` has NaN throughout: too little is known of what is usual.
"""

import numpy as np
import pandas as pd

FEWEST, MOST = 5, 20  # stretches that are looked at
FLOOR = 0.01  # share of the range of the values by which a value must move to count as moved at all

COLUMNS = ["level_before", "level_last", "level_change", "scale_before", "scale_last", "scale_change"]


def steadiness(values: np.ndarray, owners: np.ndarray, series: int, stretch: int) -> pd.DataFrame:
    """Compare the last stretch of every series with the ones before it.

    The usual change of a series is the median of the changes between earlier neighbours, so that one event in the past
    hides no second one. It is taken as at least a hundredth of the range of the values looked at, and a spread as at
    least that of a stretch in which one value moves by as much: where nothing ever changed, a change still has a finite
    size, and rounding has none.

    Args:
        values: observed values, finite, series after series in the order of time.
        owners: number of the series of each value, rising.
        series: how many series there are.
        stretch: values per stretch.

    Returns:
        One row per series: level_before and level_last, the medians of the last two stretches; level_change, their
        distance in multiples of the usual one; scale_before, the median standard deviation of the earlier stretches,
        and scale_last; scale_change, the larger of the two as a multiple of the other.
    """
    lengths = np.bincount(owners, minlength=series)
    whole = np.minimum(lengths // stretch, MOST)
    whole[whole < FEWEST] = 0
    looked_at = np.flatnonzero(whole)
    found = pd.DataFrame(np.nan, index=np.arange(series), columns=COLUMNS)
    if not len(looked_at):
        return found
    stretches = values[_are_last(lengths, whole * stretch)].reshape(-1, stretch)
    with np.errstate(over="ignore", invalid="ignore"):  # values near the largest number there is
        level, spread = _side_by_side(np.median(stretches, axis=1), whole), _side_by_side(stretches.std(axis=1), whole)
        lowest, highest = _side_by_side(stretches.min(axis=1), whole), _side_by_side(stretches.max(axis=1), whole)
        floor = FLOOR * (np.nanmax(highest, axis=1) - np.nanmin(lowest, axis=1))
        changes = np.abs(np.diff(level, axis=1))
        usual = np.maximum(np.nanmedian(changes[:, :-1], axis=1), floor)
        before, least = np.nanmedian(spread[:, :-1], axis=1), floor / np.sqrt(stretch)
        ratio = _ratio(np.maximum(spread[:, -1], least), np.maximum(before, least))
        measured = {
            "level_before": level[:, -2],
            "level_last": level[:, -1],
            "level_change": _ratio(changes[:, -1], usual, of_nothing=0.0),
            "scale_before": before,
            "scale_last": spread[:, -1],
            "scale_change": np.maximum(ratio, _ratio(np.ones_like(ratio), ratio)),
        }
    found.loc[looked_at, COLUMNS] = np.column_stack([measured[name] for name in COLUMNS])
    return found


def _are_last(lengths: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Whether a value is among the last `kept` ones of its series."""
    ends = np.cumsum(lengths)
    borders = np.zeros(ends[-1] + 1, dtype=np.int8)
    np.add.at(borders, ends - kept, 1)
    np.add.at(borders, ends, -1)
    return np.cumsum(borders[:-1], dtype=np.int8).astype(bool)


def _side_by_side(numbers: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """One number per stretch as one row per series, the last stretch in the last column, NaN where there is none."""
    counts = whole[whole > 0]
    table = np.full((len(counts), MOST), np.nan)
    table[np.arange(MOST) >= MOST - counts[:, None]] = numbers
    return table


def _ratio(one: np.ndarray, other: np.ndarray, of_nothing: float = 1.0) -> np.ndarray:
    """Quotients; where the divisor is 0 nothing ever moved, and the quotient is `of_nothing`."""
    return np.divide(one, other, out=np.full(len(one), of_nothing), where=other > 0)
