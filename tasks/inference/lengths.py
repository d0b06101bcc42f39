"""Lengths in steps that suit the series: horizon, context, backtest windows, and what validation asks of them.

In: the rhythm and the values of the targets. Out: findings; nothing here fails.
"""

import math

import pandas as pd

from tasks.inference.findings import Finding, counted, percent
from tasks.inference.rhythm import Rhythm
from tasks.inference.seasons import find_seasons
from tasks.job import Finetune
from tasks.job.checking import Validation

# Usual horizon in steps, per unit of `rhythm.WORDS`
HORIZONS = {"Y": 6, "Q": 8, "M": 12, "W": 13, "B": 20, "D": 30, "h": 48, "min": 48, "s": 60}
SHARE_OF_SERIES = 5  # a horizon is at most this fraction of the typical series
CONTEXTS = (64, 2048)  # smallest and largest suggestion; the model reads up to the latter
MOST_WINDOWS = 20
TRAINABLE_STEPS = 32  # two patches: what a series needs before its held-out windows
TEST_SHARE = 0.1  # share of the shortest usable series that the backtest may take
ROUNDED = 20  # shares are proposed in twentieths


def find_lengths(
    rhythm: Rhythm, values: pd.DataFrame, *, is_series: bool = False, known_steps: int | None = None
) -> list[Finding]:
    """Suggest season, horizon, context, backtest windows, and thresholds where the usual ones would not do.

    Args:
        rhythm: frequency and grid of the series.
        values: target columns, one row per row of the source.
        is_series: whether each column is a series of its own, and not a target of every item.
        known_steps: steps that covariates are known for; a horizon cannot be longer. None: there are none.
    """
    season, *baselines = find_seasons(rhythm, values)
    profile = _profile(rhythm, values, is_series=is_series)
    spans = profile["span"][profile["observed"] > 0]
    horizon = _find_horizon(rhythm, int(spans.median()), known_steps)
    thresholds = _find_thresholds(profile, horizon.value, season.value)
    least = next((one.value for one in thresholds if one.setting.endswith("min_length")), horizon.value + season.value)
    context = _find_context(int(spans.max()))
    windows = _find_windows(spans, horizon.value, least)
    held_out = _find_validation_windows(int(spans.max()), horizon.value, windows.value)
    return [horizon, season, context, *thresholds, windows, *baselines, *held_out]


def _profile(rhythm: Rhythm, values: pd.DataFrame, *, is_series: bool) -> pd.DataFrame:
    """Per series and target: its owner, which validation judges as a whole, observed steps and span."""
    rows = rhythm.positions
    parts = []
    for number, name in enumerate(values):
        is_seen = values[name].loc[rows.index].notna()
        steps = rows["step"].where(is_seen).groupby(rows["item"])
        part = pd.DataFrame({"observed": steps.count(), "span": steps.max() - steps.min() + 1})
        part["span"] = part["span"].fillna(0).astype(int)
        parts.append(part.assign(owner=[(number if is_series else 0, item) for item in part.index]))
    return pd.concat(parts, ignore_index=True)


def _find_thresholds(profile: pd.DataFrame, horizon: int, season: int) -> list[Finding]:
    """Thresholds of validation, where the usual ones would put most series in quarantine."""
    usual, least, findings = Validation(), horizon + season, []
    observed, missing = profile["observed"], 1 - profile["observed"] / profile["span"].clip(lower=1)

    def share_of(is_unfit: pd.Series) -> float:
        return float(is_unfit.groupby(profile["owner"]).any().mean())

    short = share_of(observed < least)
    if short > usual.max_quarantined:
        enough = 2 * horizon if share_of(observed < 2 * horizon) <= usual.max_quarantined else horizon + 1
        why = f"{percent(short)} of the series have fewer than horizon + season ({least}) observations"
        findings.append(Finding("validation.min_length", enough, "guess", why))
        least = enough
    limit, gappy = usual.max_missing, share_of(missing > usual.max_missing)
    if gappy > usual.max_quarantined:
        limit = _rounded_up(float(missing[observed > 0].quantile(0.9)))
        why = f"{percent(gappy)} of the series miss more than {percent(usual.max_missing)} of their steps"
        findings.append(
            Finding("validation.max_missing", limit, "guess", f"{why}; a coarser frequency may suit better")
        )
    unfit = share_of((observed < least) | (missing > limit))
    if unfit > usual.max_quarantined:
        why = f"{percent(unfit)} of the series are too short or have too many gaps; the others can be forecast"
        findings.append(Finding("validation.max_quarantined", _rounded_up(unfit), "guess", why))
    return findings


def _rounded_up(share: float) -> float:
    return min(1.0, math.ceil(share * ROUNDED) / ROUNDED)


def _find_horizon(rhythm: Rhythm, typical: int, known_steps: int | None) -> Finding:
    """What is usual at the frequency, as far as the series and what is known beside them allow."""
    usual, longest = HORIZONS[rhythm.unit], max(1, typical // SHARE_OF_SERIES)
    why = "usual at this frequency"
    if longest < usual:
        why = f"a fifth of the typical series ({counted(typical, 'step')}); {usual} would be usual"
    horizon = min(usual, longest)
    if known_steps is not None and known_steps < horizon:
        horizon = known_steps
        why = f"covariates are known for {counted(known_steps, 'step')} beyond the last target"
    why += "; how far ahead you need to see is yours to say"
    return Finding("horizon", horizon, "guess", why)


def _find_context(longest: int) -> Finding:
    """The power of two that holds the longest series, within what the model reads."""
    least, most = CONTEXTS
    context = min(most, max(least, 2 ** math.ceil(math.log2(longest))))
    series = f"the longest series has {counted(longest, 'step')}"
    why = "all of it is seen" if context >= longest else "the most the model reads"
    return Finding("context", context, "sure", f"{why}; {series}")


def _find_windows(lengths: pd.Series, horizon: int, least: int) -> Finding:
    """As many windows as a tenth of the shortest usable series holds."""
    usable = lengths[lengths >= least]
    shortest = int(usable.min()) if len(usable) else int(lengths.max())
    windows = min(max(1, math.ceil(TEST_SHARE * shortest / horizon)), MOST_WINDOWS)
    why = f"{windows} x {counted(horizon, 'step')} at the end of series of {shortest:,} or more"
    if short := len(lengths) - len(usable):
        why += f"; {short} of {len(lengths)} are shorter than {least} steps: quarantine"
    return Finding("backtest.windows", windows, "likely" if len(usable) else "guess", why)


def _find_validation_windows(longest: int, horizon: int, windows: int) -> list[Finding]:
    """Fewer held-out windows where the usual number leaves nothing to fine-tune on; nothing where it fits."""
    usual = Finetune().validation_windows
    fitting = (longest - windows * horizon - TRAINABLE_STEPS) // horizon
    if fitting >= usual:
        return []
    if fitting >= 1:
        why = f"{usual}, as usual, would leave fewer than {TRAINABLE_STEPS} steps of the longest series to train on"
        return [Finding("finetune.validation_windows", fitting, "likely", why)]
    why = "the series are too short to fine-tune at this horizon; forecasts and backtests work"
    return [Finding("finetune.validation_windows", 1, "guess", why)]
