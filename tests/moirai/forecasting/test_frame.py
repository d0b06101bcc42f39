"""Long frames in, forecast frames out; and frames that cannot be forecast."""

import numpy as np
import pandas as pd
import pytest

from moirai.errors import ConfigError, DataError


def long_frame(freq="D", start="2024-01-31", **lengths):
    """Random series of these lengths under their names."""
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {
                "item_id": item,
                "timestamp": pd.date_range(start, periods=length, freq=freq),
                "target": rng.normal(10, 2, length),
            }
        )
        for item, length in lengths.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_columns_and_times(forecaster):
    """Every series gets its rows from its own last time stamp on, with a column per level."""
    forecast = forecaster.predict_frame(long_frame(b=20, a=9), freq="D", horizon=10)
    levels = [f"q{percent}" for percent in range(10, 100, 10)]
    assert list(forecast.columns) == ["item_id", "target_name", "origin", "timestamp", "mean", *levels]
    assert forecast["item_id"].tolist() == ["a"] * 10 + ["b"] * 10
    assert (forecast["target_name"] == "target").all()
    for item, length in (("a", 9), ("b", 20)):
        times = pd.date_range("2024-01-31", periods=length + 10, freq="D")
        rows = forecast[forecast["item_id"] == item]
        assert (rows["origin"] == times[length - 1]).all()
        assert rows["timestamp"].tolist() == times[length:].tolist()


@pytest.mark.parametrize("freq", ["h", "15min", "D", "W-SUN", "MS", "ME", "QS", "YE", "B", "H", "M"])
def test_frequencies(forecaster, freq):
    """Clock and calendar frequencies, old names included, go on where the series ends."""
    new = {"H": "h", "M": "ME"}.get(freq, freq)
    df = long_frame(new, a=12)
    forecast = forecaster.predict_frame(df, freq=freq, horizon=5)
    assert forecast["timestamp"].tolist() == pd.date_range(df["timestamp"].iloc[0], periods=17, freq=new)[12:].tolist()


def test_same_as_arrays(forecaster):
    """The values are those of the arrays, sorted over the levels."""
    df = long_frame(a=20)
    forecast = forecaster.predict_frame(df, freq="D")
    quantiles = forecaster.predict_arrays([df["target"].to_numpy()])[0]
    np.testing.assert_allclose(forecast.filter(regex="^q").T, np.sort(quantiles, axis=0), rtol=1e-5)


def test_levels_never_cross(forecaster):
    """Within a row quantiles rise with their level, in whatever order they were asked for."""
    forecast = forecaster.predict_frame(
        long_frame(a=20, b=3), freq="D", levels=[0.9, 0.25, 0.5], interpolate=True, horizon=20
    )
    assert list(forecast.filter(regex="^q")) == ["q90", "q25", "q50"]
    assert (forecast["q25"] <= forecast["q50"]).all()
    assert (forecast["q50"] <= forecast["q90"]).all()


def test_mean_does_not_depend_on_the_levels(forecaster):
    """The mean is that of the model's distribution, whichever levels are shown."""
    df = long_frame(a=20)
    means = [forecaster.predict_frame(df, freq="D", levels=levels)["mean"] for levels in (None, [0.1])]
    pd.testing.assert_series_equal(*means)


def test_rows_in_any_order(forecaster):
    """The order of the rows does not matter, and the frame is left as it was."""
    df = long_frame(a=20, b=9, c=3)
    shuffled = df.sample(frac=1, random_state=0)
    before = shuffled.copy()
    forecast = forecaster.predict_frame(shuffled, freq="D")
    pd.testing.assert_frame_equal(forecast, forecaster.predict_frame(df, freq="D"))
    pd.testing.assert_frame_equal(shuffled, before)


def test_missing_values(forecaster):
    """Missing targets of any kind are gaps: NaN, None in a nullable column, a series without values."""
    df = long_frame(a=20, b=9)
    df.loc[df["item_id"] == "b", "target"] = np.nan
    df.loc[3, "target"] = np.nan
    forecast = forecaster.predict_frame(df, freq="D")
    assert np.isfinite(forecast.filter(regex="^q|mean")).all(axis=None)
    nullable = forecaster.predict_frame(df.astype({"target": "Float64"}), freq="D")
    pd.testing.assert_frame_equal(nullable, forecast)


def test_names_and_types(forecaster):
    """The target may have any name, the ids any type; integers are values like others."""
    df = long_frame(a=20).rename(columns={"target": "sales"}).assign(item_id=7, sales=range(20))
    forecast = forecaster.predict_frame(df, freq="D", target="sales")
    assert set(forecast["target_name"]) == {"sales"}
    assert set(forecast["item_id"]) == {"7"}


def without_row(df, row):
    """The frame without one of its rows."""
    return df.drop(index=row)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda df: df.drop(columns="item_id"), "no column 'item_id'; it has 'timestamp', 'target'"),
        (lambda df: df.rename(columns={"target": "y"}), "no column 'target'"),
        (lambda df: df[:0], "the frame has no rows"),
        (
            lambda df: without_row(df, 22),
            r"series 'b': 2024-02-03 .* does not follow 2024-02-01 .* of 'D'; put .* on its grid",
        ),
        (lambda df: pd.concat([df, df[4:5]]), "series 'a': 2024-02-04 .* does not follow 2024-02-04"),
        (lambda df: df.assign(item_id=df["item_id"].where(df.index != 3)), "'item_id' has missing values; drop"),
        (lambda df: df.assign(timestamp=df["timestamp"].where(df.index != 3)), "'timestamp' has missing values"),
        (lambda df: df.assign(target="many"), "'target' holds object values; a target is numeric"),
        (lambda df: df.assign(timestamp=df["timestamp"].astype(str)), "convert it with pandas.to_datetime"),
        (lambda df: df.assign(timestamp=df["timestamp"].dt.tz_localize("UTC")), "time zone UTC; convert it"),
        (lambda df: df.assign(target=np.inf), "series 'a': holds values that are infinite"),
    ],
)
def test_frames_that_cannot_be_forecast(forecaster, change, says):
    """What is wrong with a frame is said with the series, the time stamp and the mend."""
    with pytest.raises(DataError, match=says):
        forecaster.predict_frame(change(long_frame(a=20, b=9)), freq="D")


def test_start_off_the_grid(forecaster):
    """A series that starts between two steps of its frequency is refused: what follows it would be guessed."""
    df = long_frame(start="2024-01-15", a=1)
    with pytest.raises(DataError, match=r"series 'a': 2024-01-15 .* is no time stamp of 'MS'"):
        forecaster.predict_frame(df, freq="MS")


def test_unknown_frequency(forecaster):
    """A frequency that pandas does not know is refused as a setting."""
    with pytest.raises(ConfigError, match="fortnight"):
        forecaster.predict_frame(long_frame(a=20), freq="fortnight")
