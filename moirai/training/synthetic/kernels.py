"""Draws from Gaussian processes whose kernels are composed at random, as in KernelSynth.

Ansari et al. 2024, "Chronos", section 4.2: up to five kernels of a bank (periodic, linear, constant, squared
exponential, rational quadratic, white noise) joined by sums and products. A sum of kernels is a sum of independent
draws; for a product the draws are multiplied, which has the covariance of the product. Every draw is a Fourier series
or a line, so that its cost grows with the length only.
"""

import numpy as np

from moirai.training.synthetic.draws import Rng, Series, between, log_between, standardised
from moirai.training.synthetic.trends import smooth

PERIODS = np.array([4, 5, 6, 7, 8, 10, 12, 14, 21, 24, 26, 30, 48, 52, 60, 90, 96, 144, 168, 288, 336, 365, 672])
MOST_KERNELS = 5
HARMONICS = 5


def kernel_draws(rng: Rng, series: int, length: int) -> Series:
    """One draw of each series' own kernel, standardised."""
    total = _one(rng, series, length)
    count = rng.integers(1, MOST_KERNELS + 1, (series, 1))
    for k in range(1, MOST_KERNELS):
        other = _one(rng, series, length)
        joined = np.where(rng.random((series, 1)) < 0.5, total + other, total * other)
        total = np.where(count > k, standardised(joined), total)
    return standardised(total)


def _one(rng: Rng, series: int, length: int) -> Series:
    """A draw of one kernel of the bank each."""
    unit = np.linspace(-1, 1, length)[None]
    line = rng.normal(0, 1, (series, 1)) + rng.normal(0, 1.5, (series, 1)) * unit
    noise = rng.standard_normal((series, length)) * between(rng, series, 0.1, 1)
    kind = rng.random((series, 1))
    return np.select(
        [kind < 0.5, kind < 0.65, kind < 0.92],
        [_periodic(rng, series, length), line, smooth(rng, series, length)],
        noise,
    )


def _periodic(rng: Rng, series: int, length: int) -> Series:
    """A periodic kernel (Fourier series with falling random coefficients), its period of the calendar or free."""
    period = PERIODS[rng.integers(0, len(PERIODS), (series, 1))].astype(np.float64)
    period = np.where(rng.random((series, 1)) < 0.75, period, log_between(rng, series, 4, max(8, length)))
    phase = 2 * np.pi * (np.arange(length)[None] / period)
    fall = log_between(rng, series, 0.2, 3)
    total = np.zeros((series, length))
    for k in range(1, HARMONICS + 1):
        size = np.exp(-fall * (k - 1))
        total += size * (rng.normal(0, 1, (series, 1)) * np.sin(k * phase))
        total += size * (rng.normal(0, 1, (series, 1)) * np.cos(k * phase))
    return total
