"""Stochastic processes: autoregressions with and without seasons, and noise.

All recursions run over time once, for all series together.
"""

import numpy as np

from moirai.training.synthetic.draws import Column, Rng, Series, between, happens, some, standardised

LAGS = np.array([4, 5, 7, 12, 24, 24, 48, 52, 96, 168])  # of seasonal autoregressions
BURN_IN = 64


def shocks(rng: Rng, series: int, length: int) -> Series:
    """Independent draws, a quarter of the series with heavy tails, a tenth skewed; of unit size, about."""
    noise = rng.standard_normal((series, length), dtype=np.float32).astype(np.float64)
    heavy = happens(rng, series, 0.25)
    noise = np.where(heavy, noise / np.sqrt(rng.gamma(1.7, 0.6, (series, length)) + 0.05), noise)
    skewed = happens(rng, series, 0.1)
    return np.where(skewed, np.exp(np.clip(0.7 * noise, -6, 6)) - np.exp(0.245), noise)


def coloured(noise: Series, phi: Column) -> Series:
    """First-order autoregression of given shocks, of their size."""
    result = noise.copy()
    for step in range(1, noise.shape[1]):
        result[:, step] += phi[:, 0] * result[:, step - 1]
    return result * np.sqrt(1 - phi**2)


def autoregressions(rng: Rng, series: int, length: int) -> Series:
    """Autoregressions of up to three lags with a seasonal one, near a unit root for many; standardised.

    The roots are drawn inside the unit circle, so none explodes: a real one near 1, and a pair that swings.
    """
    real = 1 - np.exp(rng.uniform(np.log(1e-3), np.log(0.6), (series, 1)))
    radius = some(rng, series, 0.5, between(rng, series, 0.3, 0.98))
    angle = 2 * np.pi / np.exp(rng.uniform(np.log(3), np.log(48), (series, 1)))
    swing, damp = 2 * radius * np.cos(angle), -(radius**2)
    weights = np.concatenate([real + swing, damp - real * swing, -real * damp], axis=1)  # of lags 1, 2, 3
    lag = LAGS[rng.integers(0, len(LAGS), series)]
    seasonal = some(rng, series, 0.45, between(rng, series, 0.3, 0.97))[:, 0]
    noise = shocks(rng, series, length + BURN_IN)
    state = noise.copy()
    for step in range(3, noise.shape[1]):
        state[:, step] += (weights * state[:, step - 3 : step][:, ::-1]).sum(1)
    # (1 - Φ B^s) on top: the seasonal part runs over what the first one gives.
    rows = np.arange(series)
    for step in range(noise.shape[1]):
        earlier = step - lag
        state[:, step] += np.where(earlier >= 0, seasonal * state[rows, np.maximum(earlier, 0)], 0.0)
    return standardised(state[:, BURN_IN:])
