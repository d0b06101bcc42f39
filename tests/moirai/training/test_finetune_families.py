"""Fine-tuning of every family with every method: it overfits, reads covariates, and leaves an ordinary checkpoint."""

import numpy as np
import pytest
import torch

from moirai import (
    Moirai2Config,
    Moirai2Module,
    MoiraiConfig,
    MoiraiForecast,
    MoiraiModule,
    MoiraiMoEModule,
)
from moirai.config import MoiraiMoEConfig
from moirai.hub import load_module, resolve, save_module
from moirai.training.finetune import FinetuneSettings, finetune

FAMILIES = ["moirai", "moe", "moirai2"]
PATCH = 8
LEVELS = np.arange(1, 10) / 10
# Of every method: steps, peak rate, and the weighted quantile loss that noiseless series are to reach. Adapters have
# fewer directions to go in; a head has nothing but what a random network makes of the series.
OVERFITS = {
    "full": (80, 5e-3, 0.04),
    "frozen_ffn": (80, 5e-3, 0.04),
    "lora": (150, 1e-2, 0.06),
    "head": (150, 2e-2, 0.06),
}


def module(family, layers=1):
    """A tiny untrained network, always the same."""
    torch.manual_seed(3)
    if family == "moirai2":
        return Moirai2Module(Moirai2Config(d_model=64, d_ff=64, num_layers=1, patch_size=PATCH, num_predict_token=2))
    if family == "moirai":
        return MoiraiModule(MoiraiConfig(d_model=64, num_layers=layers, patch_sizes=(PATCH, 16)))
    return MoiraiMoEModule(MoiraiMoEConfig(d_model=64, d_ff=16, num_layers=1, patch_sizes=(PATCH,)))


def settings(**changes):
    """Settings of a training that takes a second or two."""
    needed = {"context": 48, "horizon": PATCH, "patch_size": PATCH, "batch_size": 8, "validation_windows": 1}
    return FinetuneSettings(**(needed | {"max_steps": 120, "validate_every": 60} | changes))


def patterns(count=8, repeats=30):
    """Noiseless series of several levels and sizes, each repeating a pattern of a patch."""
    rngs = [np.random.default_rng(seed) for seed in range(count)]
    return [np.tile(rng.normal(5, 2, PATCH) * (seed + 1), repeats) for seed, rng in enumerate(rngs)]


def weighted_quantile_loss(quantiles, actual):
    """Of quantiles [series, level, step] and what came."""
    error = actual[:, None] - quantiles
    loss = 2 * np.maximum(LEVELS[:, None] * error, (LEVELS[:, None] - 1) * error)
    return loss.mean(1).sum() / np.abs(actual).sum()


@pytest.mark.parametrize("method", OVERFITS)
@pytest.mark.parametrize("family", FAMILIES)
def test_eight_series_are_overfitted_to_near_the_floor(family, method):
    """Every method learns noiseless patterns as exactly as what it trains allows."""
    steps, rate, floor = OVERFITS[method]
    chosen = settings(method=method, learning_rate=rate, max_steps=steps, validate_every=steps, lora_rank=4)
    result = finetune(module(family), patterns(), chosen)
    assert result.zero_shot_loss > 0.2
    assert result.best_loss < floor
    assert (result.trained_share == 1) == (method == "full")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_forecasts_the_same_from_its_folder(family, tmp_path):
    """What was trained with adapters is saved and loaded as any other model of its family."""
    chosen = settings(method="lora", learning_rate=1e-2, max_steps=10)
    trained = finetune(module(family), patterns(2), chosen).module
    folder = save_module(trained, tmp_path / "model")
    loaded = load_module(resolve(folder))
    assert type(loaded) is type(trained)
    first, second = (
        MoiraiForecast(one, patch_size=PATCH, context_length=48, num_samples=5).predict_arrays(patterns(2), horizon=12)
        for one in (trained, loaded)
    )
    np.testing.assert_allclose(first, second, rtol=1e-5)  # equal weights may lie otherwise in memory


@pytest.mark.parametrize("family", FAMILIES)
def test_a_covariate_that_carries_the_answer_lowers_the_error(family):
    """Noise that is known ahead but for a tenth: the loss is less than half of what it can be without the covariate."""
    rng = np.random.default_rng(0)
    answer = rng.normal(0, 1, (4, 300 + PATCH))
    series = [10 + 3 * one[:300] + rng.normal(0, 0.3, 300) for one in answer]
    known = [one[None, PATCH:].astype(np.float32) for one in answer]  # at every step that of a horizon later
    chosen = settings(max_steps=160, validate_every=160, batch_size=16, context=32, learning_rate=1e-2)
    # A masked model looks at the answer from a token that is the same everywhere: that takes a second layer.
    beside = finetune(module(family, layers=2), series, chosen, covariates=known)
    # Who does not see the answer has nothing better than the quantiles of the noise.
    ends = np.concatenate([one[-PATCH:] for one in series])
    without = weighted_quantile_loss(np.quantile(np.concatenate(series), LEVELS)[None, :, None], ends[None])
    assert beside.best_loss < 0.5 * without


@pytest.mark.parametrize("family", FAMILIES)
def test_held_out_windows_are_forecast_as_later_in_use(family):
    """The validation loss is that of the forecasts which `MoiraiForecast` makes."""
    series = [one[:100] + np.arange(100) % 7 for one in patterns(3)]
    result = finetune(module(family), series, settings(max_steps=1, horizon=6, learning_rate=1e-3))
    forecast = MoiraiForecast(module(family), patch_size=PATCH, context_length=48)
    quantiles = forecast.predict_arrays([one[:94] for one in series], horizon=6).astype(np.float64)
    actual = np.stack([one[94:] for one in series])
    assert result.zero_shot_loss == pytest.approx(weighted_quantile_loss(quantiles, actual), rel=1e-4)
