"""Fine-tuning windows: what is drawn, how it is laid out, that it repeats."""

import numpy as np
import pytest
import torch

from moirai.errors import DataError
from moirai.forecasting.inputs import SeriesInput, stack_inputs
from moirai.forecasting.masked_decoding import zero_filled
from moirai.tokens import forecast_tokens
from moirai.training.window_layout import COVARIATE_CLIP, WindowShape, window_shape
from moirai.training.windows import WindowSampler

SHAPE = WindowShape(patch_size=4, context_tokens=6, predicted_steps=8)


def sampler(series, *, batch_size=8, seed=0, shape=SHAPE, **options):
    """A sampler of small windows."""
    return WindowSampler(series, shape, batch_size=batch_size, seed=seed, **options)


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
    batch = sampler([series])[0].tokens
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
    first, second, other = (sampler(series, seed=seed)[0].tokens.target for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_every_end_of_every_series_is_drawn_in_proportion_to_its_length():
    """A series three times as long gives about three times as many windows."""
    drawn = sampler([np.full(200, 1.0), np.full(600, 2.0)], batch_size=4000)[0].tokens
    share = (drawn.target[:, -1, -1] == 2).float().mean().item()
    assert share == pytest.approx(593 / (593 + 193), abs=0.03)


def test_a_window_at_the_start_of_a_series_is_laid_out_as_in_forecasting():
    """Padding tokens, ids and filler equal those of a forecast from the same history."""
    series = np.random.default_rng(0).normal(size=11)
    series[3] = np.nan
    one = sampler([series[:8]], batch_size=1)[0].tokens  # one possible end: the whole series
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
    batch = sampler([series])[0].tokens
    assert torch.isfinite(batch.target).all()
    assert batch.observed_mask.float().mean() < 0.7


def test_series_without_a_window_are_refused_by_length():
    """The error says what is needed, what there is, and what to change."""
    with pytest.raises(DataError, match=r"no series has 8 steps .* \(longest: 7\).* fewer backtest"):
        sampler([np.ones(7), np.full(50, np.nan)[:7]])


def test_covariates_are_laid_out_as_in_forecasting():
    """Up to the first origin a row holds the tokens of a forecast from there: target first, then every covariate."""
    rng = np.random.default_rng(0)
    series, beside = rng.normal(size=9).astype(np.float32), rng.normal(size=(2, 9)).astype(np.float32)
    series[2], beside[1, 3] = np.nan, np.nan
    batch = sampler([series], covariates=[beside])[0].tokens
    row = (
        batch.target[:, 7, -1].tolist().index(series[8])
    )  # the window of the whole series; its last patch is predicted
    seen = SeriesInput(target=series[None, :5], past_feat_dynamic_real=beside[:, :5])
    expected = forecast_tokens(stack_inputs([seen], context=24, horizon=4, patch_size=4), horizon=4, patch_size=4)
    mine, theirs = torch.tensor([5, 6, 13, 14, 21, 22]), torch.tensor([4, 5, 11, 12, 17, 18])
    for field in ("sample_id", "time_id", "variate_id", "observed_mask", "target", "prediction_mask"):
        assert torch.equal(getattr(batch, field)[row, mine], getattr(expected, field)[0, theirs])
    assert batch.prediction_mask[row].nonzero()[:, 0].tolist() == [7, 15, 23]


def test_covariates_leave_the_target_as_it_was():
    """The same seed draws the same windows; the target's tokens are those of a training without covariates."""
    series = [np.random.default_rng(1).normal(size=90), np.random.default_rng(2).normal(size=15)]
    beside = [np.ones((2, len(one))) for one in series]
    alone, both = sampler(series)[0].tokens, sampler(series, covariates=beside)[0].tokens
    index = torch.arange(SHAPE.tokens)
    for field in ("target", "observed_mask", "sample_id", "time_id", "variate_id", "prediction_mask"):
        assert torch.equal(getattr(both.select(index), field), getattr(alone, field))
    assert both.target.shape[1] == 3 * SHAPE.tokens
    assert both.variate_id[0].tolist() == [variate for variate in range(3) for _ in range(SHAPE.tokens)]


def test_a_covariate_that_first_moves_in_the_predicted_part_is_held():
    """Standardised by a context in which it stood still it would be huge; in the context nothing is changed."""
    series, beside = np.arange(32.0), np.zeros((1, 32))
    beside[0, 24:] = 1.0
    batch = sampler([series], batch_size=64, covariates=[beside])[0].tokens
    own = batch.variate_id == 1
    first_seen = batch.target[own & batch.prediction_mask].amax()
    assert first_seen.item() == pytest.approx(COVARIATE_CLIP * 1e-5**0.5)
    assert set(batch.target[own & ~batch.prediction_mask].flatten().tolist()) <= {0.0, 1.0}


MASKED = window_shape(context=12, horizon=6, patch_size=4, is_causal=False)


def test_masked_windows_are_laid_out_as_forecasts_whose_steps_are_known():
    """The tokens of a forecast from the same history, with what came in the place of what is predicted."""
    rng = np.random.default_rng(0)
    series, beside = rng.normal(size=18).astype(np.float32), rng.normal(size=(2, 18)).astype(np.float32)
    series[2], series[15], beside[1, 3] = np.nan, np.nan, np.nan
    batch = sampler([series], shape=MASKED, is_causal=False, covariates=[beside], batch_size=32)[0]
    row = batch.tokens.target[:, 4, 1].tolist().index(series[17])  # the window of the whole series
    one = batch.tokens.select(torch.arange(batch.tokens.target.shape[1]))
    seen = SeriesInput(target=series[None, :12], past_feat_dynamic_real=beside[:, :12])
    inputs = zero_filled(stack_inputs([seen], context=12, horizon=6))
    expected = forecast_tokens(inputs, horizon=6, patch_size=4)
    for field in ("sample_id", "time_id", "variate_id", "prediction_mask"):
        assert torch.equal(getattr(one, field)[row], getattr(expected, field)[0])
    context = ~expected.prediction_mask[0]
    for field in ("target", "observed_mask"):
        assert torch.equal(getattr(one, field)[row][context], getattr(expected, field)[0][context])
    assert one.target[row, 3].tolist() == [*series[12:15], 0.0]  # a missing value is 0 and not observed
    assert one.observed_mask[row, 3:5].tolist() == [[True, True, True, False], [True, True, False, False]]
    assert batch.patch_size == 4


def test_masked_windows_need_a_patch_and_the_horizon():
    """A shorter series has nothing to predict from."""
    with pytest.raises(DataError, match="no series has 10 steps"):
        sampler([np.ones(9)], shape=MASKED, is_causal=False)
    assert sampler([np.arange(10.0)], shape=MASKED, is_causal=False)[0].tokens.sample_id[0].tolist() == [0, 0, 1, 1, 1]


def test_batches_say_whose_windows_they_hold():
    """Row by row, by the names that were given, otherwise by place."""
    series = [np.full(60, 1.0), np.full(60, 2.0)]
    for names, expected in (({}, ("0", "1")), ({"item_ids": ["a", "b"]}, ("a", "b"))):
        batch = sampler(series, **names)[0]
        last = batch.tokens.target[:, -1, -1].tolist()
        assert batch.item_ids == tuple((expected[int(value) - 1],) for value in last)


@pytest.mark.parametrize("value", [np.inf, 1e300])
def test_infinite_values_are_refused_by_name(value):
    """The error names the series, whether the value is infinite or only in float32."""
    with pytest.raises(DataError, match=r"series 'b' holds values that are infinite in float32; rescale"):
        sampler([np.ones(60), np.r_[np.ones(59), value]], item_ids=["a", "b"])
    with pytest.raises(DataError, match="series 'a' holds"):
        sampler([np.ones(60)], covariates=[np.full((1, 60), value)], item_ids=["a"])
