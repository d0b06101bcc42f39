"""Fine-tuning windows: what is drawn, how it is laid out, that it repeats."""

import numpy as np
import pytest
import torch

from moirai.errors import DataError
from moirai.forecasting.inputs import SeriesInput, stack_inputs
from moirai.tokens import forecast_tokens
from moirai.training.windows import WindowSampler, WindowShape, window_shape

SHAPE = WindowShape(patch_size=4, context_tokens=6, predicted_tokens=2)


def sampler(series, *, batch_size=8, seed=0, shape=SHAPE):
    """A sampler of small windows."""
    return WindowSampler(series, shape, batch_size=batch_size, seed=seed)


@pytest.mark.parametrize(
    ("context", "horizon", "tokens"), [(1024, 48, (64, 16)), (1000, 48, (63, 15)), (64, 100, (4, 7)), (16, 1, (1, 1))]
)
def test_a_quarter_of_the_context_is_predicted_and_the_horizon_at_least(context, horizon, tokens):
    """Lengths are rounded up to whole patches."""
    shape = window_shape(context=context, horizon=horizon, patch_size=16)
    assert (shape.context_tokens, shape.predicted_tokens) == tokens


def test_windows_are_stretches_of_the_series_in_whole_patches():
    """Every row holds consecutive values that end somewhere in a series."""
    series = np.arange(1000, dtype=np.float64)
    batch = next(iter(sampler([series])))
    flat = batch.target.flatten(1)
    real = batch.observed_mask.flatten(1)
    for row, mask in zip(flat, real, strict=True):
        assert torch.equal(row[mask].diff(), torch.ones(int(mask.sum()) - 1))
    whole = (batch.sample_id == 1).all(1)
    assert whole.sum() > 4
    assert (batch.prediction_mask.sum(1)[whole] == 2).all()


def test_a_seed_gives_the_same_batches_and_another_seed_others():
    """Training can be repeated."""
    series = [np.random.default_rng(1).normal(size=500)]
    first, second, other = (next(iter(sampler(series, seed=seed))).target for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_every_end_of_every_series_is_drawn_in_proportion_to_its_length():
    """A series three times as long gives about three times as many windows."""
    drawn = sampler([np.full(200, 1.0), np.full(600, 2.0)], batch_size=4000).draw(np.random.default_rng(0))
    share = (drawn.target[:, -1, -1] == 2).float().mean().item()
    assert share == pytest.approx(593 / (593 + 193), abs=0.03)


def test_a_window_at_the_start_of_a_series_is_laid_out_as_in_forecasting():
    """Padding tokens, ids and filler equal those of a forecast from the same history."""
    series = np.random.default_rng(0).normal(size=11)
    series[3] = np.nan
    one = sampler([series[:8]], batch_size=1).draw(np.random.default_rng(0))  # one possible end: the whole series
    inputs = stack_inputs([SeriesInput(target=series[None, :4])], context=24, horizon=4)
    expected = forecast_tokens(inputs, horizon=4, patch_size=4)
    assert one.sample_id[0].tolist() == [0, 0, 0, 0, 0, 0, 1, 1]
    assert one.prediction_mask[0].tolist() == [False] * 7 + [True]
    assert expected.sample_id[0].tolist() == [0, 0, 0, 0, 0, 1, 1]
    for field in ("time_id", "sample_id", "observed_mask", "target"):
        assert torch.equal(getattr(one, field)[0, 6], getattr(expected, field)[0, 5])


def test_missing_values_are_filled_but_not_observed():
    """The filler never counts."""
    series = np.full(100, 5.0)
    series[::3] = np.nan
    batch = next(iter(sampler([series])))
    assert torch.isfinite(batch.target).all()
    assert batch.observed_mask.float().mean() < 0.7


def test_series_without_a_window_are_refused_by_length():
    """The error says what is needed, what there is, and what to change."""
    with pytest.raises(DataError, match=r"no series has 8 steps .* \(longest: 7\).* fewer backtest"):
        sampler([np.ones(7), np.full(50, np.nan)[:7]])
