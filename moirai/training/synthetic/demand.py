"""Demand for single items: many zeros, small whole numbers, promotions, weekdays."""

import numpy as np
from jaxtyping import Int

from moirai.training.synthetic.draws import Rng, Series, between, log_between, some, spread
from moirai.training.synthetic.seasons import look_up, profiles
from moirai.training.synthetic.trends import smooth

LARGEST_RATE = 1e5


def demand(rng: Rng, time: Int[np.ndarray, "series time"]) -> Series:
    """Whole numbers from 0 on: a negative binomial whose rate has weekdays, a year, a trend and promotions."""
    series, length = time.shape
    week = look_up(profiles(rng, series, 3), (time % 7) / 7) * some(rng, series, 0.7, between(rng, series, 0.1, 1.2))
    year = look_up(profiles(rng, series, 2), (time % 365) / 365) * some(
        rng, series, 0.5, between(rng, series, 0.1, 0.8)
    )
    slow = smooth(rng, series, length) * some(rng, series, 0.6, between(rng, series, 0.05, 0.6))
    level = spread(rng, series, 0.7, 1.6)
    promoted = _runs(rng, series, length, share=0.3)
    rate = level * np.exp(np.clip(week + year + slow, -6, 6)) * np.where(promoted, between(rng, series, 1.2, 5), 1.0)
    closed = (time % 7 == rng.integers(0, 7, (series, 1))) & (rng.random((series, 1)) < 0.15)
    idle = _runs(rng, series, length, share=0.12)  # not on the shelf
    rate = np.where(closed | idle, 0.0, np.minimum(rate, LARGEST_RATE))
    dispersion = log_between(rng, series, 0.3, 50)
    return rng.poisson(rate * rng.gamma(dispersion, 1 / dispersion, (series, length))).astype(np.float64)


def _runs(rng: Rng, series: int, length: int, *, share: float) -> np.ndarray:
    """Some stretches of the time of a share of the series: where a smooth path is high."""
    path = smooth(rng, series, length, waves=6)
    threshold = between(rng, series, 0.7, 2.0)
    return (path > threshold) & (rng.random((series, 1)) < share)
