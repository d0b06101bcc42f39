"""Covariates: what a column becomes, what is seen when, and what is refused."""

import logging

import numpy as np
import pandas as pd
import pytest

from moirai.errors import CheckpointError, ConfigError, DataError
from moirai.forecasting.covariates import MOST_VARIATES, CovariateEncoding, arrange
from moirai.forecasting.frame import split_horizon
from moirai.forecasting.inputs import SeriesInput

NAN = float("nan")
HORIZON = 6
ENCODING = CovariateEncoding(
    known=("promo", "holiday"), past=("temp",), lead=2, names={"holiday": ("Easter", "May Day")}
)


def long_frame(**lengths):
    """Random daily series of these lengths, a random promotion and a temperature."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {
                "item_id": item,
                "timestamp": pd.date_range("2024-01-31", periods=length, freq="D"),
                "target": rng.normal(10, 2, length),
                "promo": rng.integers(0, 2, length).astype(float),
                "temp": rng.normal(0, 1, length),
            }
        )
        for item, length in lengths.items()
    ]
    return pd.concat(parts, ignore_index=True)


def future_frame(df, steps=HORIZON):
    """The promotion of the days behind each series."""
    rng = np.random.default_rng(1)
    ends = df.groupby("item_id")["timestamp"].max()
    parts = [
        pd.DataFrame(
            {
                "item_id": item,
                "timestamp": pd.date_range(last, periods=steps + 1, freq="D")[1:],
                "promo": rng.integers(0, 2, steps).astype(float),
            }
        )
        for item, last in ends.items()
    ]
    return pd.concat(parts, ignore_index=True)


def predict(forecaster, df, future, **options):
    """The forecast with promotion and temperature."""
    return forecaster.predict_frame(
        df, freq="D", horizon=HORIZON, known=["promo"], past=["temp"], future=future, **options
    )


def test_a_categorical_column_is_an_indicator_per_name():
    """Missing names are missing in every indicator."""
    made = ENCODING.encode("holiday", pd.Series(["May Day", None, "Easter"]))
    np.testing.assert_array_equal(made, [[0, NAN, 1], [1, NAN, 0]])
    assert ENCODING.variates == ["promo", "holiday=Easter", "holiday=May Day", "temp"]


def test_an_unknown_name_sets_no_indicator_and_is_named(caplog):
    """The model cannot know it; the warning says column, name and how often."""
    with caplog.at_level(logging.WARNING):
        made = ENCODING.encode("holiday", pd.Series(["Easter", "Christmas Day", "Christmas Day"]))
    np.testing.assert_array_equal(made, [[1, 0, 0], [0, 0, 0]])
    assert "'holiday': the model was not trained with 'Christmas Day' (2 rows)" in caplog.text


def test_names_that_no_longer_occur_stay_as_zeros(caplog):
    """A column without any name of the encoding keeps its variates, and no level without rows is warned of."""
    values = pd.Series(pd.Categorical.from_codes([-1, 0], categories=["Easter", "Christmas Day"]))
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(ENCODING.encode("holiday", values), [[NAN, 1], [NAN, 0]])
    assert caplog.text == ""
    np.testing.assert_array_equal(
        ENCODING.encode("holiday", pd.Series([None, None], dtype="str")), np.full((2, 2), NAN)
    )


def test_the_encoding_is_kept_beside_the_weights(tmp_path):
    """What is read equals what was written; a folder without one says so, a damaged file is refused."""
    assert CovariateEncoding.read(tmp_path) is None
    ENCODING.write(tmp_path)
    kept = CovariateEncoding.read(tmp_path)
    assert kept == ENCODING
    assert kept.fingerprint == ENCODING.fingerprint
    assert kept.summary == "known: holiday (names), promo; past: temp"
    (tmp_path / "covariates.json").write_text('{"known": ["promo"]}')
    with pytest.raises(CheckpointError, match=r"covariates\.json is damaged"):
        CovariateEncoding.read(tmp_path)


def test_encodings_that_cannot_work():
    """Variates with one name, and more of them than a model takes, are refused by column."""
    with pytest.raises(ConfigError, match="two covariates would be called 'day=a'"):
        CovariateEncoding(known=("day", "day=a"), lead=1, names={"day": ("a",)})
    names = tuple(str(number) for number in range(MOST_VARIATES))
    with pytest.raises(ConfigError, match=r"129 variates, at most 127 .* column 'shop' alone has 128"):
        CovariateEncoding(known=("promo",), past=("shop",), lead=1, names={"shop": names})


def test_known_covariates_are_moved_and_past_ones_are_not():
    """At every step of every series stands the known value `lead` steps later, from the future at its end."""
    rows = pd.DataFrame({"promo": [1.0, 2, 3, 4, 5], "holiday": ["Easter"] * 5, "temp": [7.0, NAN, 9, 10, 11]})
    future = {"promo": pd.Series([10.0, 20.0, 30.0, 40.0])}
    first, second = arrange(ENCODING, rows, np.array([0, 4]), future)
    np.testing.assert_array_equal(first[0], [3, 4, 10, 20])
    np.testing.assert_array_equal(first[1:3], [[1, 1, NAN, NAN], [0, 0, NAN, NAN]])
    np.testing.assert_array_equal(first[3], [7, NAN, 9, 10])
    np.testing.assert_array_equal(second[[0, 3]], [[40], [11]])


def test_the_published_layout_never_shows_the_horizon(forecaster):
    """Why known covariates are moved: laid behind the origin, a causal network does not see them."""
    rng = np.random.default_rng(0)
    target, known = rng.normal(size=(1, 24)), rng.normal(size=(1, 32))
    reversed_later = np.concatenate([known[:, :24], known[:, :23:-1]], axis=1)
    made = [
        forecaster.predict_inputs([SeriesInput(target=target, feat_dynamic_real=one)], horizon=8)
        for one in (known, reversed_later)
    ]
    np.testing.assert_allclose(made[0], made[1], rtol=1e-5)


def test_a_frame_with_covariates_is_forecast_as_its_arrays(forecaster):
    """The frame's forecast is that of the arrays, known values moved by the horizon."""
    df = long_frame(a=20, b=9)
    future = future_frame(df)
    forecast = predict(forecaster, df, future)
    inputs = []
    for item, rows in df.groupby("item_id"):
        promo = np.r_[rows["promo"], future.loc[future["item_id"] == item, "promo"]][HORIZON:]
        beside = np.stack([promo, rows["temp"]])
        inputs.append(SeriesInput(target=rows["target"].to_numpy()[None], past_feat_dynamic_real=beside))
    expected = forecaster.predict_inputs(inputs, horizon=HORIZON, whole_patches=True)[..., 0]
    found = forecast.filter(regex="^q").to_numpy().reshape(2, HORIZON, -1).transpose(0, 2, 1)
    np.testing.assert_allclose(found, np.sort(expected, axis=1), rtol=1e-5)
    assert list(forecast.columns[:5]) == ["item_id", "target_name", "origin", "timestamp", "mean"]


def test_known_values_of_the_horizon_are_seen_and_later_ones_are_not(forecaster):
    """The last step of the horizon counts, the one behind it does not."""
    df = long_frame(a=20)
    future = future_frame(df, HORIZON + 1)

    def quantiles(changed_step=None):
        changed = future.copy()
        if changed_step is not None:
            changed.loc[changed_step, "promo"] += 5
        return predict(forecaster, df, changed).filter(regex="^q").to_numpy()

    assert not np.allclose(quantiles(), quantiles(HORIZON - 1))
    np.testing.assert_array_equal(quantiles(), quantiles(HORIZON))


def test_what_shares_a_batch_does_not_matter(forecaster):
    """A short series is forecast alike beside a long one, whose length is no whole number of patches."""
    df = long_frame(a=23, b=6)
    both = predict(forecaster, df, future_frame(df)).query("item_id == 'b'").filter(regex="^q")
    alone = df.query("item_id == 'b'")
    single = predict(forecaster, alone, future_frame(df).query("item_id == 'b'")).filter(regex="^q")
    np.testing.assert_allclose(both, single, rtol=1e-4)


def test_missing_history_and_several_targets(forecaster):
    """Gaps in covariates are gaps, rows may come in any order, every target sees the same covariates."""
    df = long_frame(a=20, b=9).assign(visits=lambda one: one["target"] * 2)
    df.loc[[3, 25], ["promo", "temp"]] = np.nan
    future = future_frame(df)
    forecast = predict(forecaster, df, future, target=["target", "visits"])
    assert np.isfinite(forecast.filter(regex="^q|mean")).all(axis=None)
    shuffled = predict(
        forecaster,
        df.sample(frac=1, random_state=0),
        future.sample(frac=1, random_state=0),
        target=["target", "visits"],
    )
    pd.testing.assert_frame_equal(shuffled, forecast)
    pd.testing.assert_frame_equal(
        forecast.query("target_name == 'target'"), predict(forecaster, df, future), check_exact=False, rtol=1e-4
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda _: None, r"known covariates \(promo\) need their values .* give `future`.* for the 6 steps"),
        (lambda future: future.drop(columns="promo"), "future covariates has no column 'promo'; it has 'item_id'"),
        (
            lambda future: future.drop(index=[8, 10]),
            r"known covariate 'promo' of series 'b' has no value at 2024-02-11 00:00:00; all 6 steps .* past covariate",
        ),
        (
            lambda future: future.assign(promo=future["promo"].where(future.index != 5)),
            "'promo' of series 'a' has no value at 2024-02-25",
        ),
        (lambda future: future.iloc[[0]], r"series 'a' has no value at 2024-02-21 .*\(and 1 more series lack values\)"),
        (
            lambda future: pd.concat([future, future.iloc[[1]]]),
            "series 'a': the future covariates at 2024-02-21 .* twice",
        ),
    ],
)
def test_known_covariates_that_lack_values_of_the_horizon(forecaster, change, says):
    """Column, series and the first time stamp without a value are named."""
    df = long_frame(a=20, b=9)
    with pytest.raises(DataError, match=says):
        predict(forecaster, df, change(future_frame(df)))


def test_other_refusals(forecaster):
    """Covariates are numbers, are there, come with one encoding, and are seen no further than it says."""
    df = long_frame(a=20)
    with pytest.raises(DataError, match=r"'temp' holds (object|str) values; a numeric covariate is expected"):
        predict(forecaster, df.assign(temp="warm"), future_frame(df))
    with pytest.raises(DataError, match="no column 'wind'"):
        forecaster.predict_frame(df, freq="D", past=["wind"])
    encoding = CovariateEncoding(known=("promo",), lead=3)
    with pytest.raises(ConfigError, match="not both"):
        forecaster.predict_frame(df, freq="D", known=["promo"], encoding=encoding)
    with pytest.raises(ConfigError, match="known covariates 3 steps ahead; a horizon of 4 is too long"):
        forecaster.predict_frame(df, freq="D", horizon=4, encoding=encoding, future=future_frame(df))


def test_a_frame_that_goes_on_into_the_horizon_is_parted():
    """What stands behind a series' last target is its horizon; gaps before it are history."""
    df = long_frame(a=4, b=3)
    df.loc[[1, 3, 6], "target"] = np.nan
    history, future = split_horizon(df, ["target"])
    assert (history.index.tolist(), future.index.tolist()) == ([0, 1, 2, 4, 5], [3, 6])
    df.loc[[4, 5], "target"] = np.nan
    with pytest.raises(DataError, match="series 'b' has no value of 'target' to forecast from"):
        split_horizon(df, ["target"])
