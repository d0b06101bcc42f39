"""Before and after: the held-out windows, and what is scored on them."""

import numpy as np
import pytest
import torch

from moirai import Moirai2Module
from moirai.evaluation.baselines import seasonal_naive
from moirai.training.finetune import FinetuneSettings, finetune
from moirai.training.holdout import HeldOutWindows
from tasks.training.request import Request, Series
from tasks.training.scores import LEVELS, held_out_windows, score_held_out, written

SETTINGS = {"horizon": 6, "context": 48, "max_steps": 1, "batch_size": 4, "validate_every": 1, "validation_windows": 2}


@pytest.fixture
def series():
    """Two series with a season of 24, one short, with gaps; the last window of one holds nothing."""
    steps = np.arange(150)
    rng = np.random.default_rng(0)
    values = [
        (20 + 5 * np.sin(2 * np.pi * steps / 24) + rng.normal(0, 1, 150)).astype(np.float32),
        (50 + 9 * np.cos(2 * np.pi * steps[:90] / 24) + rng.normal(0, 1, 90)).astype(np.float32),
    ]
    values[0][30:40] = np.nan
    values[1][-6:] = np.nan
    return values


def request_of(**changes):
    """A request for scores on the CPU."""
    asked = {
        "base": "starter",
        "licence": "Apache-2.0",
        "settings": SETTINGS,
        "trainer": {"accelerator": "cpu", "devices": 1},
        "state": "none",
        "item_ids": ["a", "b"],
        "context": 48,
        "season": 24,
        "frequency": "h",
        "inference": {},
    }
    return Request(**asked | changes)


@pytest.mark.parametrize("most", [512, 2])
def test_the_windows_are_those_that_training_holds_out(series, most, monkeypatch):
    """Same windows in the same order, also where there are more than are forecast."""
    monkeypatch.setattr("moirai.training.holdout.MAX_FORECASTS", most)
    held = HeldOutWindows(series, context=48, horizon=6, windows=2, batch_size=99)
    actual = torch.cat([held[n].actual for n in range(len(held))]).numpy()
    windows = held_out_windows(series, horizon=6, windows=2, most=most)
    mine = np.stack([series[one.series][one.seen :][:6] for one in windows])
    np.testing.assert_array_equal(mine, actual)
    assert len(mine) == min(most, 3)


def test_zero_shot_is_scored_as_training_scores_it(series):
    """The WQL before fine-tuning is the first point of the loss curve, where quantiles do not cross."""
    scores = score_held_out(request_of(), Series(series), {"zero_shot": Moirai2Module.from_pretrained("starter")})
    tuned = finetune(Moirai2Module.from_pretrained("starter"), series, FinetuneSettings(**SETTINGS), accelerator="cpu")
    assert scores["zero_shot"]["wql"] == pytest.approx(tuned.zero_shot_loss, rel=1e-4)


def test_what_cannot_be_scored_is_none(series):
    """Nothing is divided by zero: constant zeros have neither WQL nor MASE, and that survives JSON."""
    zeros = [np.zeros_like(one) for one in series]
    assert score_held_out(request_of(), Series(zeros), {})["seasonal_naive:24"] == {"wql": None, "mase": None}
    assert written(None, 4) == "n/a"


def test_seasonal_naive_stands_beside_with_its_season(series):
    """Its WQL and MASE on the held-out windows, by the formulas."""
    found = score_held_out(request_of(), Series(series), {})["seasonal_naive:24"]
    loss = scale = error = weight = 0.0
    for one, seen in ((series[0], 138), (series[1], 78), (series[0], 144)):
        actual, history = one[seen : seen + 6].astype(float), one[:seen].astype(float)
        quantiles = seasonal_naive(history, horizon=6, season=24).quantiles(LEVELS)
        levels = np.array(LEVELS)[:, None]
        loss += 2 * np.mean(np.abs((actual - quantiles) * ((quantiles >= actual) - levels)), axis=0).sum()
        scale += np.abs(actual).sum()
        error += (np.abs(actual - quantiles[4]) / np.nanmean(np.abs(history[24:] - history[:-24]))).sum()
        weight += 6
    assert found == pytest.approx({"wql": loss / scale, "mase": error / weight})
