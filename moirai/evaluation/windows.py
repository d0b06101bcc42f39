"""Rolling forecast origins on the end of a series: pure arithmetic on lengths and index arrays.

The last `windows * horizon` steps are the test span. Window w, counted from 0, sees every step
before `length - (windows - w) * horizon` and forecasts the `horizon` steps from there on. Windows
lie back to back, never overlap, and the last one ends with the series, as in the GIFT-Eval
benchmark (arXiv 2410.10393).
"""

import numpy as np
from jaxtyping import Int

from moirai.errors import ConfigError, DataError

TEST_SHARE = 10  # the test span is about one part in ten
MAX_WINDOWS = 20


def default_windows(shortest: int, horizon: int) -> int:
    """Number of windows for which the test span is about a tenth of the shortest series.

    `min(max(1, ceil(0.1 * shortest / horizon)), 20)`, in whole numbers: 0.1 is no binary fraction.

    Args:
        shortest: steps of the shortest series, at least 1.
        horizon: steps of one window.

    Returns:
        1 to 20.

    Raises:
        ConfigError: the horizon is below 1.
        DataError: the shortest series has no step.
    """
    _check_positive(horizon=horizon)
    if shortest < 1:
        raise DataError("the shortest series is empty; leave empty series out")
    rounded_up = -(-shortest // (TEST_SHARE * horizon))
    return min(rounded_up, MAX_WINDOWS)


def origins(length: int, *, horizon: int, windows: int, min_history: int = 1) -> Int[np.ndarray, " window"]:
    """Steps that each window sees, which is also the index of the first step that it forecasts.

    The first origin is the length of the span that may be trained on.

    Args:
        length: steps of the series, missing ones included.
        horizon: steps of one window.
        windows: number of windows.
        min_history: steps that the first window has to see.

    Returns:
        Rising by `horizon`, the last one `length - horizon`.

    Raises:
        ConfigError: `horizon` or `windows` is below 1, or `min_history` below 0.
        DataError: the series is too short for that many windows.
    """
    _check_positive(horizon=horizon, windows=windows)
    if min_history < 0:
        raise ConfigError(f"min_history must be 0 or more, not {min_history}")
    first = length - windows * horizon
    if first < min_history:
        possible = max((length - min_history) // horizon, 0)
        raise DataError(
            f"a series of {length} steps is too short for {windows} windows of {horizon} steps "
            f"after {min_history} steps of history, it allows {possible}: ask for fewer windows or "
            "a shorter horizon, or leave the series out"
        )
    return first + horizon * np.arange(windows)


def target_steps(origins: Int[np.ndarray, " window"], horizon: int) -> Int[np.ndarray, "window step"]:
    """Index of every step that each window forecasts: `values[target_steps(...)]` are the actuals.

    Args:
        origins: what `origins` returned.
        horizon: steps of one window.

    Returns:
        Indices into the series.

    Raises:
        ConfigError: the horizon is below 1.
    """
    _check_positive(horizon=horizon)
    return origins[:, None] + np.arange(horizon)


def _check_positive(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{name} must be 1 or more, not {count}")
