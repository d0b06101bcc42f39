"""The token layout of a forecast and the batch of tokens."""

import pytest
import torch

from moirai.tokens import ForecastInputs, TokenLayout, forecast_tokens, token_layout


def inputs(*, context=7, target=2, known=0, past=0, horizon=5, pad=0):
    """Complete inputs whose values count the steps, the first `pad` of them before the series."""
    steps = torch.arange(context + horizon, dtype=torch.float32)
    is_pad = torch.arange(context)[None] < pad

    def series(dim, length):
        return (steps[:length, None] + 100 * torch.arange(dim))[None]

    def observed(dim, length):
        return torch.ones(1, length, dim, dtype=torch.bool)

    features = {}
    if known:
        features["feat_dynamic_real"] = series(known, context + horizon)
        features["observed_feat_dynamic_real"] = observed(known, context + horizon)
    if past:
        features["past_feat_dynamic_real"] = series(past, context)
        features["past_observed_feat_dynamic_real"] = observed(past, context)
    return ForecastInputs(
        past_target=series(target, context),
        past_observed_target=observed(target, context) & ~is_pad[..., None],
        past_is_pad=is_pad,
        **features,
    )


def test_layout_by_hand():
    """Past values are padded on the left, future ones on the right, and everything is variate-major."""
    tokens = forecast_tokens(inputs(), horizon=5, patch_size=4)
    assert tokens.target[0, :2].tolist() == [[0, 0, 1, 2], [3, 4, 5, 6]]
    assert tokens.observed_mask[0, 0].tolist() == [False, True, True, True]
    assert tokens.observed_mask[0, 5].tolist() == [True, False, False, False]
    assert tokens.time_id.tolist() == [[0, 1, 0, 1, 2, 3, 2, 3]]
    assert tokens.variate_id.tolist() == [[0, 0, 1, 1, 0, 0, 1, 1]]
    assert tokens.prediction_mask.tolist() == [[False] * 4 + [True] * 4]
    assert tokens.sample_id.tolist() == [[1] * 8]


def test_features_follow_the_targets():
    """Known features stand in past and future, past-only ones in the past; none of them is predicted."""
    tokens = forecast_tokens(inputs(target=1, known=1, past=1), horizon=5, patch_size=4)
    assert tokens.variate_id.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1, 2, 2]]
    assert tokens.time_id.tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 0, 1]]
    assert tokens.prediction_mask.tolist() == [[False, False, True, True] + [False] * 6]
    assert tokens.target[0, 6:8].tolist() == [[7, 8, 9, 10], [11, 0, 0, 0]]


def test_steps_before_the_series():
    """Patches before the first value are padding and share the first time with the first patch that has one."""
    tokens = forecast_tokens(inputs(context=12, target=1, pad=8), horizon=4, patch_size=4)
    assert tokens.sample_id.tolist() == [[0, 0, 1, 1]]
    assert tokens.time_id.tolist() == [[0, 0, 0, 1]]


@pytest.mark.parametrize(("known", "past"), [(0, 0), (2, 0), (0, 1), (2, 1)])
@pytest.mark.parametrize("horizon", [1, 4, 9])
def test_positions(known, past, horizon):
    """The layout names the positions at which the tokens stand."""
    given = inputs(known=known, past=past, horizon=horizon)
    tokens = forecast_tokens(given, horizon=horizon, patch_size=4)
    layout = token_layout(given, horizon=horizon, patch_size=4)
    assert tokens.time_id[0, layout.last_past()].tolist() == [1, 1]
    for step in range(layout.future_tokens):
        future = layout.future(step)
        assert tokens.prediction_mask[0, future].all()
        assert tokens.time_id[0, future].tolist() == [2 + step, 2 + step]
        assert tokens.variate_id[0, future].tolist() == [0, 1]
    for steps in range(layout.future_tokens + 1):
        visible = (tokens.time_id[0] < 2 + steps).nonzero().flatten().tolist()
        assert layout.up_to(steps) == visible
    assert layout.up_to(99) == list(range(tokens.time_id.shape[1]))


def test_layout_of_one_token():
    """The smallest layout is one past and one future token."""
    layout = TokenLayout(past_tokens=1, future_tokens=1, target_dim=1)
    assert (layout.last_past(), layout.future(0), layout.up_to(0)) == ([0], [1], [0])


def test_select_repeat_replace(make_sample):
    """Batches of tokens are cut, copied and changed without touching the original."""
    sample = make_sample(0)
    assert torch.equal(sample.select(torch.tensor([3, 1])).target, sample.target[:, [3, 1]])
    assert torch.equal(sample.repeat_rows(3).time_id, sample.time_id.expand(3, -1))
    changed = sample.replace(target=sample.target + 1)
    assert torch.equal(changed.target, sample.target + 1)
    assert changed.time_id is sample.time_id
    assert torch.equal(sample.to("cpu").target, sample.target)


def test_inputs_move_with_their_features():
    """Inputs are moved to a device with all they have, and without what they have not."""
    moved = inputs(known=1).to("cpu")
    assert moved.feat_dynamic_real is not None
    assert moved.past_feat_dynamic_real is None
