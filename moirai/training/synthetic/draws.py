"""Random numbers, one per series, as columns that broadcast over time: `[series, 1]`."""

import numpy as np
from jaxtyping import Bool, Float

Rng = np.random.Generator
Number = float | int
Column = Float[np.ndarray, "series 1"]
Series = Float[np.ndarray, "series time"]


def happens(rng: Rng, series: int, share: Number) -> Bool[np.ndarray, "series 1"]:
    """True for a random share of the series."""
    return rng.random((series, 1)) < share


def some(rng: Rng, series: int, share: float, value: np.ndarray) -> Column:
    """The value for a random share of the series, 0 for the others."""
    return np.where(happens(rng, series, share), value, 0.0)


def between(rng: Rng, series: int, low: Number, high: Number) -> Column:
    """Uniform."""
    return rng.uniform(low, high, (series, 1))


def spread(rng: Rng, series: int, middle: Number, width: Number) -> Column:
    """Log-normal: exp of a normal with this mean and standard deviation."""
    return np.exp(rng.normal(middle, width, (series, 1)))


def log_between(rng: Rng, series: int, low: Number, high: Number) -> Column:
    """Log-uniform."""
    return np.exp(rng.uniform(np.log(low), np.log(max(high, low * 1.01)), (series, 1)))


def standardised(values: Series) -> Series:
    """Every series with mean 0 and standard deviation 1; constant ones become 0."""
    centred = values - values.mean(1, keepdims=True)
    return centred / (centred.std(1, keepdims=True) + 1e-9)
