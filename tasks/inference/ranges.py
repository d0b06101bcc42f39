"""Values that cannot be: codes for missing ones such as -9999, and readings far from everything else.

In: numeric columns. Out: a finding for `validation.ranges`, or nothing; nothing here fails. What lies out of range is
counted and set missing by the transform, so a target is only bounded against a code that several rows share.
"""

import math

import numpy as np
import pandas as pd

from tasks.inference.findings import Finding

FAR = 2.0  # distance from all other values, in multiples of their whole range
RARE = 0.001  # share of readings that may be wild, at most
COMMON = 0.3  # share of codes, at most
FEWEST = 50  # distinct values that tell what is usual


def find_ranges(frame: pd.DataFrame, targets: list[str], others: list[str]) -> list[Finding]:
    """Bounds for columns that hold values far from all others.

    Args:
        frame: the rows.
        targets: columns that are forecast.
        others: further columns with values.
    """
    ranges: dict[str, dict[str, float]] = {}
    reasons = []
    for name in [*targets, *others]:
        values = np.sort(frame[name].dropna().to_numpy(dtype=np.float64))
        bounds = {
            "min": _bound(values, is_target=name in targets),
            "max": _negated(_bound(-values[::-1], is_target=name in targets)),
        }
        found = {side: bound for side, bound in bounds.items() if bound is not None}
        if not found:
            continue
        ranges[name] = found
        is_out = (values < found.get("min", -math.inf)) | (values > found.get("max", math.inf))
        shown = ", ".join(f"{value:g}" for value in np.unique(values[is_out])[:3])
        reasons.append(f"{name} is {shown} in {is_out.sum():,} of {len(values):,} rows, far from all others")
    why = f"{'; '.join(reasons)}: set missing"
    return [Finding("validation.ranges", ranges, "guess", why)] if ranges else []


def _bound(values: np.ndarray, *, is_target: bool) -> float | None:
    """A lower bound that leaves out the values far below all others; None: there are none."""
    if len(values) == 0:
        return None
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < FEWEST:
        return None
    shares = np.cumsum(counts) / len(values)
    places = [0] if is_target else range(int(np.searchsorted(shares, RARE, side="right")))
    fits_code = counts[0] > 1 and shares[0] <= COMMON
    for place in (*places, *([0] if fits_code else [])):
        usual = distinct[-1] - distinct[place + 1]
        is_allowed = fits_code if is_target or shares[place] > RARE else True
        if is_allowed and distinct[place + 1] - distinct[place] > FAR * usual:
            return _rounded_down(distinct[place + 1] - usual / 2)
    return None


def _rounded_down(bound: float) -> float:
    """One or two digits say it as well; plausible values below zero are not made up."""
    if bound == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(bound))) - 1)
    return round(math.floor(bound / step) * step, 10)


def _negated(bound: float | None) -> float | None:
    return None if bound is None else -bound
