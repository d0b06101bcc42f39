"""Backtests: which windows, which values each forecaster sees, how the scores pool."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moirai import MoiraiForecast
from moirai.errors import DataError
from tasks.backtest import LEVELS, backtest_panel, make_windows
from tasks.forecast import forecast_panel
from tasks.panel import target_series, write_panel


@pytest.fixture
def tested(small_job, clean_panel, tiny_model):
    """A finished backtest of the tiny model and the job's baselines."""
    return backtest_panel(small_job(), clean_panel, [tiny_model, tiny_model])


def table(tested, name):
    """One table of a backtest."""
    return pd.read_parquet(Path(tested.folder) / f"{name}.parquet")


def test_models_and_baselines_share_the_windows(tested):
    """The same model or baseline named twice counts once, and everyone has every window."""
    assert list(tested.scores) == ["tiny", "naive", "seasonal_naive:24"]
    assert (tested.series, tested.windows, tested.left_out) == (2, 6, 0)
    counts = table(tested, "forecasts").groupby(["model_name", "item_id", "window_origin"]).size()
    assert len(counts) == 3 * 6
    assert (counts == 6).all()


def test_models_of_all_families_share_the_windows(small_job, clean_panel, tiny_model):
    """Moirai 1.x, Moirai-MoE and Moirai 2.0 stand in one table with the baselines, and forecast the end as well."""
    parity = Path(__file__).parents[1] / "parity"
    others = [
        tiny_model.model_copy(
            update={"name": name, "reference": name, "digest": name, "folder": parity / name / "checkpoint"}
        )
        for name in ("moirai", "moirai_moe")
    ]
    job = small_job(inference={"patch_size": "frequency", "num_samples": 20})
    tested = backtest_panel(job, clean_panel, [tiny_model, *others])
    assert list(tested.scores) == ["tiny", "moirai", "moirai_moe", "naive", "seasonal_naive:24"]
    assert all(np.isfinite(found["wql"]) for found in tested.scores.values())
    counts = table(tested, "forecasts").groupby("model_name").size()
    assert set(counts) == {36}
    made = pd.read_parquet(forecast_panel(job, clean_panel, others[0]).path)
    assert made.groupby("item_id").size().tolist() == [6, 6]
    assert np.isfinite(made[["mean", "q10", "q90"]].to_numpy()).all()


def test_a_window_sees_only_what_was_before_its_origin(clean_frame, tested, tiny_model):
    """A stored forecast equals the one made from the values up to its origin."""
    forecasts = table(tested, "forecasts").query("model_name == 'tiny' and item_id == 'b'")
    origin = forecasts["window_origin"].unique()[1]
    history = clean_frame.query("item_id == 'b' and timestamp <= @origin")["sales"].to_numpy()
    expected = MoiraiForecast.from_pretrained(tiny_model.folder, context_length=64).predict_arrays([history], horizon=6)
    stored = forecasts[forecasts["window_origin"] == origin].sort_values("step")
    np.testing.assert_allclose(
        stored[[f"q{round(100 * q)}" for q in LEVELS]].T, np.sort(expected[0], axis=0), rtol=1e-5
    )
    assert (stored["timestamp"] > origin).all()


def test_the_naive_forecast_scores_as_computed_by_hand(tested, clean_frame):
    """MASE and ND of the naive baseline, recomputed from the frame with pandas alone."""
    errors, scaled, level = [], [], []
    for _, series in clean_frame.groupby("item_id"):
        values = series["sales"].reset_index(drop=True)
        for back in (18, 12, 6):
            history, actual = values[: len(values) - back], values[len(values) - back :][:6]
            seasonal = history.diff(24).abs().mean()
            error = (actual - history.ffill().iloc[-1]).abs()
            errors += error.dropna().tolist()
            scaled += (error / seasonal).dropna().tolist()
            level += actual.abs().dropna().tolist()
    assert tested.scores["naive"]["mase"] == pytest.approx(np.mean(scaled))
    assert tested.scores["naive"]["nd"] == pytest.approx(np.sum(errors) / np.sum(level))


def test_stored_sums_pool_to_the_stored_scores(tested):
    """Scores of the summary follow exactly from the sums per series and window."""
    sums = table(tested, "scores").pivot_table(index="model_name", columns="metric", values="value", aggfunc="sum")
    for name, scores in tested.scores.items():
        mine = sums.loc[name]
        assert scores["wql"] == pytest.approx(mine["quantile_loss_sum"] / mine["abs_target_sum"])
        assert scores["nd"] == pytest.approx(mine["abs_error_sum"] / mine["abs_target_sum"])
        assert scores["mase"] == pytest.approx(mine["scaled_error_sum"] / mine["observed"])
    assert table(tested, "forecasts")["target"].isna().sum() == len(tested.scores)


def test_steps_and_summary_name_every_model_and_metric(tested):
    """The small tables are complete."""
    assert len(table(tested, "summary")) == 3 * 4
    assert len(table(tested, "steps")) == 3 * 4 * 6


def test_short_series_are_left_out_and_named(small_job, clean_frame, caplog):
    """A series that cannot hold the windows is counted, not silently dropped; none at all is an error."""
    short = clean_frame.query("item_id == 'b'").tail(18).assign(item_id="c")
    series = target_series(pd.concat([clean_frame, short]), ["sales"])
    with caplog.at_level(logging.WARNING):
        windows, left_out = make_windows(small_job(), series)
    assert (len(windows), left_out) == (6, 1)
    assert "c/sales" in caplog.text
    with pytest.raises(DataError, match="no series can be backtested; c/sales: a series of 18 steps is too short"):
        make_windows(small_job(), target_series(short, ["sales"]))


def test_several_targets_are_series_of_their_own(small_job, clean_frame, tiny_model, tmp_path):
    """Every target column of every item is backtested."""
    frame = clean_frame.assign(visits=clean_frame["sales"] * 3 + 1)
    panel = write_panel(frame, tmp_path / "panels", stage="clean")
    job = small_job(columns={"timestamp": "hour", "item_id": "shop", "target": ["sales", "visits"]})
    tested = backtest_panel(job, panel, [tiny_model])
    keys = table(tested, "scores")[["item_id", "target_name"]].drop_duplicates()
    assert len(keys) == tested.series == 4


def test_two_versions_of_a_model_are_told_apart(small_job, clean_panel, tiny_model):
    """Scores of equal names carry their versions."""
    newer = tiny_model.model_copy(update={"version": "v2"})
    tested = backtest_panel(small_job(), clean_panel, [tiny_model, newer])
    assert {"tiny (v1)", "tiny (v2)"} < set(tested.scores)
    assert tested.scores[tested.label(newer)] == tested.scores[tested.label(tiny_model)]
