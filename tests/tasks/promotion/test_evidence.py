"""Evidence is what the backtest says, of clean windows only: gains, segments, ranges of the horizon, coverage."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.backtest import backtest_panel
from tasks.panel import write_panel
from tasks.promotion.contenders import Contender, contenders
from tasks.promotion.evidence import gather
from tasks.promotion.interval import ENOUGH_SERIES

JUDGED = [
    Contender(part="challenger", name="seasonal_naive:24", version="1", label="seasonal_naive:24"),
    Contender(part="champion", name="naive", version="1", label="naive"),
    Contender(part="seasonal naive", name="seasonal_naive:24", version="1", label="seasonal_naive:24"),
]
RANGES = [[1, 6], [2, 2], [4, 6]]


@pytest.fixture
def panel(clean_frame, tmp_path):
    """The clean frame on disk, with a static column and a series whose history is constant."""
    constant = clean_frame[clean_frame["item_id"] == "b"].assign(item_id="c", sales=1.0)
    constant.loc[constant.index[-6:], "sales"] = 2.0
    frame = pd.concat([clean_frame, constant], ignore_index=True)
    static = pd.DataFrame({"item_id": ["a", "b", "c"], "region": ["north", "south", None]})
    return write_panel(frame, tmp_path / "panels", stage="clean", static=static)


@pytest.fixture
def make(small_job, panel):
    """Makes a job, its backtest and the evidence of it; baselines play the models."""

    def make(*, clean_from=None, **promotion):
        job = small_job(
            columns={"timestamp": "hour", "item_id": "shop", "target": ["sales"], "static": ["region"]},
            promotion={"segments": ["region"], "horizon_ranges": RANGES} | promotion,
        )
        tested = backtest_panel(job, panel, [])
        return tested, gather(job, panel, tested, JUDGED, clean_from=clean_from)

    return make


def table(tested, name):
    """One table of a backtest."""
    return pd.read_parquet(Path(tested.folder) / f"{name}.parquet")


@pytest.mark.parametrize("metric", ["wql", "mase"])
def test_losses_and_gains_are_those_of_the_backtest(make, metric):
    """With every window clean the scores are the backtest's own, and a gain is one minus their quotient."""
    tested, found = make(metric=metric)
    mine, other, itself = found.standings
    for one, label in ((mine, "seasonal_naive:24"), (other, "naive")):
        assert one.wql == pytest.approx(tested.scores[label]["wql"])
        assert one.mase == pytest.approx(tested.scores[label]["mase"])
        assert one.coverage == pytest.approx(tested.scores[label]["coverage_80"])
    quotient = tested.scores["seasonal_naive:24"][metric] / tested.scores["naive"][metric]
    assert other.gain == pytest.approx(1 - quotient)
    assert (mine.gain, itself.gain) == (None, 0.0)
    assert (found.windows, found.left_out, found.series, found.unit) == (tested.windows, 0, 3, "windows")
    last = table(tested, "forecasts")["timestamp"]
    assert (found.first, found.last) == (last.min(), last.max())


@pytest.mark.parametrize("metric", ["wql", "mase"])
def test_ranges_of_the_horizon_agree_with_the_scores_by_step(make, metric):
    """A range of one step has that step's score, the whole horizon the overall one."""
    tested, found = make(metric=metric)
    whole, second, late = [one for one in found.segments if one.kind == "horizon"]
    steps = table(tested, "steps").query("metric == @metric and step == 2").set_index("model_name")["value"]
    assert whole.challenger == pytest.approx(tested.scores["seasonal_naive:24"][metric])
    assert whole.other == pytest.approx(tested.scores["naive"][metric])
    assert second.challenger == pytest.approx(steps["seasonal_naive:24"])
    assert second.other == pytest.approx(steps["naive"])
    assert late.value == "steps 4 to 6"
    assert late.gain == pytest.approx(1 - late.challenger / late.other)


def test_segments_pool_the_series_of_a_static_value(make):
    """Each value stands for its series; a missing one is a segment of its own."""
    tested, found = make()
    by_name = {one.value: one for one in found.segments if one.kind == "region"}
    assert list(by_name) == ["(missing)", "north", "south"]
    scores = table(tested, "scores").query("model_name == 'naive' and item_id == 'a'")
    sums = scores.groupby("metric")["value"].sum()
    assert by_name["north"].other == pytest.approx(sums["quantile_loss_sum"] / sums["abs_target_sum"])
    assert by_name["north"].windows == 3


def test_a_segment_without_a_scale_has_no_mase(make):
    """The series whose history is constant is judged by WQL alone."""
    _, found = make(metric="mase")
    (constant,) = [one for one in found.segments if one.value == "(missing)"]
    assert (constant.challenger, constant.other, constant.gain) == (None, None, None)


def test_windows_that_a_model_may_have_seen_are_left_out(make):
    """The first clean window begins right after the moment; everything else is as if the others had not been."""
    tested, _ = make()
    origins = np.sort(table(tested, "scores")["window_origin"].unique())
    assert len(origins) == 3
    _, all_clean = make(clean_from=pd.Timestamp(origins[0]))
    assert (all_clean.windows, all_clean.left_out) == (9, 0)
    for moment in (pd.Timestamp(origins[0]) + pd.Timedelta(hours=1), pd.Timestamp(origins[1])):
        _, found = make(clean_from=moment)
        assert (found.windows, found.left_out, found.clean_from) == (6, 3, moment)
        kept = table(tested, "scores").query("window_origin >= @origins[1] and model_name == 'naive'")
        sums = kept.groupby("metric")["value"].sum()
        assert found.standings[1].wql == pytest.approx(sums["quantile_loss_sum"] / sums["abs_target_sum"])
        rows = table(tested, "forecasts").query("window_origin >= @origins[1]")
        assert (found.first, found.last) == (rows["timestamp"].min(), rows["timestamp"].max())
        assert found.segments[-3].challenger == pytest.approx(found.standings[0].wql), "the whole horizon"


def test_without_a_clean_window_nothing_is_compared(make):
    """There is evidence of how many were left out, and of nothing else."""
    _, found = make(clean_from=pd.Timestamp("2030-01-01"))
    assert (found.windows, found.left_out) == (0, 9)
    assert (found.standings, found.segments, found.first) == ([], [], None)


def test_with_many_series_the_interval_is_drawn_from_series(small_job, tmp_path):
    """Windows of one series resemble each other; ten series are enough to draw from them instead."""
    rng = np.random.default_rng(0)
    hours = pd.date_range("2024-01-01", periods=72, freq="h")
    frames = [
        pd.DataFrame({"item_id": f"s{n:02}", "timestamp": hours, "sales": 10 + rng.normal(0, 1, 72)})
        for n in range(ENOUGH_SERIES)
    ]
    panel = write_panel(pd.concat(frames, ignore_index=True), tmp_path / "panels", stage="clean")
    job = small_job()
    found = gather(job, panel, backtest_panel(job, panel, []), JUDGED, clean_from=None)
    assert (found.unit, found.series) == ("series", ENOUGH_SERIES)
    assert found.standings[1].low < found.standings[1].gain < found.standings[1].high


def test_contenders_are_told_apart_by_version(small_job, clean_panel, tiny_model):
    """Challenger and champion share their name; the seasonal naive is that of the job's season."""
    newer = tiny_model.model_copy(update={"version": "v2"})
    base = tiny_model.model_copy(update={"name": "base", "version": "d0"})
    job = small_job(backtest={"windows": 1, "baselines": ["naive"]})
    tested = backtest_panel(job, clean_panel, [newer, tiny_model, base], also=["seasonal_naive"])
    judged = contenders(job, tested, newer, tiny_model, base)
    assert [(one.part, one.label) for one in judged] == [
        ("challenger", "tiny (v2)"),
        ("champion", "tiny (v1)"),
        ("zero-shot base", "base"),
        ("seasonal naive", "seasonal_naive:24"),
    ]
    found = gather(job, clean_panel, tested, judged, clean_from=None)
    assert [one.gain for one in found.standings[1:3]] == [0.0, 0.0], "the same weights are level"
    assert [one.part for one in contenders(job, tested, newer, None, base)][1] == "zero-shot base"
