"""Seasons: periodic profiles of clocks, calendars and free periods, alone or one inside the other.

A season has a profile (a smooth wave, humps at some hours, a saw-tooth), a sharpness, and a size that may differ from
cycle to cycle and drift. Kinds of day (a week of days, a year of months) alternate: every day of the week has its own
size, days of rest a profile of their own, and now and then a day behaves like another one, as a holiday does.
"""

import numpy as np
from jaxtyping import Float, Int

from moirai.training.synthetic.draws import Column, Rng, Series, between, happens, log_between, some, spread

# Pairs of (short, long) season lengths that clocks and calendars give; 0 means no long season.
CALENDARS = np.array(
    [
        (24, 168),  # hours: a day, a week
        (24, 168),
        (24, 168),
        (24, 8766),
        (48, 336),  # half hours
        (96, 672),  # quarters of an hour
        (144, 1008),  # ten minutes
        (288, 2016),  # five minutes
        (60, 1440),  # minutes: an hour, a day
        (7, 365),  # days: a week, a year
        (7, 365),
        (7, 30),
        (5, 21),  # trading days: a week, a month
        (52, 0),  # weeks: a year
        (12, 0),  # months
        (12, 0),
        (4, 0),  # quarters
        (6, 24),
        (8, 56),  # three hours
    ]
)
POSITIONS = 512  # of a profile's table

Table = Float[np.ndarray, "series position"]


def seasons(rng: Rng, time: Int[np.ndarray, "series time"]) -> Series:
    """A short season with its kinds of day, and for some series a long one; values of about unit size."""
    series, length = time.shape
    calendar = CALENDARS[rng.integers(0, len(CALENDARS), series)]
    of_calendar = happens(rng, series, 0.8)
    free = log_between(rng, series, 4, max(8, length // 2))
    short = np.where(of_calendar, calendar[:, :1], free)
    long = np.where(of_calendar, calendar[:, 1:], 0.0)
    signal = _short(rng, time, short, long)
    slow = look_up(profiles(rng, series, 3), (time % np.maximum(long, 2)) / np.maximum(long, 2))
    signal += np.where(long > 0, slow, 0.0) * some(rng, series, 0.6, between(rng, series, 0.1, 1.2))
    second = look_up(profiles(rng, series, 4), (time / log_between(rng, series, 4, length)) % 1)
    return signal + second * some(rng, series, 0.12, between(rng, series, 0.1, 0.8))


def profiles(rng: Rng, series: int, harmonics: int) -> Table:
    """Random periodic profiles over one period, each between -1 and 1."""
    position = np.arange(POSITIONS)[None] / POSITIONS
    wave = _wave(rng, series, position, harmonics)
    humps = _humps(rng, series, position)
    saw = (position + rng.random((series, 1))) % 1 - 0.5
    kind = rng.random((series, 1))
    table = np.select([kind < 0.65, kind < 0.93], [wave, humps], saw)
    table -= table.mean(1, keepdims=True)
    table /= np.abs(table).max(1, keepdims=True) + 1e-6
    sharpness = some(rng, series, 0.2, between(rng, series, 2, 6))
    return np.where(sharpness > 0, np.tanh(sharpness * table), table)


def look_up(table: Table, position: Series) -> Series:
    """The profile at positions in [0, 1)."""
    place = np.minimum((position * POSITIONS).astype(np.int64), POSITIONS - 1)
    return np.take_along_axis(table, place, axis=1)


def _wave(rng: Rng, series: int, position: np.ndarray, harmonics: int) -> Table:
    """A Fourier sum whose amplitudes fall off at a random rate."""
    decay = between(rng, series, 0.3, 2.5)
    total = np.zeros((series, POSITIONS))
    for k in range(1, harmonics + 1):
        amplitude = rng.normal(0, 1, (series, 1)) * k**-decay
        total += amplitude * np.sin(2 * np.pi * (k * position + rng.random((series, 1))))
    return total


def _humps(rng: Rng, series: int, position: np.ndarray) -> Table:
    """One to three humps of different widths (von Mises densities), as rush hours or sunshine have."""
    total = np.zeros((series, POSITIONS))
    for share in (1.0, 0.6, 0.3):
        height = some(rng, series, share, rng.uniform(0.3, 1, (series, 1)))
        angle = 2 * np.pi * (position - rng.random((series, 1)))
        total += height * np.exp(log_between(rng, series, 1, 40) * (np.cos(angle) - 1))
    return total


def _short(rng: Rng, time: Int[np.ndarray, "series time"], period: Column, long: Column) -> Series:
    """The short season: what differs from one of its cycles to the next."""
    series = len(time)
    cycle = (time // period).astype(np.int64)
    position = (time % period) / period
    days = np.where(long > period, np.round(long / period), 1).astype(np.int64)
    days = np.where(days <= 31, days, 7)  # a year of days has weeks of them inside
    first = np.min(cycle, axis=1, keepdims=True)
    several = days > 1
    # A cycle now and then stands for another kind of day.
    kinds = int(np.max(cycle - first)) + 1
    swapped = rng.random((series, kinds)) < some(rng, series, 0.3, between(rng, series, 0.01, 0.06))
    of_cycle = (np.arange(kinds)[None] + first) % days
    of_cycle = np.where(swapped, days - 1, of_cycle)
    rests = several & happens(rng, series, 0.6) & (of_cycle >= days - rng.integers(1, 3, (series, 1)))
    of_day = np.exp(rng.normal(0, 0.25, (series, 31)) * some(rng, series, 0.5, between(rng, series, 0.2, 1.5)))
    size = np.where(several, np.take_along_axis(of_day, of_cycle, axis=1), 1.0)
    size *= _sizes(rng, series, kinds)
    lift = np.where(rests, -rng.uniform(0, 1.5, (series, 1)) * happens(rng, series, 0.7), 0.0)
    own = look_up(profiles(rng, series, 6), position)
    other = look_up(profiles(rng, series, 4), position)
    mixed = between(rng, series, 0, 1)
    place = cycle - first
    is_rest = np.take_along_axis(rests, place, axis=1)
    values = np.where(is_rest, (1 - mixed) * own + mixed * other, own)
    return values * np.take_along_axis(size, place, axis=1) + np.take_along_axis(lift, place, axis=1)


def _sizes(rng: Rng, series: int, cycles: int) -> Float[np.ndarray, "series cycle"]:
    """Size of every cycle: for some series different every time, for some drifting."""
    jitter = np.exp(rng.normal(0, 1, (series, cycles)) * some(rng, series, 0.35, between(rng, series, 0.05, 0.5)))
    steps = rng.normal(0, 1, (series, cycles)).cumsum(1) / np.sqrt(cycles)
    drift = np.exp(np.clip(steps * some(rng, series, 0.35, spread(rng, series, -0.7, 0.6)), -2, 2))
    return jitter * drift
