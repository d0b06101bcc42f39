"""Long frames to what a model is shown: targets with their covariates, one series after the other.

In: a long frame, the names of its columns, and the rows of the horizon where covariates are known there. Out: the
series of the frame, and one `SeriesInput` per target and series. Fails with `DataError`, which names column, series and
time stamp, or `ConfigError` where covariates do not fit the model.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from moirai.errors import ConfigError, DataError
from moirai.forecasting.covariates import CovariateEncoding, arrange, check_future, future_values
from moirai.forecasting.frame import LongSeries, split_frame
from moirai.forecasting.inputs import SeriesInput

Features = tuple[Float[np.ndarray, "known _time"] | None, Float[np.ndarray, "past _time"] | None]
NONE: Features = (None, None)


def frame_inputs(
    df: pd.DataFrame,
    *,
    freq: str,
    targets: Sequence[str],
    known: Sequence[str],
    past: Sequence[str],
    future: pd.DataFrame | None,
    encoding: CovariateEncoding | None,
    horizon: int,
    is_moved: bool,
    joint: bool = False,
) -> tuple[LongSeries, list[SeriesInput]]:
    """The series of a frame, and what a model is shown of them: target by target, or all targets of a series at once.

    Args:
        df: columns item_id, timestamp, the targets and the covariates.
        freq: distance of two time stamps.
        targets: names of the target columns.
        known: names of numeric covariates that are known for the horizon.
        past: names of numeric covariates that are known up to the origin.
        future: item_id, timestamp and the known covariates for the horizon behind each series.
        encoding: the covariates that a model was fine-tuned with, instead of `known` and `past`.
        horizon: steps to forecast.
        is_moved: whether known covariates are moved by the horizon, as Moirai 2.0 needs them, or laid into it.
        joint: whether the targets of a series are variates of one input.
    """
    if encoding is not None and (known or past):
        raise ConfigError("give the covariates as `encoding`, or as `known` and `past`, not both")
    if encoding is None and (known or past) and is_moved:
        encoding = CovariateEncoding(known=tuple(known), past=tuple(past), lead=horizon)
    if encoding is not None and encoding.known and horizon > encoding.lead:
        raise ConfigError(
            f"the model sees known covariates {encoding.lead} steps ahead; a horizon of {horizon} is too long for it"
        )
    columns = encoding.columns if encoding else (*known, *past)
    series = split_frame(df, freq=freq, targets=targets, covariates=columns)
    features = [NONE] * len(series.item_ids)
    if encoding is not None:
        features = [(None, one) for one in covariate_arrays(series, encoding, future, freq=freq)]
    elif columns:
        features = laid_out(series, known, past, future, horizon=horizon, freq=freq)
    arrays = [[values[None] for values in series.values(name)] for name in targets]  # per target, per series
    if joint:
        arrays = [[np.concatenate(one) for one in zip(*arrays, strict=True)]]
    return series, [
        SeriesInput(target=values, feat_dynamic_real=ahead, past_feat_dynamic_real=behind, name=f"series {item!r}")
        for of_target in arrays
        for item, values, (ahead, behind) in zip(series.item_ids, of_target, features, strict=True)
    ]


def covariate_arrays(
    series: LongSeries, encoding: CovariateEncoding, future: pd.DataFrame | None, *, freq: str
) -> list[Float[np.ndarray, "variate _time"]]:
    """What Moirai 2.0 sees of the covariates of every series; known ones must be there for the whole lead.

    Args:
        series: with the encoding's columns.
        encoding: what the columns become.
        future: item_id, timestamp and the known columns behind each series.
        freq: distance of two time stamps.

    Raises:
        DataError: a known covariate lacks a value for the horizon, or a column holds something else than expected.
    """
    return arrange(encoding, series.rows, series.starts, _ahead(series, encoding, future, freq=freq))


def laid_out(
    series: LongSeries,
    known: Sequence[str],
    past: Sequence[str],
    future: pd.DataFrame | None,
    *,
    horizon: int,
    freq: str,
) -> list[Features]:
    """Known covariates over history and horizon, and past ones over the history, as the published layout has them.

    Raises:
        DataError: as `covariate_arrays`.
    """
    unmoved = CovariateEncoding(past=(*known, *past), lead=1)
    history = arrange(unmoved, series.rows, series.starts, {})
    ahead = _ahead(series, CovariateEncoding(known=tuple(known), lead=horizon), future, freq=freq)
    shape = (len(known), len(series.item_ids), horizon)
    horizons = np.array([ahead[name].to_numpy(np.float32) for name in known], np.float32).reshape(shape)
    return [
        (
            np.concatenate([one[: len(known)], horizons[:, index]], axis=1) if known else None,
            one[len(known) :] if past else None,
        )
        for index, one in enumerate(history)
    ]


def _ahead(
    series: LongSeries, encoding: CovariateEncoding, future: pd.DataFrame | None, *, freq: str
) -> dict[str, pd.Series]:
    """The known covariates of the horizon behind every series, all of them there."""
    if not encoding.known:
        return {}
    if future is None:
        raise DataError(
            f"known covariates ({', '.join(encoding.known)}) need their values for the horizon: give `future`, a "
            f"frame with item_id, timestamp and these columns for the {encoding.lead} steps behind each series"
        )
    ends = {"item_ids": series.item_ids, "last_timestamps": series.last_timestamps, "freq": freq}
    ahead = future_values(future, encoding, **ends)
    check_future(ahead, lead=encoding.lead, **ends)
    return ahead
