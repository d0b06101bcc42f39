"""Covariates from panel to model: what is recorded, what each step sees, which jobs and models do not go together."""

import json
import logging
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moirai.errors import ConfigError, DataError
from moirai.forecasting.covariates import CovariateEncoding
from tasks.backtest import backtest_panel
from tasks.covariates import model_encoding, panel_covariates
from tasks.errors import JobError
from tasks.forecast import forecast_panel
from tasks.model_reference import resolve_model
from tasks.panel import write_panel
from tasks.train import train_model, training_key

train_here = partial(train_model, apart=False)  # a process of its own takes seconds to start: tests/tasks/training
COLUMNS = {
    "timestamp": "hour",
    "item_id": "shop",
    "target": ["sales"],
    "known": ["promo", "holiday"],
    "past": ["temp"],
    "categorical": ["holiday"],
}
LEVELS = ["Easter", "May Day", "Whitsun"]
HORIZON = 6
TEST_STEPS = 3 * HORIZON


@pytest.fixture
def job(small_job):
    """The job of two hourly series with three covariates."""
    return small_job(columns=COLUMNS)


@pytest.fixture
def frame(clean_frame):
    """The clean frame with covariates; Whitsun falls into the backtest only."""
    rng = np.random.default_rng(1)
    count = len(clean_frame)
    holiday = np.where(rng.random(count) < 0.1, rng.integers(0, 2, count).astype(float), np.nan)
    holiday[[-3, 239 - 3]] = 2.0
    return clean_frame.assign(
        promo=(rng.random(count) < 0.3).astype(float), holiday=holiday, temp=rng.normal(15, 3, count)
    )


@pytest.fixture
def future(frame):
    """Promotions and holidays of the horizon behind each series."""
    parts = []
    for item, last in frame.groupby("item_id")["timestamp"].max().items():
        hours = pd.date_range(last, periods=HORIZON + 1, freq="h")[1:]
        promo = np.arange(HORIZON) % 2.0
        parts.append(pd.DataFrame({"item_id": item, "timestamp": hours, "promo": promo, "holiday": 0.0}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def save(tmp_path):
    """Writes a panel with levels and future covariates."""

    def write(frame, future=None, levels=LEVELS):
        return write_panel(frame, tmp_path / "panels", stage="clean", levels={"holiday": levels}, future=future)

    return write


@pytest.fixture
def tuned(job, frame, save, tiny_model):
    """A model that was fine-tuned with the covariates."""
    return resolve_model(job, train_here(job, save(frame), tiny_model).folder)


def quantiles(forecast):
    """The quantiles of a forecast on disk."""
    return pd.read_parquet(forecast.path).filter(regex="^q").to_numpy()


def shown(tested, name="forecasts", **equal):
    """Rows of a table of a backtest, the actual values apart."""
    table = pd.read_parquet(Path(tested.folder) / f"{name}.parquet").drop(columns="target", errors="ignore")
    for column, value in equal.items():
        table = table[table[column] == value]
    return table.reset_index(drop=True)


def test_the_encoding_is_recorded_with_the_model(job, frame, save, tiny_model):
    """Columns, lead and the names of the training span stand in the record, beside the weights and in the reference."""
    trained = train_here(job, save(frame), tiny_model)
    expected = CovariateEncoding(
        known=("promo", "holiday"), past=("temp",), lead=HORIZON, names={"holiday": ("Easter", "May Day")}
    )
    assert trained.encoding == expected
    assert CovariateEncoding.read(trained.folder) == expected
    assert json.loads((Path(trained.folder) / "training.json").read_text())["encoding"]["known"] == ["promo", "holiday"]
    assert resolve_model(job, trained.folder).encoding == expected
    again = train_here(job, save(frame), tiny_model)
    assert again == trained.model_copy(update={"reused": True})
    (Path(trained.folder) / "covariates.json").unlink()
    assert not train_here(job, save(frame), tiny_model).reused, "without its encoding a checkpoint is not whole"


def test_a_training_without_covariates_records_none(small_job, clean_panel, tiny_model):
    """No file, no field, no other key than before there were any."""
    trained = train_here(small_job(), clean_panel, tiny_model)
    assert trained.encoding is None
    assert not (Path(trained.folder) / "covariates.json").exists()
    values = [np.arange(50, dtype=np.float32)]
    assert training_key(small_job(), values, "x") == "bef18f64201ed3c8"


def test_only_what_the_training_span_knows_decides_the_weights(job, frame, future, save, tiny_model):
    """Values after the first backtest origin change nothing, known ones of the horizon behind it and older ones do."""

    def key(changed=None, column=None, steps_from_end=0):
        one = frame.copy()
        if column is not None:
            one.loc[239 - steps_from_end, column] = changed
        return train_here(job, save(one, future), tiny_model).training_key

    first = TEST_STEPS - 1  # steps from the end to the first step after the origin
    assert key() == key(-5.0, "temp", first) == key(9.0, "promo", first - HORIZON) == key(-1.0, "sales", first)
    keys = [key(), key(-5.0, "temp", first + 1), key(9.0, "promo", first - HORIZON + 1), key(9.0, "promo", first)]
    assert len(set(keys)) == 4


def test_a_forecast_sees_the_known_covariates_of_its_horizon(job, frame, future, save, tuned):
    """They change the forecast, and so does what was measured before the origin."""
    base = forecast_panel(job, save(frame, future), tuned)
    other_future = forecast_panel(job, save(frame, future.assign(promo=1 - future["promo"])), tuned)
    other_past = forecast_panel(job, save(frame.assign(temp=frame["temp"][::-1].to_numpy()), future), tuned)
    assert not np.allclose(quantiles(base), quantiles(other_future))
    assert not np.allclose(quantiles(base), quantiles(other_past))


def test_a_name_that_the_model_does_not_know_is_warned_of(job, frame, save, tuned, caplog):
    """Column and name are said; the row counts as no holiday that it knows."""
    seen = panel_covariates(job, save(frame), tuned.encoding)["a"]
    assert "'holiday': the model was not trained with 'Whitsun' (2 rows)" in caplog.text
    assert seen[1:3, 239 - 3 - HORIZON].tolist() == [0, 0]


def test_names_are_told_by_name_whatever_their_codes(job, frame, future, save, tuned):
    """A level more in front moves all codes; the model is fed the same indicators."""
    levels = ["Ascension Day", *LEVELS]
    moved, moved_future = (one.assign(holiday=one["holiday"] + 1) for one in (frame, future))
    before = panel_covariates(job, save(frame, future), tuned.encoding)
    after = panel_covariates(job, save(moved, moved_future, levels), tuned.encoding)
    assert list(before) == ["a", "b"]
    assert before["a"].shape == (4, 240)
    for item, arrays in before.items():
        np.testing.assert_array_equal(after[item], arrays)


def test_known_covariates_that_end_too_early_are_refused_by_name(job, frame, future, save, tuned):
    """Column, series and first time stamp; without any row behind the ends as well, and nothing is written."""
    with pytest.raises(DataError, match=r"'promo' of series 'b' has no value at 2024-01-11 05:00:00"):
        forecast_panel(job, save(frame, future.drop(index=11)), tuned)
    holes = future.assign(holiday=future["holiday"].where(future.index != 3))
    with pytest.raises(DataError, match=r"'holiday' of series 'a' has no value at 2024-01-11 03:00:00"):
        forecast_panel(job, save(frame, holes), tuned)
    with pytest.raises(DataError, match=r"'promo' of series 'a' has no value at 2024-01-11 00:00:00"):
        forecast_panel(job, save(frame), tuned)
    assert not (job.workspace_path / "forecasts").exists()


def test_a_window_sees_no_covariate_beyond_what_is_known_there(job, frame, save, tuned):
    """Later targets, later measurements and known values behind the horizon change no forecast; those inside do."""
    windows = pd.date_range(end=frame["timestamp"].max(), periods=TEST_STEPS + 1, freq="h")[::HORIZON]
    origin, end = windows[0], windows[1]

    def first_window(changes):
        tested = backtest_panel(job, save(changes(frame.copy())), [tuned])
        return shown(tested, model_name=tuned.name, window_origin=origin)

    def change(column, after, value):
        def changes(one):
            one.loc[one["timestamp"] > after, column] = value
            return one

        return first_window(changes)

    expected = first_window(lambda one: one)
    assert len(expected) == 2 * HORIZON
    for column, after, value in (("sales", origin, 99.0), ("temp", origin, 99.0), ("promo", end, 7.0)):
        pd.testing.assert_frame_equal(change(column, after, value), expected)
    assert not np.allclose(change("promo", origin, 7.0)["q50"], expected["q50"])
    assert not np.allclose(change("temp", origin - pd.Timedelta(hours=1), 99.0)["q50"], expected["q50"])


def test_a_model_that_knows_single_series_forecasts_without_covariates(small_job, frame, save, tiny_model, caplog):
    """It would be disturbed by what it never learnt to read; the log says so, and no future is needed."""
    with caplog.at_level(logging.INFO):
        made = forecast_panel(small_job(columns=COLUMNS), save(frame), tiny_model)
    assert "model tiny was not trained with covariates; it forecasts from the targets alone" in caplog.text
    alone = forecast_panel(small_job(), save(frame[["item_id", "timestamp", "sales"]]), tiny_model)
    np.testing.assert_array_equal(quantiles(made), quantiles(alone))


@pytest.mark.parametrize(
    "columns",
    [
        {"known": []},
        {"past": [], "checked": ["temp"]},
        {"known": ["promo"], "past": ["temp", "holiday"]},
        {"categorical": []},
    ],
    ids=["no known", "no past", "another role", "not categorical"],
)
def test_a_job_with_other_covariates_than_the_model_is_refused(small_job, frame, save, tuned, columns):
    """One line names the model, both lists and the mend, in every step that would use it."""
    settings = COLUMNS | columns
    settings["categorical"] = [one for one in settings["categorical"] if one in settings["known"] + settings["past"]]
    other = small_job(columns=settings)
    says = (
        rf"^model {tuned.name} \(version {tuned.version}\) was fine-tuned with the covariates "
        r"known: holiday \(names\), promo; past: temp; the job names known: .*; past: .*: "
        r"name the same in columns, or .*`moirai finetune`$"
    )
    panel = save(frame)
    for step in (
        lambda: forecast_panel(other, panel, tuned),
        lambda: backtest_panel(other, panel, [tuned]),
        lambda: train_here(other, panel, tuned),
    ):
        with pytest.raises(JobError, match=says):
            step()


def test_a_job_with_another_horizon_than_the_model_sees_ahead_is_refused(small_job, tuned):
    """Known covariates are shown a fixed number of steps ahead; the order of the columns does not matter."""
    with pytest.raises(
        JobError, match=r"see known covariates 6 steps ahead; the job's horizon is 5: set horizon: 6, or"
    ):
        model_encoding(small_job(columns=COLUMNS, horizon=5), tuned)
    assert model_encoding(small_job(columns=COLUMNS | {"known": ["holiday", "promo"]}), tuned) == tuned.encoding


def test_covariates_that_cannot_be_trained_with(small_job, frame, save, tiny_model):
    """Too many names are refused before the training."""
    many = frame.assign(holiday=np.arange(len(frame)) % 200)
    panel = save(many, levels=[f"day {number:03}" for number in range(200)])
    with pytest.raises(ConfigError, match=r"variates, at most 127 are possible; column 'holiday' alone has"):
        train_here(small_job(columns=COLUMNS), panel, tiny_model)


def test_files_are_named_by_the_encoding_too(job, frame, future, save, tuned):
    """Two models of equal weights that are fed otherwise do not share a forecast or a backtest."""
    fewer = CovariateEncoding(known=("promo", "holiday"), past=("temp",), lead=HORIZON, names={"holiday": ("Easter",)})
    other = tuned.model_copy(update={"encoding": fewer})
    panel = save(frame, future)
    assert forecast_panel(job, panel, tuned).path != forecast_panel(job, panel, other).path
    assert backtest_panel(job, panel, [tuned]).folder != backtest_panel(job, panel, [other]).folder
