"""Synthetic series to pretrain on.

Trend, seasonalities, calendar effects, noise, level shifts, spikes, counts, gaps.

In: a generator of random numbers, a number of series and a length. Out: [series, time] float32 with
NaN where a value is missing. Everything is drawn from the generator, so a seed gives the same
series on every machine. All series of a call are made together, by array operations.
"""

import numpy as np
from jaxtyping import Float

Series = Float[np.ndarray, "series time"]

# Pairs of (short, long) season lengths that clocks and calendars give: hourly, half-hourly,
# quarter-hourly, five-minute, daily, weekly, monthly, quarterly data; 0 means no long season.
CALENDARS = np.array(
    [
        (24, 168),
        (24, 168),
        (48, 336),
        (96, 672),
        (288, 2016),
        (7, 365),
        (7, 30),
        (52, 0),
        (12, 0),
        (4, 0),
        (5, 21),
        (60, 1440),
    ]
)


def synthetic_series(rng: np.random.Generator, series: int, length: int) -> Series:
    """Draw series of many kinds.

    Args:
        rng: source of everything random.
        series: how many.
        length: time steps of each, at least 8.
    """
    time = np.arange(length) + rng.integers(0, 10_000, (series, 1))  # phases of the calendars differ
    signal = _seasons(rng, time) * _some(rng, series, 0.85, np.exp(rng.normal(0, 0.6, (series, 1))))
    signal += _trend(rng, series, length)
    signal += _smooth(rng, time) * _some(rng, series, 0.35, np.exp(rng.normal(-0.5, 0.7, (series, 1))))
    signal += _level_shifts(rng, series, length)
    signal += _noise(rng, signal)
    signal += _spikes(rng, series, length)
    return _gaps(rng, _observe(rng, signal)).astype(np.float32)


def _some(rng: np.random.Generator, series: int, share: float, value: np.ndarray) -> np.ndarray:
    """The value for a random share of the series, 0 for the others: [series, 1]."""
    return np.where(rng.random((series, 1)) < share, value, 0.0)


def _profile(rng: np.random.Generator, series: int, position: np.ndarray, harmonics: int) -> Series:
    """A random periodic profile at positions in [0, 1).

    It is a Fourier sum whose amplitudes fall off at a random rate.
    """
    decay = rng.uniform(0.3, 2.0, (series, 1))
    total = np.zeros_like(position)
    for k in range(1, harmonics + 1):
        amplitude = rng.normal(0, 1, (series, 1)) * k**-decay
        total += amplitude * np.sin(2 * np.pi * (k * position + rng.random((series, 1))))
    return total / (np.abs(total).max(axis=1, keepdims=True) + 1e-6)


def _seasons(rng: np.random.Generator, time: np.ndarray) -> Series:
    """Short season, its profile by kind of day, or a free period; plus a long season."""
    series = len(time)
    calendar = CALENDARS[rng.integers(0, len(CALENDARS), series)]
    short, long = calendar[:, :1], calendar[:, 1:]
    free = np.exp(rng.uniform(np.log(4), np.log(max(8, time.shape[1] // 2)), (series, 1)))
    uses_calendar = rng.random((series, 1)) < 0.75
    period = np.where(uses_calendar, short, free)
    position = (time % period) / period
    workday = _profile(rng, series, position, 6)
    restday = _profile(rng, series, position, 4)
    # Kinds of day alternate with the long season where that is a whole number of short ones (a
    # week of days).
    days = np.maximum(long // np.maximum(short, 1), 1)
    weekday = (time // short) % days
    rests = (weekday >= days - rng.integers(1, 3, (series, 1))) & (days > 2) & uses_calendar
    mix = _some(rng, series, 0.7, rng.random((series, 1)))
    signal = np.where(rests, (1 - mix) * workday + mix * restday - mix * rng.uniform(0, 1.5, (series, 1)), workday)
    has_long = (long > 0) & uses_calendar
    slow = _profile(rng, series, (time % np.maximum(long, 2)) / np.maximum(long, 2), 3)
    signal += np.where(has_long, slow, 0.0) * _some(rng, series, 0.5, rng.uniform(0.1, 1.0, (series, 1)))
    sharpness = np.where(rng.random((series, 1)) < 0.25, rng.uniform(2, 6, (series, 1)), 0.0)
    return np.where(sharpness > 0, np.tanh(sharpness * signal) / 1.5, signal)


def _trend(rng: np.random.Generator, series: int, length: int) -> Series:
    """Nothing, a line, a bent line, or a random walk."""
    unit = np.linspace(0, 1, length)[None, :]
    kind = rng.integers(0, 5, (series, 1))
    slope = rng.normal(0, 1.5, (series, 1))
    bend = rng.uniform(0.2, 0.8, (series, 1))
    bent = slope * unit + rng.normal(0, 3, (series, 1)) * np.maximum(unit - bend, 0)
    walk = np.cumsum(rng.standard_normal((series, length), dtype=np.float32), axis=1) / np.sqrt(length)
    walk *= np.exp(rng.normal(0.3, 0.8, (series, 1)))
    return np.select(
        [kind == 1, kind == 2, kind >= 3],
        [slope * unit, bent, walk * (rng.random((series, 1)) < 0.7)],
        0.0,
    )


def _smooth(rng: np.random.Generator, time: np.ndarray) -> Series:
    """A draw from a smooth Gaussian process: Fourier features of a squared-exponential kernel."""
    series, length = time.shape
    scale = np.exp(rng.uniform(np.log(8), np.log(length), (series, 1)))
    total = np.zeros(time.shape)
    for _ in range(8):
        frequency = rng.normal(0, 1, (series, 1)) / scale
        total += np.sin(frequency * time + rng.uniform(0, 2 * np.pi, (series, 1)))
    return total / 2


def _level_shifts(rng: np.random.Generator, series: int, length: int) -> Series:
    """Up to three lasting jumps in a fifth of the series."""
    total = np.zeros((series, length))
    steps = np.arange(length)
    for _ in range(3):
        size = _some(rng, series, 0.08, rng.normal(0, 2, (series, 1)))
        total += size * (steps >= rng.integers(1, length, (series, 1)))
    return total


def _noise(rng: np.random.Generator, signal: np.ndarray) -> Series:
    """Autoregressive noise, for some series heavy-tailed or growing with the signal."""
    series, length = signal.shape
    noise = rng.standard_normal((series, length), dtype=np.float32)
    heavy = rng.random((series, 1)) < 0.2
    noise = np.where(heavy, noise / np.sqrt(rng.gamma(2.0, 0.5, (series, length)) + 0.05), noise)
    phi = _some(rng, series, 0.4, rng.uniform(0, 0.98, (series, 1)))
    coloured = noise.copy()
    for t in range(1, length):
        coloured[:, t] = phi[:, 0] * coloured[:, t - 1] + noise[:, t]
    coloured *= np.sqrt(1 - phi**2)
    spread = np.exp(rng.normal(-1.8, 1.0, (series, 1)))
    follows_signal = _some(rng, series, 0.25, rng.random((series, 1)))
    return coloured * spread * (1 + follows_signal * np.abs(signal))


def _spikes(rng: np.random.Generator, series: int, length: int) -> Series:
    """Rare outliers in a sixth of the series."""
    rate = _some(rng, series, 0.16, np.exp(rng.uniform(np.log(1e-3), np.log(2e-2), (series, 1))))
    hit = rng.random((series, length), dtype=np.float32) < rate
    return np.where(hit, rng.normal(0, 3, (series, 1)) * rng.gamma(2.0, 0.5, (series, length)), 0.0)


def _observe(rng: np.random.Generator, signal: np.ndarray) -> Series:
    """How the signal shows: as it is, positive (exponential), cut at zero, or as counts.

    A signal that shows as it is may be moved to a level.
    """
    series = len(signal)
    kind = rng.random((series, 1))
    strength = rng.uniform(0.2, 0.8, (series, 1))
    positive = np.exp(np.clip(strength * signal, -6, 6))
    cut = np.maximum(signal - rng.uniform(-1.5, 0.8, (series, 1)), 0)
    rate = np.exp(rng.normal(1.0, 1.2, (series, 1))) * np.maximum(positive, 0)
    counts = rng.poisson(np.minimum(rate, 1e4)).astype(np.float64)
    shown = np.select([kind < 0.6, kind < 0.78, kind < 0.88], [signal, positive, cut], counts)
    # A level far from zero, as most real series have; counts and cut series keep theirs.
    level = rng.normal(0, 1, (series, 1)) * np.exp(rng.normal(1.0, 1.5, (series, 1)))
    return np.where(kind < 0.6, shown + level * (rng.random((series, 1)) < 0.8), shown)


def _gaps(rng: np.random.Generator, values: np.ndarray) -> Series:
    """Missing values: scattered in a tenth of the series, runs in another tenth."""
    series, length = values.shape
    scattered = rng.random(values.shape, dtype=np.float32) < _some(rng, series, 0.12, rng.uniform(0, 0.4, (series, 1)))
    steps = np.arange(length)
    missing = scattered
    for _ in range(3):
        start = rng.integers(0, length, (series, 1))
        run = _some(rng, series, 0.06, np.exp(rng.uniform(0, np.log(length / 3), (series, 1))))
        missing |= (steps >= start) & (steps < start + run)
    return np.where(missing, np.nan, values)
