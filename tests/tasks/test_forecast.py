"""Forecasts from the end of a panel: what the frame holds, and what is refused."""

import pandas as pd
import pytest

from moirai.errors import ConfigError
from tasks.forecast import forecast_panel
from tasks.panel import write_panel


def test_every_series_is_forecast_from_its_own_end(small_job, clean_frame, tiny_model, tmp_path):
    """Origins are the series' last time stamps; steps, names and levels are complete."""
    frame = clean_frame.drop(clean_frame.index[-5:])
    panel = write_panel(frame, tmp_path / "panels", stage="clean")
    made = forecast_panel(small_job(quantiles=[0.1, 0.5, 0.9]), panel, tiny_model)
    forecasts = pd.read_parquet(made.path)
    expected = ["item_id", "target_name", "origin", "timestamp", "mean", "q10", "q50", "q90", "model_name"]
    assert forecasts.columns.tolist() == [*expected, "model_version"]
    assert (made.rows, made.series) == (12, 2)
    ends = frame.groupby("item_id")["timestamp"].max()
    assert (forecasts["origin"] == forecasts["item_id"].map(ends)).all()
    steps = (forecasts["timestamp"] - forecasts["origin"]).dt.total_seconds() / 3600
    assert steps.tolist() == [1, 2, 3, 4, 5, 6] * 2
    assert (forecasts["q10"] <= forecasts["q50"]).all()


def test_the_same_ingredients_give_the_same_file(small_job, clean_panel, tiny_model):
    """A repeated forecast writes the same path with the same content."""
    first = forecast_panel(small_job(), clean_panel, tiny_model)
    before = pd.read_parquet(first.path)
    assert forecast_panel(small_job(), clean_panel, tiny_model) == first
    pd.testing.assert_frame_equal(pd.read_parquet(first.path), before, check_exact=True)


def test_a_level_the_model_was_not_trained_on_is_refused_by_name(small_job, clean_panel, tiny_model):
    """The error names the level and the ones there are; nothing is written."""
    job = small_job(quantiles=[0.05, 0.5])
    with pytest.raises(ConfigError, match=r"0\.05 .*trained levels"):
        forecast_panel(job, clean_panel, tiny_model)
    assert not (job.workspace_path / "forecasts").exists()
