"""Synthetic series to pretrain on: which kinds there are, and how their parts are joined.

In: a generator of random numbers, a number of series and a length. Out: [series, time] float32 with NaN where a value
is missing. Everything is drawn from the generator, so a seed gives the same series on every machine. All series of a
kind are made together, by array operations. Kinds: structure (seasons, trends, smooth paths, noise, jumps, each in
some), Gaussian processes of composed kernels, autoregressions, demand. Then how they show: at some level, positive with
multiplicative noise, cut at zero, as counts; with outliers, stuck stretches and missing values.
"""

import numpy as np

from moirai.training.synthetic.defects import gaps, held, level_shifts, outliers
from moirai.training.synthetic.demand import demand
from moirai.training.synthetic.draws import Rng, Series, between, some, spread, standardised
from moirai.training.synthetic.kernels import kernel_draws
from moirai.training.synthetic.processes import autoregressions, coloured, shocks
from moirai.training.synthetic.seasons import seasons
from moirai.training.synthetic.trends import smooth, trends

SHARES = {"structure": 0.6, "kernels": 0.15, "autoregression": 0.15, "demand": 0.1}
LARGEST_COUNT = 1e4
FARTHEST = 1e5  # spreads from zero at which a series is held: nothing absurd, whatever was drawn


def synthetic_series(rng: Rng, series: int, length: int) -> Series:
    """Draw series of many kinds.

    Args:
        rng: source of everything random.
        series: how many.
        length: time steps of each, at least 8.
    """
    kind = rng.choice(len(SHARES), series, p=list(SHARES.values()))
    time = np.arange(length) + rng.integers(0, 10_000, (series, 1))  # phases of the calendars differ
    values = np.empty((series, length))
    for number, name in enumerate(SHARES):
        chosen = (kind == number).nonzero()[0]
        if len(chosen):
            values[chosen] = _of_kind(name, rng, time[chosen])
    return gaps(rng, held(rng, values)).astype(np.float32)


def _of_kind(name: str, rng: Rng, time: np.ndarray) -> Series:
    series, length = time.shape
    if name == "demand":
        return demand(rng, time)
    if name == "structure":
        return _shown(rng, _structure(rng, time))
    draw = kernel_draws if name == "kernels" else autoregressions
    signal = draw(rng, series, length)
    if name == "autoregression":  # some of them around a season
        signal = signal + seasons(rng, time) * some(rng, series, 0.5, spread(rng, series, 0, 0.6))
    return _shown(rng, signal + outliers(rng, series, length))


def _structure(rng: Rng, time: np.ndarray) -> Series:
    """A sum of some parts each."""
    series, length = time.shape
    signal = seasons(rng, time) * some(rng, series, 0.85, spread(rng, series, 0, 0.6))
    signal += trends(rng, series, length)
    signal += smooth(rng, series, length) * some(rng, series, 0.35, spread(rng, series, -0.5, 0.7))
    signal += level_shifts(rng, series, length)
    phi = some(rng, series, 0.5, 1 - np.exp(rng.uniform(np.log(0.01), 0, (series, 1))))
    noise = coloured(shocks(rng, series, length), phi) * spread(rng, series, -1.8, 1.0)
    noise *= 1 + some(rng, series, 0.25, rng.random((series, 1))) * np.abs(signal)  # grows with the signal
    return signal + noise + outliers(rng, series, length)


def _shown(rng: Rng, signal: Series) -> Series:
    """As it is at some level, positive (exponential, which makes noise multiplicative), cut at zero, or as counts."""
    series = len(signal)
    kind = rng.random((series, 1))
    positive = np.exp(np.clip(between(rng, series, 0.15, 0.8) * signal, -6, 6))
    cut = np.maximum(signal - between(rng, series, -1.5, 0.8), 0)
    rate = spread(rng, series, 1.0, 1.4) * positive
    counts = rng.poisson(np.minimum(rate, LARGEST_COUNT)).astype(np.float64)
    # A level far from zero, as most real series have.
    level = rng.normal(0, 1, (series, 1)) * spread(rng, series, 1.0, 1.5) * (rng.random((series, 1)) < 0.8)
    plain = np.clip(signal, -FARTHEST, FARTHEST) + level
    saturated = np.tanh(standardised(signal)) + level  # between bounds, as shares and temperatures of rooms are
    bounds = [kind < 0.55, kind < 0.6, kind < 0.82, kind < 0.9]
    return np.select(bounds, [plain, saturated, positive, cut], counts)
