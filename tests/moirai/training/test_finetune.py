"""Fine-tuning: it learns, repeats, keeps the best weights, and refuses what cannot be trained on."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from moirai import Moirai2Config, Moirai2Module, MoiraiConfig, MoiraiForecast, MoiraiModule
from moirai.errors import DataError
from moirai.training.finetune import FinetuneSettings, finetune
from moirai.training.holdout import HeldOutWindows

CONFIG = Moirai2Config(d_model=64, d_ff=64, num_layers=1, patch_size=8, num_predict_token=2)


def module():
    """A tiny untrained network, always the same."""
    torch.manual_seed(3)
    return Moirai2Module(CONFIG)


def seasonal(length=400, seed=0):
    """A daily pattern with noise."""
    rng = np.random.default_rng(seed)
    return 10 + 3 * np.sin(2 * np.pi * np.arange(length) / 24) + rng.normal(0, 0.2, length)


def settings(**changes):
    """Settings of a training that takes a second."""
    needed = {
        "context": 64,
        "horizon": 8,
        "max_steps": 30,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "validate_every": 10,
        "patience": 5,
        "validation_windows": 2,
    }
    return FinetuneSettings(**(needed | changes))


def test_training_lowers_the_loss_of_held_out_windows():
    """The kept weights forecast the held-out windows better than the ones it came with."""
    result = finetune(module(), [seasonal(), seasonal(seed=1)], settings())
    assert result.best_loss < 0.7 * result.zero_shot_loss
    assert [point.step for point in result.curve] == [0, 10, 20, 30]
    assert not result.module.training


def test_the_same_seed_gives_bit_identical_weights():
    """Training repeats; another seed trains otherwise."""
    first, second, other = (finetune(module(), [seasonal()], settings(max_steps=10, seed=seed)) for seed in (0, 0, 1))
    weights = [result.module.state_dict() for result in (first, second, other)]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
    assert not all(weights[0][name].equal(weights[2][name]) for name in weights[0])


def test_a_training_that_makes_it_worse_leaves_the_weights_as_they_were():
    """With a harmful rate no validation gains: training stops by patience and step 0 is kept."""
    trained = finetune(module(), [seasonal()], settings()).module
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    result = finetune(trained, [seasonal()], settings(learning_rate=5.0, max_steps=40, validate_every=2, patience=2))
    assert result.best_step == 0
    assert result.curve[-1].step < 40
    assert all(result.module.state_dict()[name].equal(before[name]) for name in before)


def test_validation_forecasts_as_later_in_use():
    """The validation loss is the weighted quantile loss of the forecasts that `MoiraiForecast` makes."""
    series = seasonal(200)
    result = finetune(module(), [series], settings(max_steps=1, validate_every=1))
    seen = [series[:184], series[:192]]
    actual = np.stack([series[184:192], series[192:200]])
    quantiles = MoiraiForecast(module(), context_length=64).predict_arrays(seen, horizon=8).astype(np.float64)
    levels = np.array(CONFIG.quantile_levels)[:, None]
    error = actual[:, None] - quantiles
    loss = 2 * np.maximum(levels * error, (levels - 1) * error).mean(1).sum() / np.abs(actual).sum()
    assert result.zero_shot_loss == pytest.approx(loss, rel=1e-4)


def test_bf16_trains_too():
    """Half precision lowers the loss as well."""
    result = finetune(module(), [seasonal()], settings(precision="bf16"))
    assert result.best_loss < result.zero_shot_loss


def test_held_out_windows_are_the_last_horizons_of_every_series():
    """Windows lie back to back at the end; those without a value are left out."""
    short, gap = np.arange(10.0), np.r_[np.arange(20.0), np.full(8, np.nan)]
    held = HeldOutWindows([short, gap], context=16, horizon=8, windows=2, batch_size=10)
    (batch,) = [held[index] for index in range(len(held))]
    assert batch.actual.tolist() == [[float(i) for i in range(12, 20)], [float(i) for i in range(2, 10)]]


def test_held_out_windows_are_shared_by_all_processes():
    """Each process gets a batch, and every window is in one; more processes than windows are refused."""
    size = {"context": 16, "horizon": 8, "windows": 3, "batch_size": 10}
    held = HeldOutWindows([seasonal()], min_batches=2, **size)
    assert [len(batch.actual) for batch in held] == [2, 1]
    with pytest.raises(DataError, match=r"finetune\.devices: 4 processes share 3 held-out windows.*lower"):
        HeldOutWindows([seasonal()], min_batches=4, **size)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ([np.arange(8.0)], "hold out 2 validation windows of 8 steps"),
        ([np.full(300, np.nan)], "hold out 2 validation windows"),
        ([np.arange(20.0)], r"no series has 16 steps"),
    ],
)
def test_series_that_are_too_short_are_refused(series, message):
    """The error says what is needed and which setting to change."""
    with pytest.raises(DataError, match=message):
        finetune(module(), series, settings())


def test_a_loss_that_is_not_finite_stops_the_training():
    """Weights that went wrong are never returned."""
    with pytest.raises((DataError, RuntimeError), match=r"learning_rate|non-finite"):
        finetune(module(), [seasonal()], settings(learning_rate=1e30, max_steps=5, validate_every=5))


@pytest.mark.parametrize("place", [3, -1])
def test_infinite_values_are_refused_by_name(place):
    """Whether they stand in the training windows or in the held-out ones, the error names their series."""
    broken = seasonal()
    broken[place] = np.inf
    with pytest.raises(DataError, match=r"series 'second'.* infinite in float32; rescale"):
        finetune(module(), [seasonal(), broken], settings(), item_ids=["first", "second"])


def test_the_patch_size_of_moirai_1_is_the_one_that_forecasts_the_held_out_windows_best(caplog, tmp_path):
    """Every size of which the context holds two patches is tried; the choice is told as derived."""
    start = MoiraiModule(MoiraiConfig(d_model=64, num_layers=1, patch_sizes=(8, 16, 64)))
    losses = {
        size: finetune(deepcopy(start), [seasonal()], settings(max_steps=1, patch_size=size)).zero_shot_loss
        for size in (8, 16)
    }
    with caplog.at_level("INFO", logger="moirai"):
        result = finetune(start, [seasonal()], settings(max_steps=1))
    assert result.plan.patch_size == min(losses, key=losses.get)
    assert result.derived == {"patch_size": result.plan.patch_size}
    assert result.module.trained_patch_size == result.plan.patch_size
    reloaded = MoiraiModule.from_pretrained(result.module.save_pretrained(tmp_path / "tuned"))
    told = [
        MoiraiForecast(reloaded, context_length=64, patch_size=size).predict_arrays([seasonal()], horizon=8)
        for size in (None, result.plan.patch_size)
    ]
    np.testing.assert_array_equal(*told, err_msg="it forecasts at that size when none is named")
    assert f"derived: patch_size {result.plan.patch_size}" in caplog.text
    assert "64:" not in caplog.text


def test_held_out_windows_see_covariates_up_to_their_origin():
    """What stands at the origin and later is cut off."""
    series, beside = np.arange(24.0), np.arange(100.0, 124.0)[None]
    held = HeldOutWindows([series], context=16, horizon=8, windows=2, batch_size=10, covariates=[beside])
    (batch,) = [held[index] for index in range(len(held))]
    assert batch.inputs.past_feat_dynamic_real[:, -1, 0].tolist() == [107.0, 115.0]
    assert torch.equal(batch.inputs.past_feat_dynamic_real[1], batch.inputs.past_target[1] + 100)
