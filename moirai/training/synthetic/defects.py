"""What real data suffer from: level shifts, outliers, flat stretches, missing values."""

import numpy as np

from moirai.training.synthetic.draws import Rng, Series, some


def level_shifts(rng: Rng, series: int, length: int) -> Series:
    """Up to three lasting jumps in a fifth of the series."""
    total = np.zeros((series, length))
    steps = np.arange(length)
    for _ in range(3):
        size = some(rng, series, 0.08, rng.normal(0, 2, (series, 1)))
        total += size * (steps >= rng.integers(1, length, (series, 1)))
    return total


def outliers(rng: Rng, series: int, length: int) -> Series:
    """Rare single values far off in a sixth of the series."""
    rate = some(rng, series, 0.16, np.exp(rng.uniform(np.log(1e-3), np.log(2e-2), (series, 1))))
    hit = rng.random((series, length), dtype=np.float32) < rate
    return np.where(hit, rng.normal(0, 3, (series, 1)) * rng.gamma(2.0, 0.5, (series, length)), 0.0)


def held(rng: Rng, values: Series) -> Series:
    """A stretch that repeats its first value, as a stuck sensor does, in a thirtieth of the series."""
    series, length = values.shape
    start, run = _stretch(rng, series, length, share=0.03)
    steps = np.arange(length)
    first = np.take_along_axis(values, start, axis=1)
    return np.where((steps >= start) & (steps < start + run), first, values)


def gaps(rng: Rng, values: Series) -> Series:
    """Missing values: scattered in a tenth of the series, runs in another sixth."""
    series, length = values.shape
    rate = some(rng, series, 0.1, rng.uniform(0, 0.4, (series, 1)))
    missing = rng.random(values.shape, dtype=np.float32) < rate
    steps = np.arange(length)
    for _ in range(3):
        start, run = _stretch(rng, series, length, share=0.06)
        missing |= (steps >= start) & (steps < start + run)
    return np.where(missing, np.nan, values)


def _stretch(rng: Rng, series: int, length: int, *, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Start and length of a stretch; its length is 0 but in a share of the series."""
    start = rng.integers(0, length, (series, 1))
    return start, some(rng, series, share, np.exp(rng.uniform(0, np.log(length / 3), (series, 1))))
