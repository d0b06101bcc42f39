"""Roll-out of Moirai 2.0: against a plain version of itself, and its parts."""

import numpy as np
import pytest
import torch

from moirai.forecasting.decoding import decode_quantiles, empirical_quantiles, passes
from moirai.forecasting.inputs import SeriesInput, stack_inputs
from moirai.tokens import forecast_tokens, token_layout


def plain_decode(module, inputs, horizon):
    """The roll-out as specified: every pass over the whole row, nothing left out, a copy per quantile."""
    config = module.config
    layout = token_layout(inputs, horizon=horizon, patch_size=config.patch_size)
    tokens = forecast_tokens(inputs, horizon=horizon, patch_size=config.patch_size)
    levels = torch.tensor(config.quantile_levels)
    paths = module(tokens)[:, layout.last_past()]  # [batch, target, token, quantile, patch]
    rows = tokens.repeat_rows(config.num_quantiles)
    written, parts = 0, []
    while True:
        parts.append(paths[:, :, : layout.future_tokens - written])
        for token in range(parts[-1].shape[2]):
            place = layout.future(written)
            rows.target[:, place] = parts[-1][:, :, token].transpose(1, 2).flatten(0, 1)
            rows.prediction_mask[:, place] = False
            written += 1
        if written == layout.future_tokens:
            decoded = torch.cat(parts, dim=2).permute(0, 3, 2, 4, 1).flatten(2, 3)
            return decoded[:, :, :horizon]
        following = module(rows)[:, layout.future(written - 1)].unflatten(0, (-1, config.num_quantiles))
        pairs = following.permute(0, 2, 3, 1, 4, 5).flatten(3, 4)
        paths = torch.quantile(pairs, levels, dim=3).movedim(0, 3)


def some_inputs(targets, known, past, horizon, context=22):
    """A batch of three series, the last one short."""
    rng = np.random.default_rng(0)

    def series(length):
        features = {}
        if known:
            features["feat_dynamic_real"] = rng.normal(size=(known, length + horizon))
        if past:
            features["past_feat_dynamic_real"] = rng.normal(size=(past, length))
        return SeriesInput(target=rng.normal(2, 3, size=(targets, length)), **features)

    return stack_inputs([series(length) for length in (30, 22, 9)], context=context, horizon=horizon)


@pytest.mark.parametrize(("targets", "known", "past"), [(1, 0, 0), (2, 0, 0), (1, 2, 1), (3, 1, 0)])
@pytest.mark.parametrize("horizon", [3, 8, 9, 21])
def test_equals_the_plain_roll_out(tiny, targets, known, past, horizon):
    """Leaving out what cannot be seen gives the forecast of passes over whole rows."""
    inputs = some_inputs(targets, known, past, horizon)
    with torch.no_grad():
        expected = plain_decode(tiny, inputs, horizon)
    decoded = decode_quantiles(tiny, inputs, horizon=horizon)
    torch.testing.assert_close(decoded, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "sizes", [{"num_predict_token": 1}, {"num_predict_token": 3}, {"patch_size": 5}, {"quantile_levels": (0.2, 0.7)}]
)
def test_other_sizes(make_module, sizes):
    """The same holds for other numbers of predicted tokens, patch sizes and levels."""
    module, inputs = make_module(**sizes), some_inputs(1, 0, 0, 17)
    with torch.no_grad():
        expected = plain_decode(module, inputs, 17)
    torch.testing.assert_close(decode_quantiles(module, inputs, horizon=17), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("horizon", "tokens"), [(1, [6]), (8, [6]), (9, [6, 8]), (16, [6, 8]), (17, [6, 8, 10])])
def test_work(tiny, horizon, tokens):
    """A pass gives as many patches as the model predicts, and encodes no token that is not written yet."""
    encoded = []
    handle = tiny.encoder.register_forward_pre_hook(lambda _, inputs: encoded.append(inputs[0].shape[1]))
    decode_quantiles(tiny, some_inputs(1, 0, 0, horizon), horizon=horizon)
    handle.remove()
    assert encoded == tokens
    assert passes(tiny, horizon) == len(tokens)


def test_inputs_are_left_alone(tiny):
    """A roll-out writes into copies, not into what it was given."""
    inputs = some_inputs(2, 1, 1, 20)
    before = {name: value.clone() for name, value in vars(inputs).items()}
    decode_quantiles(tiny, inputs, horizon=20)
    assert all(torch.equal(getattr(inputs, name), value) for name, value in before.items())


@pytest.mark.parametrize("levels", [(0.1, 0.5, 0.9), (0.5,), (0.01, 0.99)])
def testempirical_quantiles(levels):
    """Quantiles over the pairs are the library's, with linear interpolation."""
    values, levels = torch.randn(2, 1, 3, 7, 4), torch.tensor(levels)
    expected = torch.quantile(values, levels, dim=3).movedim(0, 3)
    torch.testing.assert_close(empirical_quantiles(values, levels), expected)
