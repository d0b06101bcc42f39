"""What moves slowly: lines, bends, saturation, growth, random walks, smooth Gaussian processes."""

import numpy as np

from moirai.training.synthetic.draws import Rng, Series, between, happens, log_between, spread


def trends(rng: Rng, series: int, length: int) -> Series:
    """Nothing, a line, a bent line, a damped one, growth by a rate, a random walk with or without drift."""
    unit = np.linspace(0, 1, length)[None]
    kind = rng.integers(0, 9, (series, 1))
    slope = rng.normal(0, 1.5, (series, 1))
    bent = slope * unit + rng.normal(0, 3, (series, 1)) * np.maximum(unit - between(rng, series, 0.1, 0.9), 0)
    damped = 1.5 * slope * (1 - np.exp(-unit * log_between(rng, series, 1, 10)))
    growth = np.expm1(unit * between(rng, series, 0.5, 3)) * 0.3 * np.sign(slope)
    walk = rng.standard_normal((series, length)).cumsum(1) / np.sqrt(length)
    walk *= spread(rng, series, 0.3, 0.8)
    drifting = walk + slope * unit
    return np.select(
        [kind == 1, kind == 2, kind == 3, kind == 4, kind == 5, kind >= 7],
        [slope * unit, bent, damped, growth, drifting, walk],
        0.0,
    )


def smooth(rng: Rng, series: int, length: int, waves: int = 8) -> Series:
    """A draw from a smooth Gaussian process: Fourier features of a squared-exponential or heavier-tailed kernel."""
    time = np.arange(length)[None]
    scale = log_between(rng, series, 6, 2 * length)
    rough = happens(rng, series, 0.4)
    total = np.zeros((series, length))
    for _ in range(waves):
        frequency = rng.normal(0, 1, (series, 1)) / scale
        frequency *= np.where(rough, 1 / np.sqrt(rng.gamma(1.0, 1.0, (series, 1)) + 0.05), 1.0)
        total += np.sin(frequency * time + between(rng, series, 0, 2 * np.pi))
    return total * np.sqrt(2 / waves)
