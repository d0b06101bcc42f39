"""Roll-out of Moirai 2.0 with kept keys and values: against recomputation with frozen statistics."""

import pytest
import torch

from moirai.forecasting.cached_decoding import decode_quantiles_cached
from moirai.forecasting.decoding import decode_quantiles
from moirai.tokens import forecast_tokens, token_layout

KINDS = [(1, 0, 0), (2, 0, 0), (1, 2, 1), (3, 1, 0)]  # targets, known features, past features


def plain_decode(module, inputs, horizon):
    """The roll-out over whole rows, a copy per quantile, with the statistics of the context throughout."""
    config = module.config
    layout = token_layout(inputs, horizon=horizon, patch_size=config.patch_size)
    rows = forecast_tokens(inputs, horizon=horizon, patch_size=config.patch_size).repeat_rows(config.num_quantiles)
    scaling = module.scaling(rows)
    levels = torch.tensor(config.quantile_levels)

    def predict(positions):
        scaled = module.head(module.encode_scaled(rows, scaling))
        predicted = scaled * scaling.scale[..., None, None] + scaling.loc[..., None, None]
        return predicted[:, positions].unflatten(0, (-1, config.num_quantiles))

    paths, written, parts = predict(layout.last_past())[:, 0], 0, []  # [batch, target, token, quantile, patch]
    while True:
        parts.append(paths[:, :, : layout.future_tokens - written])
        for token in range(parts[-1].shape[2]):
            rows.target[:, layout.future(written)] = parts[-1][:, :, token].transpose(1, 2).flatten(0, 1)
            written += 1
        if written == layout.future_tokens:
            decoded = torch.cat(parts, dim=2).permute(0, 3, 2, 4, 1).flatten(2, 3)
            return decoded[:, :, :horizon]
        pairs = predict(layout.future(written - 1)).permute(0, 2, 3, 1, 4, 5).flatten(3, 4)
        paths = torch.quantile(pairs, levels, dim=3).movedim(0, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("horizon", [9, 21, 32])
def test_equals_recomputation(tiny, make_inputs, kind, horizon):
    """Keeping keys and values gives what encoding whole rows with the statistics of the context gives."""
    inputs = make_inputs(*kind, horizon=horizon, gaps=True)
    with torch.no_grad():
        expected = plain_decode(tiny, inputs, horizon)
    torch.testing.assert_close(decode_quantiles_cached(tiny, inputs, horizon=horizon), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "sizes", [{"num_predict_token": 1}, {"num_predict_token": 3}, {"patch_size": 5}, {"quantile_levels": (0.2, 0.7)}]
)
def test_other_sizes(make_module, make_inputs, sizes):
    """The same holds for other numbers of predicted tokens, patch sizes and levels."""
    module, inputs = make_module(**sizes), make_inputs(horizon=17)
    with torch.no_grad():
        expected = plain_decode(module, inputs, 17)
    torch.testing.assert_close(decode_quantiles_cached(module, inputs, horizon=17), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("horizon", [3, 8])
def test_one_pass(tiny, make_inputs, kind, horizon):
    """Within one pass both ways of decoding are the same."""
    inputs = make_inputs(*kind, horizon=horizon)
    expected = decode_quantiles(tiny, inputs, horizon=horizon)
    torch.testing.assert_close(decode_quantiles_cached(tiny, inputs, horizon=horizon), expected, rtol=1e-4, atol=1e-4)


def test_work(tiny, make_inputs):
    """Behind the context only the new tokens are encoded, those of all quantile paths of a series in its row."""
    encoded = []
    handle = tiny.encoder.register_forward_pre_hook(lambda _, given: encoded.append(tuple(given[0].shape[:2])))
    decode_quantiles_cached(tiny, make_inputs(horizon=24), horizon=24)
    handle.remove()
    assert encoded == [(3, 6), (3, 9 * 2), (3, 9 * 2)]


def test_inputs_are_left_alone(tiny, make_inputs):
    """A roll-out writes into copies, not into what it was given."""
    inputs = make_inputs(2, 1, 1, horizon=20)
    before = {name: value.clone() for name, value in vars(inputs).items()}
    decode_quantiles_cached(tiny, inputs, horizon=20)
    assert all(torch.equal(getattr(inputs, name), value) for name, value in before.items())
