"""Quantile levels asked for against the levels a model was trained on."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from moirai.errors import ConfigError

Quantiles = Float[np.ndarray, "*batch quantile step"]


def quantile_name(level: float) -> str:
    """Column of a level, by percent: 0.1 -> `q10`, 0.025 -> `q2.5`."""
    return f"q{level * 100:.6g}"


def check_levels(trained: Sequence[float], asked: Sequence[float], *, interpolate: bool = False) -> None:
    """Refuse levels that a model cannot give.

    Args:
        trained: rising levels of the model.
        asked: levels wanted.
        interpolate: whether levels between two trained ones may be interpolated linearly.

    Raises:
        ConfigError: a level is not trained and may not, or cannot, be interpolated.
    """
    for level in asked:
        if not np.isclose(level, trained).any():
            known = ", ".join(f"{one:g}" for one in trained)
            if not interpolate:
                raise ConfigError(f"quantile {level:g} is not among the model's trained levels ({known})")
            if not trained[0] < level < trained[-1]:
                raise ConfigError(f"quantile {level:g} lies outside the model's trained levels ({known})")


def at_levels(
    quantiles: Quantiles,
    trained: Sequence[float],
    asked: Sequence[float],
    *,
    interpolate: bool = False,
) -> Float[np.ndarray, "*batch asked step"]:
    """Quantiles at the levels asked for, in their order.

    Args:
        quantiles: at the trained levels.
        trained: rising levels of the model.
        asked: levels wanted.
        interpolate: whether levels between two trained ones may be interpolated linearly.

    Raises:
        ConfigError: a level is not trained and may not, or cannot, be interpolated.
    """
    check_levels(trained, asked, interpolate=interpolate)
    position = np.interp(asked, trained, np.arange(len(trained)))
    below = np.clip(np.floor(position).astype(int), 0, len(trained) - 1)
    above = np.minimum(below + 1, len(trained) - 1)
    weight = (position - below)[:, None]
    low, high = quantiles[..., below, :], quantiles[..., above, :]
    return np.where(weight > 0, low + weight * (high - low), low).astype(quantiles.dtype)


def mean_of_quantiles(quantiles: Quantiles, levels: Sequence[float]) -> Float[np.ndarray, "*batch step"]:
    """Mean of the distribution: its quantile function integrated by trapezoids, with flat tails."""
    edges = np.concatenate(([0.0], (np.asarray(levels)[1:] + np.asarray(levels)[:-1]) / 2, [1.0]))
    return np.einsum("...qs,q->...s", quantiles, np.diff(edges))
