"""Filler for missing values (specification, section 12).

The observed mask is taken before; filler is never counted.
"""

import numpy as np
from jaxtyping import Float


def causal_mean(values: Float[np.ndarray, "series time"]) -> Float[np.ndarray, "series time"]:
    """Replace every missing value by the mean of what came before it; a copy is returned.

    With z the series whose gaps repeat the last observed value (leading gaps the first one), a
    missing y_t becomes the mean of z_0 … z_{t-1}, and a missing y_0 becomes z_0. A series without
    any value becomes 0.
    """
    missing = np.isnan(values)
    if not missing.any():
        return values.copy()
    steps = np.arange(values.shape[1])
    last_seen = np.maximum.accumulate(np.where(missing, -1, steps), axis=1)
    first_seen = np.argmax(~missing, axis=1)[:, None]
    held = np.take_along_axis(values, np.where(last_seen < 0, first_seen, last_seen), axis=1)
    held = np.where(missing.all(axis=1, keepdims=True), 0.0, held).astype(np.float64)
    mean_before = np.empty_like(held)
    mean_before[:, 0] = held[:, 0]
    mean_before[:, 1:] = np.cumsum(held, axis=1)[:, :-1] / steps[1:]
    return np.where(missing, mean_before, values).astype(values.dtype)


def zero(values: Float[np.ndarray, "series time"]) -> Float[np.ndarray, "series time"]:
    """Replace every missing value by 0; a copy is returned."""
    return np.where(np.isnan(values), 0.0, values).astype(values.dtype)
