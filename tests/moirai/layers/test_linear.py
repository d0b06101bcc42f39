"""Matrix products: the same numbers and derivatives as torch's own, wherever they are computed."""

import pytest
import torch
from torch.nn import functional

from moirai.layers import linear as room
from moirai.layers.linear import Linear, linear


@pytest.mark.parametrize("rows", [1, 15, 16, 200])
@pytest.mark.parametrize("has_bias", [True, False])
def test_product_and_derivatives_are_those_of_torch(rows, has_bias):
    """Either library gives the same to float32 rounding, for few rows as for many."""
    torch.manual_seed(rows)
    x, weight = torch.randn(2, rows, 48, requires_grad=True), torch.randn(80, 48, requires_grad=True)
    bias = torch.randn(80, requires_grad=True) if has_bias else None
    ways = []
    for product in (functional.linear, linear):
        found = product(x, weight, bias)
        leaves = [x, weight] + ([bias] if has_bias else [])
        ways.append((found, *torch.autograd.grad((found * found.detach().cos()).sum(), leaves)))
    for torchs, ours in zip(*ways, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-3)


def test_many_float32_rows_go_to_onednn_and_nothing_else_does(monkeypatch):
    """Half precision, double precision, autocast and few rows stay with torch."""
    sent = []
    known = room._onednn
    monkeypatch.setattr(room, "_onednn", lambda *asked: sent.append(1) or known(*asked))
    layer = Linear(16, 8)
    with torch.inference_mode():
        layer(torch.randn(64, 16))
        assert len(sent) == int(torch.backends.mkldnn.is_available())
        layer(torch.randn(4, 16))
        layer.double()(torch.randn(64, 16, dtype=torch.float64))
        layer.bfloat16()(torch.randn(64, 16, dtype=torch.bfloat16))
        layer.float()
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(torch.randn(64, 16)).dtype is torch.bfloat16
    assert len(sent) == int(torch.backends.mkldnn.is_available())


def test_empty_tokens_and_frozen_weights_pass():
    """No rows give no rows; a frozen weight gets no gradient and passes one on."""
    layer = Linear(16, 8).requires_grad_(requires_grad=False)
    assert layer(torch.randn(0, 16)).shape == (0, 8)
    x = torch.randn(64, 16, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(64, 16))
